/// The tokens of a text so far, prompt included, and which ids occur among them.
struct TokenHistory {
    /// Every token in order.
    private(set) var tokens: [Int32]
    /// Each id once, in the order of its first occurrence; kept only where `vocabulary` was given.
    private(set) var distinct: [Int32] = []
    private let promptCount: Int
    /// One bit an id that occurred; empty where ``distinct`` is not kept.
    private var seen: [UInt64]

    /// - Parameter vocabulary: the number of ids, where a repetition penalty will ask for ``distinct``.
    init(prompt: [Int32], capacity: Int, vocabulary: Int?) {
        tokens = []
        tokens.reserveCapacity(capacity)
        promptCount = prompt.count
        seen = [UInt64](repeating: 0, count: vocabulary.map { ($0 + 63) / 64 } ?? 0)
        for token in prompt { append(token) }
    }

    /// Generated tokens.
    var generatedCount: Int { tokens.count - promptCount }
    var generated: ArraySlice<Int32> { tokens[promptCount...] }

    /// Takes the next token.
    mutating func append(_ token: Int32) {
        tokens.append(token)
        guard !seen.isEmpty else { return }
        let (word, bit) = (Int(token) >> 6, UInt64(1) << (UInt64(token) & 63))
        if seen[word] & bit == 0 {
            seen[word] |= bit
            distinct.append(token)
        }
    }

    /// Becomes equal to another history of the same prompt, in the memory that it has.
    mutating func copy(_ other: TokenHistory) {
        tokens.removeAll(keepingCapacity: true)
        tokens.append(contentsOf: other.tokens)
        distinct.removeAll(keepingCapacity: true)
        distinct.append(contentsOf: other.distinct)
        for word in seen.indices { seen[word] = other.seen[word] }
    }

    /// Forgets what was generated, for a redraw.
    mutating func reset() {
        let prompt = Array(tokens.prefix(promptCount))
        tokens.removeAll(keepingCapacity: true)
        distinct.removeAll(keepingCapacity: true)
        for word in seen.indices { seen[word] = 0 }
        for token in prompt { append(token) }
    }
}
