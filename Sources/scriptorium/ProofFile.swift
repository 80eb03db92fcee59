import Encodings
import Generation

/// Files of proofs: JSON lines, or one document.
enum ProofFile {
    private static let mostBytes = 256 << 20

    /// The claims in a file, or in standard input where its name is `-`.
    /// - Throws: ``CommandFailure/usage(_:)`` naming the line that is none.
    static func claims(_ path: String) throws -> [Claim] {
        guard let bytes = path == "-" ? InputFile.standardInput(most: mostBytes) : InputFile.read(path, most: mostBytes) else {
            throw CommandFailure.usage("\(path) cannot be read")
        }
        guard bytes.count <= mostBytes else {
            throw CommandFailure.usage("\(path == "-" ? "standard input" : path) is larger than 256 MiB: verify it in parts, a proof is a line")
        }
        // One document over several lines, such as a verdict printed for people, is taken whole.
        if let whole = try? JSONValue.parse(bytes) {
            if let verdicts = whole["verdicts"]?.arrayValue, let claims = try? verdicts.map(claim) { return claims }
            if let claim = try? claim(whole) { return [claim] }
        }
        var claims: [Claim] = []
        for (index, line) in bytes.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false).enumerated() {
            guard line.contains(where: { $0 != UInt8(ascii: " ") && $0 != UInt8(ascii: "\r") }) else { continue }
            do { claims.append(try claim(JSONValue.parse(Array(line)))) } catch {
                throw CommandFailure.usage("\(path == "-" ? "standard input" : path), line \(index + 1): \(error)")
            }
        }
        guard !claims.isEmpty else { throw CommandFailure.usage("\(path == "-" ? "standard input" : path) holds no proof") }
        return claims
    }

    /// A proof, or a verdict with the proof in it.
    private static func claim(_ value: JSONValue) throws(RecordError) -> Claim { try Claim(value["proof"] ?? value) }
}
