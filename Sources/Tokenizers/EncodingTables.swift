/// What of a tokenizer the merging of pieces reads: immutable, shared by all threads.
struct EncodingTables: Sendable {
    let symbols: SymbolTable
    let pairs: PairTable
    let usesRegex: Bool
    let ignoresMerges: Bool
    let vocabulary: ByteStringTable
    let vocabularyIDs: [Int32]

    /// The vocabulary entry that spells a whole piece.
    func id(ofPiece piece: UnsafeBufferPointer<UInt8>) -> Int32? {
        var spelling: [UInt8] = []
        spelling.reserveCapacity(piece.count * 2)
        for byte in piece { ByteAlphabet.appendSpelling(of: byte, to: &spelling) }
        return vocabulary.index(of: spelling).map { vocabularyIDs[$0] }
    }
}
