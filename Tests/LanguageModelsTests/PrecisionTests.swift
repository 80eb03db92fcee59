import Encodings
import Kernels
import LanguageModels
import TestSupport
import Testing

@Suite("Models with narrow weights")
struct PrecisionTests {
    /// How far logits may be from transformers' float32 ones, as a share of their spread. The reference models have random weights, which
    /// is harder than trained ones. Measured: below 0.02 for bfloat16, at most 0.047 for int8; but 0.021 and 0.336 for `gpt-neo`, whose large
    /// weights and unscaled scores make attention choose one position, at times another one.
    private static func bound(_ precision: WeightPrecision, _ name: String) -> Float {
        let isSharp = name == "gpt-neo"
        return precision == .bfloat16 ? (isSharp ? 0.04 : 0.02) : (isSharp ? 0.5 : 0.06)
    }

    @Test("logits stay near those of float32", arguments: ReferenceLogitsTests.models, [WeightPrecision.bfloat16, .int8])
    func logits(name: String, precision: WeightPrecision) throws {
        let pool = ThreadPool(threads: 2)
        let model = try Support.model(name, precision: precision, pool: pool)
        let bound = Self.bound(precision, name)
        for prompt in try #require(try Support.golden(name)["prompts"]?.arrayValue) {
            let ids = try #require(prompt["ids"]).ids
            let all = try Support.logits(model, ids, chunks: [ids.count], pool: pool)
            for (found, member) in [(all[0], "first_logits"), (all[ids.count - 1], "last_logits")] {
                let wanted = try #require(prompt[member]).floats
                let error = Self.distance(found, wanted)
                #expect(error <= bound, "\(name), \(member): \(error)")
                // It is another arithmetic, not float32 under another name.
                #expect(error > 0)
            }
        }
    }

    /// The root mean square of the differences, over that of the values about their mean.
    private static func distance(_ found: [Float], _ wanted: [Float]) -> Float {
        let mean = wanted.reduce(0, +) / Float(wanted.count)
        let difference = zip(found, wanted).reduce(Float(0)) { $0 + ($1.0 - $1.1) * ($1.0 - $1.1) }
        let spread = wanted.reduce(Float(0)) { $0 + ($1 - mean) * ($1 - mean) }
        return (difference / spread).squareRoot()
    }

    @Test("narrow weights and keys take the memory that they are for")
    func memory() throws {
        let pool = ThreadPool(threads: 1)
        let description = try Architectures.describe(config: Support.config(width: 256, heads: 4, vocabulary: 4096))
        let models = try WeightPrecision.allCases.map { try LanguageModel.random(description, seed: 1, precision: $0, pool: pool) }
        let weights = models.map { Double($0.weightsByteCount) }
        #expect(weights[1] / weights[0] < 0.55 && weights[2] / weights[0] < 0.33)
        let pages = models.map(InferenceSession.pageByteCount)
        #expect(pages == [pages[0], pages[0] / 2, pages[0]])
    }

    @Test("a number that is not finite in a row of weights reaches the logits of every precision", arguments: WeightPrecision.allCases)
    func notFinite(precision: WeightPrecision) throws {
        let pool = ThreadPool(threads: 1)
        let description = try Architectures.describe(config: Support.config())
        let model = try LanguageModel.random(description, seed: 1, scale: .infinity, precision: precision, pool: pool)
        let logits = try Support.logits(model, [1, 2, 3], chunks: [3], pool: pool)
        #expect(logits[2].contains { !$0.isFinite })
    }
}
