import Encodings
import Generation
import Kernels
import LanguageModels
import TestSupport
import Testing
import Tokenizers

/// More bits of versions `float32/1`, `bfloat16/1` and `int8/1`, under the rule of ``GoldenBitsTests``: the other architectures, and what
/// settles whole texts.
@Suite("Golden bits of every architecture, and of searches, windows, redraws and torch's numbers")
struct GoldenTextsTests {
    private static let logits: [String: String] = [
        "gpt_neo bfloat16": "49dafc03446062a0a9c2bf05d6a433d4d3cf645a8b0859dd5a45c4979f7f8e6d",
        "gpt_neo float32": "7068c528a6095b495fb3a4adff963d7c9eb1da9b647ea534bb68815b4bdd4547",
        "gpt_neo int8": "930086154d770fe7128dd253d5fae4986691a51c0e16649e61ccbfc10344764c",
        "gpt_neox bfloat16": "622b6fab1813707b400cd9c171132d589af4c7fe35ee4d1cd6c8ed0e640a255f",
        "gpt_neox float32": "141f1c4229b5407836ccf74d88a41f2fa2a13ff5a8ff93dbff38db7a4e7f5320",
        "gpt_neox int8": "cad67d41e3cfe2021d179a3859aabddb8439a5420b016b610e309c96a259806e",
    ]
    private static let texts: [String: String] = [
        "gpt_neo bfloat16": "eb3e2044955e34073a2db324e9ef69d6c722d6217022710d69e6fdf6fff16069",
        "gpt_neo float32": "5170292b1551fa45dc5d1df60f076fcf2ec0af2d1ea7fe7b8fcaacd32cee2801",
        "gpt_neo int8": "83b9aafea9326019ada0e119ba5208b8504bc5817d694623f4aee19cd0fbd82a",
        "gpt_neox bfloat16": "43f459092ea564d5a7e27fa903ba6c4c2a1697bc8ecaead726f51fe792bd958b",
        "gpt_neox float32": "32de0e8fd5deabde2e6d80043d2ea3a541381c88b0ccac567acae85446c06dd7",
        "gpt_neox int8": "440d18c0674e2da0c86548ff51eef191e1a6fb115305482bf70fdde6d4d7c50b",
    ]
    private static let settled: [String: String] = [
        "a window that moves": "f8d0c1ce15db52b1ea4d93313cca9f24399c03b560d12bd9395563bfba2b6192",
        "beams": "a236849c3a6e9c1bda43d582b0fceef9e2c86dc0492515374b946a4abd2fdd8e",
        "beams in a window that moves": "222e0cf727cd30b8744546d0d0d71bfb7e75506fd623ee4fda6674bf231aab0d",
        "beams that draw": "b83798405cfd9edeaaff16ca45e133337802427005a5cb51f3861fc8048e1fa6",
        "beams, with torch's numbers": "55743da66d59079d37f94bed89c275e57f3be4121edb9668c3a84068857ae886",
        "empty texts drawn again": "32d5c75345346fe43c9fe209674174d99b77e95959cb4c7cb9823c5db394690e",
        "equal texts drawn again": "289cf84d6e57f398d6f0367aa15bc234107e52d9f2df7872fa46f322e58855e0",
        "torch's numbers": "1071596a495dfbfa03cb1b0d91f68cbd17c4a91bbf515de214dd11890850c953",
        "torch's numbers in batches, drawn again": "c583f8872600d7022c170de8c4aad613ce9844538bb510a6c685da6afebd6173",
        "words, bounds and a stop": "99808cb57ad495116e6fd4ec71fa0e303c4bc9e56197070288d34e964827c097",
    ]

    @Test(
        "logits and texts of GPT Neo and GPT-NeoX have the committed bits on every instruction set", arguments: ["gpt_neo", "gpt_neox"],
        WeightPrecision.allCases)
    func architectures(name: String, precision: WeightPrecision) throws {
        for set in InstructionSet.available {
            let engine = try Self.engine(name, set, precision)
            let score = try Scorer(model: engine.model, pool: engine.pool).score((0..<150).map { Int32(($0 * 37 + 5) % 280) })
            var digest = SHA256Digest()
            for value in [score.firstLogits, score.lastLogits, score.logprobs].joined() {
                withUnsafeBytes(of: value.bitPattern.littleEndian) { digest.update($0) }
            }
            #expect(hexString(digest.finish()) == Self.logits["\(name) \(precision)"], "\(set)")
            var request = GenerationRequest(prompts: ["the first", "x"], n: 2)
            (request.parameters.maxLength, request.parameters.seed) = (120, 3_141_592_653)
            let texts = try Self.digest(engine.generate(request))
            #expect(texts == Self.texts["\(name) \(precision)"], "\(set)")
        }
    }

