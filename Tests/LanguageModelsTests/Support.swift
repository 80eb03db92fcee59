import Encodings
import FoundationEssentials
import Kernels
import LanguageModels
import ModelFiles
import TestSupport

/// Small models and reference files for these tests.
enum Support {
    /// A folder of the reference set, loaded for one instruction set.
    static func model(_ name: String, precision: WeightPrecision = .float32, pool: ThreadPool) throws -> LanguageModel {
        try LanguageModel.load(ModelDirectory.open(Fixtures.model(name)), precision: precision, pool: pool)
    }

    /// What transformers computes with a reference model.
    static func golden(_ name: String) throws -> JSONValue {
        try JSONValue.parse([UInt8](try Data(contentsOf: URL(filePath: Fixtures.model(name) + "/golden.json"))))
    }

    static func config(layers: Int = 2, width: Int = 48, heads: Int = 3, context: Int = 160, vocabulary: Int = 101, inner: Int? = nil) -> JSONObject {
        [
            "model_type": "gpt2", "vocab_size": .integer(Int64(vocabulary)), "n_positions": .integer(Int64(context)),
            "n_embd": .integer(Int64(width)),
            "n_layer": .integer(Int64(layers)), "n_head": .integer(Int64(heads)), "n_inner": inner.map { .integer(Int64($0)) } ?? .null,
            "bos_token_id": 0, "eos_token_id": 0,
        ]
    }

    /// Logits of every position, run in the given chunks.
    static func logits(_ model: LanguageModel, _ tokens: [Int32], chunks: [Int], pool: ThreadPool) throws -> [[Float]] {
        let session = InferenceSession(model: model, pool: pool, maximumRows: 512, maximumLogitRows: 512, maximumSequences: 2)
        let sequence = try session.makeSequence()
        var result: [[Float]] = []
        var start = 0
        for chunk in chunks {
            session.begin()
            let row = try session.append(tokens[start..<(start + chunk)], to: sequence, logits: .all)
            session.run()
            for offset in 0..<chunk { result.append(copy(session, row + offset)) }
            start += chunk
        }
        return result
    }

    static func copy(_ session: InferenceSession, _ row: Int) -> [Float] {
        Array(UnsafeBufferPointer(start: session.logits(row), count: session.model.description.vocabularySize))
    }

    static func tokens(_ count: Int, below rows: Int, using generator: inout SeededGenerator) -> [Int32] {
        (0..<count).map { _ in Int32.random(in: 0..<Int32(rows), using: &generator) }
    }

    /// A division of `count` into random chunks.
    static func chunks(_ count: Int, using generator: inout SeededGenerator) -> [Int] {
        var left = count
        var chunks: [Int] = []
        while left > 0 {
            let chunk = Int.random(in: 1...left, using: &generator)
            chunks.append(chunk)
            left -= chunk
        }
        return chunks
    }
}

extension JSONValue {
    var floats: [Float] { (arrayValue ?? []).map { Float($0.doubleValue ?? .nan) } }
    var ids: [Int32] { (arrayValue ?? []).map { Int32($0.intValue ?? -1) } }
}

/// Bit for bit: NaN equals itself, and 0 is not −0.
func bits(_ values: [Float]) -> [UInt32] { values.map(\.bitPattern) }
