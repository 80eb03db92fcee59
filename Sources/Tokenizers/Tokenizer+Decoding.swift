extension Tokenizer {
    /// The text of ids: their bytes joined, then read as UTF-8, each maximal ill-formed subsequence as one U+FFFD.
    ///
    /// Nothing is tidied: spaces before punctuation stay. Ids that do not exist are left out.
    /// - Parameter skipSpecial: leaves special tokens such as `<|endoftext|>` out.
    package func decode(_ ids: some Sequence<Int32>, skipSpecial: Bool) -> String {
        decodedBytes(ids, skipSpecial: skipSpecial).withUnsafeBufferPointer { UTF8Scanner.lossyString($0) }
    }

    /// The bytes of ids, joined; they may be no UTF-8, where ids end within a character.
    package func decodedBytes(_ ids: some Sequence<Int32>, skipSpecial: Bool) -> [UInt8] {
        let joined = ids.withContiguousStorageIfAvailable { decoding.join($0, skipSpecial: skipSpecial) }
        return joined ?? Array(ids).withUnsafeBufferPointer { decoding.join($0, skipSpecial: skipSpecial) }
    }

    /// The bytes of one id; none for an id that does not exist.
    package func bytes(of id: Int32) -> [UInt8] { decoding.bytes(of: id) }

    /// Whether decoding can leave this id out.
    package func isSpecial(_ id: Int32) -> Bool { decoding.isSpecial(id) }

    /// A decoder for ids that come one by one.
    package func streamDecoder(skipSpecial: Bool) -> StreamDecoder { StreamDecoder(tokenizer: self, skipSpecial: skipSpecial) }

    /// Decodes ids as they come, and holds back the beginning of a character until it is complete.
    ///
    /// ```swift
    /// var decoder = tokenizer.streamDecoder(skipSpecial: true)
    /// for id in ids { print(decoder.append(id), terminator: "") }
    /// print(decoder.finish())
    /// ```
    /// The pieces joined equal ``Tokenizer/decode(_:skipSpecial:)`` of all ids.
    package struct StreamDecoder: Sendable {
        private let tokenizer: Tokenizer
        private let skipSpecial: Bool
        /// At most three bytes: the beginning of one character.
        private var held: [UInt8] = []

        package init(tokenizer: Tokenizer, skipSpecial: Bool) {
            self.tokenizer = tokenizer
            self.skipSpecial = skipSpecial
        }

        /// The text that this id completes; often empty where characters have several tokens.
        package mutating func append(_ id: Int32) -> String {
            if skipSpecial && tokenizer.isSpecial(id) { return "" }
            held += tokenizer.bytes(of: id)
            let complete = held.count - held.withUnsafeBufferPointer { UTF8Scanner.incompleteSuffix($0) }
            defer { held.removeFirst(complete) }
            return held.withUnsafeBufferPointer { UTF8Scanner.lossyString(UnsafeBufferPointer(rebasing: $0[..<complete])) }
        }

        /// What is still held: an incomplete character becomes U+FFFD.
        package mutating func finish() -> String {
            defer { held = [] }
            return held.withUnsafeBufferPointer { UTF8Scanner.lossyString($0) }
        }
    }
}
