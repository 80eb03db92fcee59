package import Encodings

/// What makes a text provable: everything that determined it, and its tokens.
///
/// Source: reproducibility, "Proof by one pass". Its canonical JSON is stored with the text and its digest catches
/// any edited field.
package struct ProofRecord: Sendable, Equatable {
    package var checkpointSHA256: String
    package var tokenizerSHA256: String
    package var numerics: String
    package var precision: String
    package var rng: String
    package var seed: UInt64
    package var seedAssigned: Bool
    package var params: JSONObject
    package var sample: Int
    package var promptIndex: Int
    package var draw: Int
    package var prompt: String
    package var promptTokenIDs: [Int32]
    package var tokenIDs: [Int32]
    package var finishReason: FinishReason

    /// The record as a map.
    package var json: JSONValue {
        .object([
            "format": "scriptorium/1",
            "checkpoint_sha256": .string(checkpointSHA256),
            "tokenizer_sha256": .string(tokenizerSHA256),
            "numerics": .string(numerics),
            "precision": .string(precision),
            "rng": .string(rng),
            "seed": .integer(Int64(seed)),
            "seed_assigned": .bool(seedAssigned),
            "params": .object(params),
            "sample": .integer(Int64(sample)),
            "prompt_index": .integer(Int64(promptIndex)),
            "draw": .integer(Int64(draw)),
            "prompt": .string(prompt),
            "prompt_token_ids": .array(promptTokenIDs.map { .integer(Int64($0)) }),
            "token_ids": .array(tokenIDs.map { .integer(Int64($0)) }),
            "finish_reason": .string(finishReason.rawValue),
        ])
    }

    /// The bytes that are stored and whose digest is `record_sha256`.
    package var canonical: [UInt8] { json.canonical }
}
