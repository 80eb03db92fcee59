package import Encodings
package import Kernels

/// What somebody says of a text: its proof record, and what stands beside it. A line of `generate --json` is one, and so is what
/// `scriptorium.proof()` makes of a stored row.
package struct Claim: Sendable, Equatable {
    /// The record's members as they came: what the digest is taken of, also where they cannot be read.
    package var members: JSONObject
    /// The text as it was returned.
    package var text: String?
    /// The digest that was stored with the record, 64 hexadecimal digits.
    package var recordSHA256: String?
    /// Who vouches for the record: `ed25519:<public key>:<signature>`.
    package var signature: String?
    /// The text's parts, where a schema was asked for.
    package var schema: JSONValue?
    /// The tokens' log-probabilities, where they were asked for.
    package var logprobs: JSONValue?
    package var meanLogprob: Double?

    /// What may stand beside the record.
    private static let others: Set<String> = ["text", "record_sha256", "signature", "schema", "logprobs", "mean_logprob"]

    /// Takes a map apart. Whether the record makes sense is not asked here.
    /// - Throws: where it is no map, or a member is neither of the record nor known beside it, or has a wrong type.
    package init(_ json: JSONValue) throws(RecordError) {
        guard let object = json.objectValue else { throw RecordError(member: "the line", problem: "is not a JSON map") }
        members = [:]
        var beside: JSONObject = [:]
        for (name, value) in object {
            if ProofRecord.memberNames.contains(name) {
                members[name] = value
            } else if Self.others.contains(name) {
                if !value.isNull { beside[name] = value }
            } else {
                throw RecordError(member: String(name.prefix(64)), problem: "is no member of a proof")
            }
        }
        guard !members.isEmpty else { throw RecordError(member: "the line", problem: "holds no proof record") }
        let reader = RecordReader(members: beside, prefix: "")
        func optional<Value>(_ name: String, _ read: (String) throws(RecordError) -> Value) throws(RecordError) -> Value? {
            beside[name] == nil ? nil : try read(name)
        }
        text = try optional("text", reader.string)
        recordSHA256 = try optional("record_sha256", reader.string)
        signature = try optional("signature", reader.string)
        meanLogprob = try optional("mean_logprob", reader.real)
        (schema, logprobs) = (beside["schema"], beside["logprobs"])
    }

    /// The precision that its record names; nil where that is none that this program knows.
    package var precision: WeightPrecision? { members["precision"]?.stringValue.flatMap(WeightPrecision.init(rawValue:)) }

    /// The record as it is signed and digested.
    package var canonicalRecord: [UInt8] { JSONValue.object(members).canonical }

    /// The proof as one map: what can be exported, and checked anywhere that has the model.
    package var json: JSONValue {
        var object = members
        object["record_sha256"] = recordSHA256.map { .string($0) }
        object["signature"] = signature.map { .string($0) }
        object["text"] = text.map { .string($0) }
        object["schema"] = schema
        object["logprobs"] = logprobs
        object["mean_logprob"] = meanLogprob.map { .real($0) }
        return .object(object)
    }
}
