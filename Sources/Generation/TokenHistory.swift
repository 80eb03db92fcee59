/// The tokens of a text so far, prompt included, and which ids occur among them.
struct TokenHistory {
    /// Every token in order.
    private(set) var tokens: [Int32]
    /// Each id once, in the order of its first occurrence; kept only where `tracksDistinct`.
    private(set) var distinct: [Int32] = []
    private let promptCount: Int
    private let tracksDistinct: Bool
    private var seen: Set<Int32> = []

    /// - Parameter tracksDistinct: whether a repetition penalty will ask for ``distinct``.
    init(prompt: [Int32], capacity: Int, tracksDistinct: Bool) {
        tokens = []
        tokens.reserveCapacity(capacity)
        promptCount = prompt.count
        self.tracksDistinct = tracksDistinct
        for token in prompt { append(token) }
    }

    /// Generated tokens.
    var generatedCount: Int { tokens.count - promptCount }
    var generated: ArraySlice<Int32> { tokens[promptCount...] }

    /// Takes the next token.
    mutating func append(_ token: Int32) {
        tokens.append(token)
        if tracksDistinct, seen.insert(token).inserted { distinct.append(token) }
    }

    /// Forgets what was generated, for a redraw.
    mutating func reset() {
        let prompt = tokens.prefix(promptCount)
        tokens.removeAll(keepingCapacity: true)
        distinct.removeAll()
        seen.removeAll()
        for token in prompt { append(token) }
    }
}
