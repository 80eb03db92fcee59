package import Encodings

extension ProofRecord {
    /// The record's members: what its digest is taken of, and no other.
    static let memberNames: Set<String> = [
        "format", "checkpoint_sha256", "tokenizer_sha256", "numerics", "precision", "rng", "seed", "seed_assigned", "params", "sample",
        "prompt_index", "draw", "prompt", "prompt_token_ids", "token_ids", "finish_reason",
    ]
    /// The only format that this version writes and reads.
    static let format = "scriptorium/1"

    /// Reads what ``json`` writes; every member must be there.
    /// - Throws: the first member that is missing, of a wrong type or out of range, or that asks for what this version does not know.
    package init(_ members: JSONObject) throws(RecordError) {
        let reader = RecordReader(members: members, prefix: "")
        guard try reader.string("format") == Self.format else {
            throw RecordError(member: "format", problem: "this version reads \(Self.format) alone")
        }
        let reason = try reader.string("finish_reason")
        guard let finishReason = FinishReason(rawValue: reason) else {
            throw RecordError(member: "finish_reason", problem: "must be eos, length or stop, not \"\(reason.prefix(40))\"")
        }
        self.init(
            checkpointSHA256: try reader.string("checkpoint_sha256"), tokenizerSHA256: try reader.string("tokenizer_sha256"),
            numerics: try reader.string("numerics"), precision: try reader.string("precision"), rng: try reader.string("rng"),
            seed: UInt64(try reader.integer("seed", 0...Int64(SamplingParameters.mostSeed))), seedAssigned: try reader.bool("seed_assigned"),
            params: try reader.object("params"), sample: Int(try reader.integer("sample", 0...Int64(Int32.max))),
            promptIndex: Int(try reader.integer("prompt_index", 0...Int64(Int32.max))), draw: Int(try reader.integer("draw", 0...4095)),
            prompt: try reader.string("prompt"), promptTokenIDs: try reader.tokens("prompt_token_ids"), tokenIDs: try reader.tokens("token_ids"),
            finishReason: finishReason)
    }
}

/// Reads the members of a map one by one, each error naming its member.
struct RecordReader {
    let members: JSONObject
    /// Stands before each name in errors.
    let prefix: String

    /// A member that must be there.
    private func need<Value>(_ name: String, _ what: String, _ read: (JSONValue) -> Value?) throws(RecordError) -> Value {
        guard let value = members[name], !value.isNull else { throw RecordError(member: prefix + name, problem: "is missing") }
        guard let found = read(value) else { throw RecordError(member: prefix + name, problem: "must be \(what)") }
        return found
    }

    func string(_ name: String) throws(RecordError) -> String { try need(name, "a string") { $0.stringValue } }
    func bool(_ name: String) throws(RecordError) -> Bool { try need(name, "true or false") { $0.boolValue } }
    func object(_ name: String) throws(RecordError) -> JSONObject { try need(name, "a map") { $0.objectValue } }
    func real(_ name: String) throws(RecordError) -> Double { try need(name, "a number") { $0.doubleValue } }

    func integer(_ name: String, _ range: ClosedRange<Int64>) throws(RecordError) -> Int64 {
        try need(name, "an integer from \(range.lowerBound) to \(range.upperBound)") { value in
            value.intValue.map { Int64($0) }.flatMap { range.contains($0) ? $0 : nil }
        }
    }

    func strings(_ name: String) throws(RecordError) -> [String] {
        try need(name, "a list of strings") { value in
            let strings = value.arrayValue?.map(\.stringValue)
            return strings.flatMap { $0.contains(nil) ? nil : $0.compactMap(\.self) }
        }
    }

    func tokens(_ name: String) throws(RecordError) -> [Int32] {
        try need(name, "a list of token ids") { value in
            guard let items = value.arrayValue else { return nil }
            var tokens: [Int32] = []
            tokens.reserveCapacity(items.count)
            for item in items {
                guard let id = item.intValue.flatMap(Int32.init(exactly:)) else { return nil }
                tokens.append(id)
            }
            return tokens
        }
    }
}