    @Test("whole texts have the committed tokens on every instruction set", arguments: cases.keys.sorted())
    func settled(name: String) throws {
        for set in InstructionSet.available {
            let engine = try Self.engine("gpt2", set, .float32)
            var request = GenerationRequest(prompts: ["the first", "x"], n: 3)
            (request.parameters.maxLength, request.parameters.seed) = (90, 2_718_281_828)
            Self.cases[name]?(&request)
            let samples = try engine.generate(request)
            if name.contains("drawn again") { #expect(samples.contains { $0.draw > 0 }) }
            if name.contains("window") { #expect(samples.contains { $0.tokenIDs.count > 160 }) }
            let texts = Self.digest(samples)
            #expect(texts == Self.settled[name], "\(name), \(set)")
        }
    }

    private static let cases: [String: @Sendable (inout GenerationRequest) -> Void] = [
        "beams": { ($0.parameters.numBeams, $0.parameters.doSample, $0.parameters.lengthPenalty) = (4, false, 0.7) },
        "beams that draw": { ($0.parameters.numBeams, $0.parameters.topK, $0.parameters.earlyStopping) = (3, 40, .never) },
        "beams, with torch's numbers": { ($0.parameters.numBeams, $0.parameters.rng) = (3, .torch) },
        "a window that moves": { ($0.parameters.slidingWindow, $0.parameters.maxLength, $0.parameters.bannedTokens) = (true, 400, [0]) },
        "beams in a window that moves": {
            ($0.parameters.slidingWindow, $0.parameters.maxLength, $0.parameters.bannedTokens) = (true, 300, [0])
            ($0.parameters.numBeams, $0.n) = (2, 1)
        },
        "empty texts drawn again": { ($0.parameters.minLength, $0.parameters.maxLength) = (90, 48) },
        "equal texts drawn again": { ($0.text.deduplicate, $0.parameters.topK, $0.parameters.maxLength, $0.n) = (true, 2, 4, 6) },
        "torch's numbers": { $0.parameters.rng = .torch },
        "torch's numbers in batches, drawn again": {
            ($0.parameters.rng, $0.parameters.batchSize, $0.n) = (.torch, 2, 4)
            ($0.parameters.minLength, $0.parameters.maxLength) = (90, 48)
        },
        "words, bounds and a stop": {
            ($0.parameters.badWords, $0.parameters.minLength, $0.parameters.truncate) = (["the", "last thing"], 20, "is")
            ($0.parameters.stop, $0.parameters.temperature) = (["was"], [1.2])
        },
    ]

    private static func digest(_ samples: [GeneratedSample]) -> String {
        var digest = SHA256Digest()
        for sample in samples {
            for token in [Int32(sample.draw)] + sample.tokenIDs { withUnsafeBytes(of: token.littleEndian) { digest.update($0) } }
            withUnsafeBytes(of: sample.meanLogprob.bitPattern.littleEndian) { digest.update($0) }
        }
        return hexString(digest.finish())
    }

    /// Models and a tokenizer that no file holds, so that other fixtures change nothing here.
    private static func engine(_ name: String, _ set: InstructionSet, _ precision: WeightPrecision) throws -> Engine {
        let pool = ThreadPool(threads: 2, instructionSet: set)
        var trainer = TokenizerTrainer(vocabularySize: 280, minimumFrequency: 2)
        trainer.feed(text: "the first and the last of the things that the first thing was and the last thing is\n")
        let configs: [String: JSONObject] = [
            "gpt2": ["n_positions": 160, "n_embd": 48, "n_layer": 2, "n_head": 3],
            "gpt_neo": [
                "max_position_embeddings": 160, "hidden_size": 72, "intermediate_size": 200, "num_layers": 4, "num_heads": 3, "window_size": 19,
                "attention_types": [[["global", "local"], 2]],
            ],
            "gpt_neox": [
                "max_position_embeddings": 160, "hidden_size": 72, "intermediate_size": 200, "num_hidden_layers": 3, "num_attention_heads": 3,
                "rotary_pct": 0.5,
            ],
        ]
        var config = configs[name] ?? [:]
        (config["model_type"], config["vocab_size"], config["bos_token_id"], config["eos_token_id"]) = (.string(name), 280, 0, 0)
        let model = try LanguageModel.random(Architectures.describe(config: config), seed: 23, scale: 0.15, precision: precision, pool: pool)
        return Engine(model: model, tokenizer: try trainer.train(), pool: pool)
    }
}
