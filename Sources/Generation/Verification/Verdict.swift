package import Encodings

/// How a claim is checked.
package enum VerificationMethod: String, Sendable, CaseIterable {
    /// One pass over prompt and text, in which every draw is repeated.
    case forward
    /// The text is generated anew.
    case replay
}

/// What became of a claim: proved, disproved or undecided, with every reason.
package struct Verdict: Sendable, Equatable {
    /// What was found wrong, or stands in the way; what tells most comes first. Empty: proved.
    package var findings: [Finding]
    package var method: VerificationMethod
    /// −log2 of the probability that these tokens are drawn, under the distribution that they were drawn from; nil where nothing was drawn
    /// (greedy, beams), or nobody looked (a replay).
    package var surprisalBits: Double?

    package init(findings: [Finding], method: VerificationMethod, surprisalBits: Double? = nil) {
        (self.findings, self.method, self.surprisalBits) = (findings, method, surprisalBits)
    }

    /// Below so many bits the text is short enough to have been found by trying seeds.
    package static let findableBits = 64.0

    /// True: the record yields exactly this text. False: it does not. Nil: it cannot be told here.
    package var isVerified: Bool? {
        if findings.contains(where: \.reason.isDisproof) { return false }
        return findings.isEmpty ? true : nil
    }

    /// The finding that decides.
    package var decisive: Finding? { findings.first { $0.reason.isDisproof } ?? findings.first }

    /// Whether somebody who wanted this text could have searched for a seed that gives it; nil where no seed decides, or it is not known.
    package var isFindable: Bool? { surprisalBits.map { $0 < Self.findableBits } }

    /// The verdict's members in the contract.
    /// - Parameter generation: the stored text's id, where it has one.
    package func json(generation: String?) -> JSONObject {
        [
            "verified": isVerified.map { .bool($0) } ?? .null, "reason": decisive.map { .string($0.reason.rawValue) } ?? .null,
            "message": decisive.map { .string($0.message) } ?? .null, "reasons": .array(findings.map { .string($0.reason.rawValue) }),
            "method": .string(method.rawValue),
            "first_difference": findings.lazy.compactMap(\.difference).first?.json(generation: generation) ?? .null,
            "surprisal_bits": surprisalBits.map { .real($0) } ?? .null, "findable": isFindable.map { .bool($0) } ?? .null,
        ]
    }
}

/// One reason why a claim is not proved.
package struct Finding: Sendable, Equatable {
    /// What kind of reason; the raw values stand in the contract's `reason`.
    package enum Reason: String, Sendable, CaseIterable {
        // What disproves a claim.
        case tokens = "token_differs"
        case finishReason = "finish_reason_differs"
        case text = "text_differs"
        case schema = "schema_differs"
        case logprobs = "logprobs_differ"
        case draw = "draw_differs"
        case prompt = "prompt_differs"
        case impossible = "impossible_parameters"
        case record = "record_changed"
        case signature = "signature_invalid"
        case unsigned = "not_signed"
        case signer = "signed_by_another"
        // What leaves it undecided.
        case numerics = "unknown_numerics"
        case weights = "weights_missing"
        case tokenizer = "tokenizer_missing"
        case format = "unknown_format"
        case needsReplay = "needs_replay"

        /// Whether it says that the claim is false, and not only that it cannot be decided.
        package var isDisproof: Bool {
            switch self {
            case .numerics, .weights, .tokenizer, .format, .needsReplay: false
            default: true
            }
        }
    }

    package var reason: Reason
    /// A sentence for a person.
    package var message: String
    package var difference: Difference?

    package init(_ reason: Reason, _ message: String, _ difference: Difference? = nil) {
        (self.reason, self.message, self.difference) = (reason, message, difference)
    }
}

/// The first place where a claim and what it should be part.
package struct Difference: Sendable, Equatable {
    /// The member that differs, such as `token_ids` or `text`.
    package var field: String
    /// The generated token's index, counted from 0; nil where the tokens are not what differs.
    package var token: Int?
    /// The character (Unicode scalar) of a text from which on it differs.
    package var character: Int?
    /// What the record yields; null where nothing should be.
    package var expected: JSONValue
    /// What the claim says; null where it says nothing.
    package var actual: JSONValue

    package init(field: String, token: Int? = nil, character: Int? = nil, expected: JSONValue, actual: JSONValue) {
        (self.field, self.token, self.character, self.expected, self.actual) = (field, token, character, expected, actual)
    }

    func json(generation: String?) -> JSONValue {
        var object: JSONObject = [
            "generation": generation.map { .string($0) } ?? .null, "field": .string(field), "token": token.map { .integer(Int64($0)) } ?? .null,
            "expected": expected, "actual": actual,
        ]
        if let character { object["character"] = .integer(Int64(character)) }
        return .object(object)
    }
}

/// One step of a verification, told to a person as it is taken.
package struct VerificationStep: Sendable, Equatable {
    package enum Outcome: String, Sendable { case holds, fails, unknown, note }

    package var outcome: Outcome
    package var text: String

    package init(_ outcome: Outcome, _ text: String) { (self.outcome, self.text) = (outcome, text) }

    /// What a finding comes to.
    package init(_ finding: Finding) { self.init(finding.reason.isDisproof ? .fails : .unknown, finding.message) }
}
