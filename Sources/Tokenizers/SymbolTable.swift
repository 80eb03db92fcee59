/// The tokens that single bytes of a piece start as, before any merge.
///
/// With a continuing prefix or an end-of-word suffix they depend on where the byte stands in the piece: hence four tables.
struct SymbolTable: Sendable {
    /// 4 × 256 ids, or -1: [first, later] + 2 × [inside, last].
    private let ids: [Int32]
    private let fallback: [[Int32]]
    private let unknown: Int32?
    private let fusesUnknown: Bool
    /// Whether every byte has a token, wherever it stands.
    let isComplete: Bool

    /// - Parameter find: the id of a vocabulary entry by its spelling.
    init(options: TokenizerOptions, find: ([UInt8]) -> Int32?) {
        let byteTokens: [Int32?] = (0..<256).map { byte in
            let digits = Array("0123456789ABCDEF".utf8)
            return find(Array("<0x".utf8) + [digits[byte >> 4], digits[byte & 15]] + Array(">".utf8))
        }
        var ids: [Int32] = []
        var fallback: [[Int32]] = []
        for place in 0..<4 {
            for byte in 0..<256 {
                var spelling: [UInt8] = place & 1 == 1 ? Array(options.continuingSubwordPrefix.utf8) : []
                ByteAlphabet.appendSpelling(of: UInt8(byte), to: &spelling)
                if place & 2 == 2 { spelling += Array(options.endOfWordSuffix.utf8) }
                ids.append(find(spelling) ?? -1)
                let spelled = spelling.compactMap { byteTokens[Int($0)] }
                fallback.append(options.byteFallback && spelled.count == spelling.count ? spelled : [])
            }
        }
        self.ids = ids
        self.fallback = fallback
        unknown = options.unknownToken.flatMap { find(Array($0.utf8)) }
        fusesUnknown = options.fuseUnknown
        isComplete = !ids.contains(-1)
    }

    /// Writes the symbols of a piece and returns how many there are: at most ``capacity(_:)`` of its length.
    func write(_ text: UnsafePointer<UInt8>, _ count: Int, _ output: UnsafeMutablePointer<Int32>) -> Int {
        ids.withUnsafeBufferPointer { ids in
            if isComplete {
                for index in 0..<count { output[index] = ids[place(index, count) << 8 | Int(text[index])] }
                return count
            }
            return writeIncomplete(text, count, ids, output)
        }
    }

    /// How much room ``write(_:_:_:)`` may need for a piece of `count` bytes.
    func capacity(_ count: Int) -> Int { isComplete ? count : count * max(1, fallback.map(\.count).max() ?? 1) + 1 }

    @inline(__always)
    private func place(_ index: Int, _ count: Int) -> Int { (index == 0 ? 0 : 1) | (index == count - 1 ? 2 : 0) }

    /// As `BPE::merge_word` in `tokenizers`: a pending unknown token is written when the next known one comes.
    private func writeIncomplete(
        _ text: UnsafePointer<UInt8>, _ count: Int, _ ids: UnsafeBufferPointer<Int32>, _ output: UnsafeMutablePointer<Int32>
    ) -> Int {
        var written = 0
        var pending: Int32?
        func put(_ id: Int32) {
            output[written] = id
            written += 1
        }
        for index in 0..<count {
            let key = place(index, count) << 8 | Int(text[index])
            if ids[key] >= 0 {
                if let known = pending { put(known) }
                pending = nil
                put(ids[key])
            } else if !fallback[key].isEmpty {
                fallback[key].forEach(put)
            } else if let unknown {
                if let known = pending, !fusesUnknown { put(known) }
                pending = unknown
            }
        }
        if let pending { put(pending) }
        return written
    }
}
