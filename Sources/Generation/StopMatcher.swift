/// Finds the first occurrence of any of several strings in a text that comes byte by byte.
///
/// One Knuth-Morris-Pratt automaton a string, so each byte costs a step of each and nothing is searched twice. The
/// occurrence that *ends* first counts, and of those ending together the longest: so the cut does not depend on how
/// the text is divided into tokens.
struct StopMatcher: Sendable {
    private let patterns: [[UInt8]]
    private let failures: [[Int]]
    /// For each pattern the length of its longest prefix that the text ends with.
    private var matched: [Int]

    /// - Parameter strings: none of them empty.
    init(_ strings: [String]) {
        patterns = strings.map { Array($0.utf8) }
        failures = patterns.map(Self.failures)
        matched = patterns.map { _ in 0 }
    }

    /// Bytes at the text's end that may begin a stop string and so are held back.
    var heldBack: Int { matched.max() ?? 0 }

    /// Forgets the text.
    mutating func reset() { for index in matched.indices { matched[index] = 0 } }

    /// Takes the next byte.
    /// - Returns: the length of the stop string that ends with it, or nil.
    mutating func advance(_ byte: UInt8) -> Int? {
        var longest: Int?
        for index in patterns.indices {
            var state = matched[index]
            while state > 0, patterns[index][state] != byte { state = failures[index][state - 1] }
            if patterns[index][state] == byte { state += 1 }
            if state == patterns[index].count {
                longest = max(longest ?? 0, state)
                state = failures[index][state - 1]
            }
            matched[index] = state
        }
        return longest
    }

    /// For each prefix the length of its longest proper prefix that is also its suffix.
    private static func failures(_ pattern: [UInt8]) -> [Int] {
        var table = [Int](repeating: 0, count: pattern.count)
        var length = 0
        for index in pattern.indices.dropFirst() {
            while length > 0, pattern[length] != pattern[index] { length = table[length - 1] }
            if pattern[length] == pattern[index] { length += 1 }
            table[index] = length
        }
        return table
    }
}
