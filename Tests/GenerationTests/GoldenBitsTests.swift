import Encodings
import Generation
import Kernels
import LanguageModels
import TestSupport
import Testing
import Tokenizers

/// Bits of versions `float32/1`, `bfloat16/1` and `int8/1`. Where one of these fails, the arithmetic has changed: raise that
/// precision's version in ``Numerics`` and renew them together.
@Suite("Golden bits of float32/1, bfloat16/1 and int8/1")
struct GoldenBitsTests {
    private static let logits: [WeightPrecision: String] = [
        .float32: "2b08461bd206be5b033eaaf25d16a5e2627bf03abec5b6d5688133f6c73b1db4",
        .bfloat16: "ccaf2010cb98476fd68a752eddc52683d0e6f5e3c83d4cdd5196a01c3e43893d",
        .int8: "15f9947efc570c876a8fc2b5f98a6875751f42440a28ba37e7cf8a1211c2232e",
    ]
    private static let texts: [WeightPrecision: String] = [
        .float32: "2e15821cc326cf8b9a60bbe37513ce6ae893ecba3a3081b24bd6cd0e38cccf6f",
        .bfloat16: "31b001ecf9e0b9f0684a8a43b2dc4819ab6e29b9e28c8b4b60fed4008052d429",
        .int8: "cd60f5974d9efa27964195a76d85e88cdaac3cd317b39845104bbced9313d346",
    ]

    @Test("the versions are those that these bits belong to")
    func versions() { #expect(Numerics.all == ["float32/1", "bfloat16/1", "int8/1"]) }

    @Test("logits of a long text have the committed bits on every instruction set", arguments: WeightPrecision.allCases)
    func logits(precision: WeightPrecision) throws {
        for set in InstructionSet.available {
            let engine = try Self.engine(set, precision)
            let score = try Scorer(model: engine.model, pool: engine.pool).score((0..<300).map { Int32(($0 * 37 + 5) % 280) })
            var digest = SHA256Digest()
            for values in [score.firstLogits, score.lastLogits, score.logprobs] {
                for value in values { withUnsafeBytes(of: value.bitPattern.littleEndian) { digest.update($0) } }
            }
            #expect(hexString(digest.finish()) == Self.logits[precision], "\(set)")
        }
    }

    @Test("texts under every kind of processor have the committed tokens on every instruction set", arguments: WeightPrecision.allCases)
    func texts(precision: WeightPrecision) throws {
        for set in InstructionSet.available {
            let engine = try Self.engine(set, precision)
            var digest = SHA256Digest()
            for edit in Self.edits {
                var request = GenerationRequest(prompts: ["the first", "x"], n: 3)
                request.parameters.maxLength = 90
                request.parameters.seed = 8_415_926_535
                request.text.deduplicate = true
                edit(&request.parameters)
                for sample in try engine.generate(request) {
                    for token in sample.tokenIDs { withUnsafeBytes(of: token.littleEndian) { digest.update($0) } }
                    withUnsafeBytes(of: sample.meanLogprob.bitPattern.littleEndian) { digest.update($0) }
                }
            }
            #expect(hexString(digest.finish()) == Self.texts[precision], "\(set)")
        }
    }

    private static let edits: [@Sendable (inout SamplingParameters) -> Void] = [
        { _ in }, { $0.temperature = [1.3, 0.4, 1] }, { $0.topK = 12 }, { $0.topP = 0.8 }, { $0.minP = 0.03 }, { $0.typicalP = 0.7 },
        {
            $0.temperature = [1.1]
            $0.topK = 60
            $0.topP = 0.95
            $0.minP = 0.01
            $0.typicalP = 0.9
            $0.repetitionPenalty = 1.15
            $0.noRepeatNgramSize = 3
        },
    ]

    /// A model and a tokenizer that no file holds, so that other fixtures change nothing here.
    private static func engine(_ set: InstructionSet, _ precision: WeightPrecision) throws -> Engine {
        let pool = ThreadPool(threads: 2, instructionSet: set)
        var trainer = TokenizerTrainer(vocabularySize: 280, minimumFrequency: 2)
        trainer.feed(text: "the first and the last of the things that the first thing was and the last thing is\n")
        let tokenizer = try trainer.train()
        let description = try Architectures.describe(config: [
            "vocab_size": 280, "n_positions": 320, "n_embd": 72, "n_layer": 3, "n_head": 3, "n_inner": 272, "layer_norm_epsilon": 1e-5,
            "bos_token_id": 0, "eos_token_id": 0,
        ])
        let model = try LanguageModel.random(description, seed: 17, scale: 0.15, precision: precision, pool: pool)
        return Engine(model: model, tokenizer: tokenizer, pool: pool)
    }
}
