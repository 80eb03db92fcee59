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
        let name = path == "-" ? "standard input" : path
        guard bytes.count <= mostBytes else {
            throw CommandFailure.usage("\(name) is larger than 256 MiB: verify it in parts, a proof is a line")
        }
        // One document over several lines, such as a verdict printed for people, is taken whole.
        if let whole = try? JSONValue.parse(bytes) {
            do {
                if let verdicts = whole["verdicts"]?.arrayValue, !verdicts.isEmpty { return try verdicts.map(claim) }
                if whole["proof"] != nil { return [try claim(whole)] }
            } catch { throw CommandFailure.usage("\(name): \(error)") }
            if let claim = try? claim(whole) { return [claim] }
        }
        var claims: [Claim] = []
        for (index, line) in bytes.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false).enumerated() {
            guard line.contains(where: { $0 != UInt8(ascii: " ") && $0 != UInt8(ascii: "\r") }) else { continue }
            do { claims.append(try claim(JSONValue.parse(Array(line)))) } catch {
                throw CommandFailure.usage("\(name), line \(index + 1): \(error)")
            }
        }
        guard !claims.isEmpty else { throw CommandFailure.usage("\(name) holds no proof") }
        return claims
    }

    /// A proof, or a verdict with the proof in it.
    /// - Throws: also where a verdict has lost its proof, as the service leaves out what passes 8 MiB: a text that is not looked at must not
    ///   pass for a proved one.
    private static func claim(_ value: JSONValue) throws -> Claim {
        guard let proof = value["proof"] else { return try Claim(value) }
        guard proof.isNull else { return try Claim(proof) }
        let generation = value["generation"]?.stringValue ?? value["first_difference"]?["generation"]?.stringValue
        throw CommandFailure.usage(
            "proof: the verdict of \(generation.map { "the text \($0)" } ?? "a text") holds none; read it with scriptorium.proof() in SQL")
    }
}
