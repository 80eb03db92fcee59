import FoundationEssentials
import TestSupport
import Testing

/// Committed hashes of results (Tests/GoldenKernels/golden.txt): when one changes, the bits changed, and the numerics version must
/// change with them.
enum Golden {
    /// By name; those of the cases in C stand under the first heading of the file.
    static let hashes = all.reduce(into: [:]) { $0[$1.name] = $1.hash }
    static let namesOfCases = Set(all.filter(\.isCase).map(\.name))

    private static let all: [(name: String, hash: UInt64, isCase: Bool)] = {
        guard let text = try? String(contentsOfFile: Fixtures.tests + "/GoldenKernels/golden.txt", encoding: .utf8) else { return [] }
        var headings = 0
        return text.split(separator: "\n").compactMap { line in
            if line.hasPrefix("[") { headings += 1 }
            guard let hash = UInt64(line.prefix(16), radix: 16), line.dropFirst(16).first == " " else { return nil }
            return (String(line.dropFirst(17)), hash, headings == 1)
        }
    }()

    static func expect(_ hash: UInt64, _ name: String, sourceLocation: SourceLocation = #_sourceLocation) {
        let committed = hashes[name].map { String($0, radix: 16) } ?? "none"
        #expect(committed == String(hash, radix: 16), "golden \"\(name)\"", sourceLocation: sourceLocation)
    }
}
