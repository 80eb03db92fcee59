import Encodings
import Generation
import Glibc

/// Tells verdicts, to a person step by step or as JSON lines, and counts those that prove nothing.
final class VerdictReport {
    let isJSON: Bool
    private var count = 0
    private var unproved = 0

    init(isJSON: Bool) { self.isJSON = isJSON }

    /// A text is about to be checked.
    func begin(_ claim: Claim, index: Int) {
        count += 1
        guard !isJSON else { return }
        let sample = claim.members["sample"]?.intValue.map { ", sample \($0)" } ?? ""
        print("text \(index + 1)\(sample)")
    }

    /// What was found on the way.
    func step(_ step: VerificationStep) {
        guard !isJSON else { return }
        let word =
            switch step.outcome {
            case .holds: "ok     "
            case .fails: "WRONG  "
            case .unknown: "unknown"
            case .note: "note   "
            }
        print("  \(word) \(step.text)")
        fflush(nil)
    }

    /// What came of it.
    func end(_ claim: Claim, _ verdict: Verdict) {
        if verdict.isVerified != true { unproved += 1 }
        guard !isJSON else {
            var members = verdict.json(generation: nil)
            members["proof"] = claim.json
            return StandardOutput.write(JSONValue.object(members).canonical + [UInt8(ascii: "\n")])
        }
        if let difference = verdict.findings.lazy.compactMap(\.difference).first {
            print("          expected \(Self.text(difference.expected)), found \(Self.text(difference.actual))")
        }
        print(verdict.isVerified.map { $0 ? "verified" : "NOT VERIFIED" } ?? "undecided")
    }

    static func text(_ value: JSONValue) -> String {
        value.isNull ? "nothing" : String(decoding: value.serialised.prefix(200), as: UTF8.self)
    }

    /// Counts a text that somebody else checked.
    func count(isProved: Bool) {
        count += 1
        if !isProved { unproved += 1 }
    }

    /// - Throws: ``CommandFailure/failed(_:)`` where one of the texts is not proved.
    func finish() throws {
        guard unproved > 0 else { return }
        throw CommandFailure.failed("\(unproved) of \(count) texts \(unproved == 1 ? "is" : "are") not proved")
    }
}
