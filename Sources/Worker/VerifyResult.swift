import Encodings
import Generation
import TaskProtocol

/// What became of one stored text.
struct TextVerdict {
    let generation: UUIDValue
    /// Nil where the row could not be read.
    let claim: Claim?
    let verdict: Verdict
}

/// The result of a verify task: of one text, or of all texts of a task.
///
/// Where there are several, the members of the contract tell of the one that decides: the first that is false, else the first that is
/// undecided, else the first. Each has its own entry beside them.
struct VerifyResult {
    let verdicts: [TextVerdict]
    let parameters: VerifyParameters
    /// Proofs of several texts go along up to so many bytes in all; the others are to be read in SQL.
    private static let proofBytes = 8 << 20

    /// The result's JSON.
    var json: [UInt8] {
        var members = decisive.map { Self.members($0, withProof: true) } ?? [:]
        members["verified"] = verified.map { .bool($0) } ?? .null
        if verdicts.count != 1 {
            var room = Self.proofBytes
            members["verdicts"] = .array(
                verdicts.map { entry in
                    let size = entry.claim?.json.canonical.count ?? 0
                    room -= size
                    var members = Self.members(entry, withProof: room >= 0)
                    members["generation"] = .string(entry.generation.description)
                    return .object(members)
                })
        }
        return JSONValue.object(members).canonical
    }

    private var verified: Bool? {
        if verdicts.contains(where: { $0.verdict.isVerified == false }) { return false }
        return verdicts.allSatisfy { $0.verdict.isVerified == true } ? true : nil
    }

    private var decisive: TextVerdict? {
        verdicts.first { $0.verdict.isVerified == false } ?? verdicts.first { $0.verdict.isVerified == nil } ?? verdicts.first
    }

    private static func members(_ entry: TextVerdict, withProof: Bool) -> JSONObject {
        var members = entry.verdict.json(generation: entry.generation.description)
        members["proof"] = withProof ? entry.claim?.json ?? .null : .null
        return members
    }
}
