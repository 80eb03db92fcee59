import Encodings
import FoundationEssentials
import Kernels
import LanguageModels
import ModelFiles
import TestSupport
import Testing

@Suite("Model descriptions")
struct DescriptionTests {
    @Test("config.json's aliases and defaults are understood")
    func aliases() throws {
        let description = try Architectures.describe(config: [
            "vocab_size": 10, "max_position_embeddings": 16, "hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2,
            "eos_token_id": [3, 4], "line_by_line": true, "unknown": "kept elsewhere",
        ])
        #expect(description.architecture == "gpt2")
        #expect((description.contextLength, description.width, description.layers, description.heads) == (16, 8, 2, 2))
        #expect(description.inner == 32)
        #expect(description.eosIDs == [3, 4])
        #expect(description.bosID == nil)
        #expect(description.lineByLine && description.tied)
        #expect(description.attentionScales == [0.5, 0.5])
        #expect(description.parameterCount == 10 * 8 + 16 * 8 + 2 * (8 * 24 + 24 + 64 + 8 + 256 + 32 + 256 + 8 + 32) + 16)
    }

    @Test("generation_config.json's token ids go before config.json's")
    func generationConfig() throws {
        let description = try Architectures.describe(config: Support.config(), generation: ["eos_token_id": 7, "bos_token_id": nil])
        #expect(description.eosIDs == [7])
        #expect(description.bosID == 0)
    }

    @Test(
        "a wrong config.json is refused by the key's name",
        arguments: [
            ("n_head", JSONValue.integer(5), "n_head"), ("n_embd", "x", "n_embd"), ("n_layer", .integer(0), "n_layer"),
            ("activation_function", "mish", "activation_function"), ("layer_norm_epsilon", .real(0), "layer_norm_epsilon"),
            ("add_cross_attention", .bool(true), "add_cross_attention"), ("eos_token_id", .integer(101), "eos_token_id"),
            ("vocab_size", .null, "vocab_size"), ("scale_attn_weights", .integer(1), "scale_attn_weights"),
        ] as [(String, JSONValue, String)])
    func wrong(key: String, value: JSONValue, named: String) throws {
        var config = Support.config()
        config[key] = value
        do {
            _ = try Architectures.describe(config: config)
            Issue.record("\(key) was accepted")
        } catch ModelError.badConfig(let found, _) {
            #expect(found == named)
        }
    }

    @Test("an unknown architecture is refused with the list of those known")
    func unknown() throws {
        #expect(throws: ModelError.unknownArchitecture("mamba", known: ["gpt2"])) { try Architectures.describe(config: ["model_type": "mamba"]) }
    }

    @Test("missing and misshapen tensors are named")
    func tensors() throws {
        let source = try ModelDirectory.open(Fixtures.reference + "/gpt2")
        let pool = ThreadPool(threads: 1)
        let width = Int(try #require(source.config["n_embd"]?.intValue))
        let shape = try #require(source.tensors.info("transformer.h.0.mlp.c_fc.weight")).shape
        let inner = shape[1] + 8
        let edits: [(JSONObject, ModelError)] = [
            (["n_inner": .integer(Int64(inner))], .wrongShape("transformer.h.0.mlp.c_fc.weight", expected: [width, inner], found: shape)),
            (["tie_word_embeddings": false], .missingTensor("lm_head.weight")),
        ]
        for (edit, wanted) in edits {
            let folder = try TemporaryDirectory()
            var config = source.config
            for (key, value) in edit { config[key] = value }
            try Data(JSONValue.object(config).serialised).write(to: URL(filePath: folder.path + "/config.json"))
            try FileManager.default.copyItem(atPath: source.path + "/model.safetensors", toPath: folder.path + "/model.safetensors")
            #expect(throws: wanted) { try LanguageModel.load(ModelDirectory.open(folder.path), pool: pool) }
        }
    }

    @Test("a tokenizer with ids beyond the model's rows is refused")
    func tokenizer() throws {
        let model = try LanguageModel.random(Architectures.describe(config: Support.config()), seed: 1, pool: ThreadPool(threads: 1))
        try model.check(tokenizerCount: 101)
        #expect(throws: ModelError.tokenizerTooLarge(tokens: 102, rows: 101)) { try model.check(tokenizerCount: 102) }
    }

    @Test("the checkpoint's digest is the same for any spelling of one configuration and follows the weights")
    func digest() throws {
        let pool = ThreadPool(threads: 1)
        let one = try Support.model("gpt2", pool: pool)
        #expect(one.checkpointSHA256.utf8.count == 64)
        #expect(try Support.model("gpt2", pool: ThreadPool(threads: 2)).checkpointSHA256 == one.checkpointSHA256)
        #expect(try Support.model("gpt2-variant", pool: pool).checkpointSHA256 != one.checkpointSHA256)
        #expect(try Support.model("gpt2-ending", pool: pool).checkpointSHA256 != one.checkpointSHA256)
    }
}
