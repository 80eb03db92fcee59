import Tokenizers

/// The bytes of every token, side by side, so that a step looks them up without a call or an allocation.
final class TokenTable: Sendable {
    private let bytes: [UInt8]
    private let ends: [Int]
    private let special: [Bool]

    /// - Parameter rows: the model's vocabulary; ids beyond the tokenizer's have no bytes.
    init(_ tokenizer: Tokenizer, rows: Int) {
        var bytes: [UInt8] = []
        var ends = [0]
        var special: [Bool] = []
        for id in 0..<Int32(rows) {
            let known = Int(id) < tokenizer.vocabularySize
            if known { bytes += tokenizer.bytes(of: id) }
            ends.append(bytes.count)
            special.append(known && tokenizer.isSpecial(id))
        }
        (self.bytes, self.ends, self.special) = (bytes, ends, special)
    }

    /// What the token adds to a text.
    func bytes(of id: Int32, skippingSpecial: Bool) -> ArraySlice<UInt8> {
        let index = Int(id)
        return skippingSpecial && special[index] ? [] : bytes[ends[index]..<ends[index + 1]]
    }
}
