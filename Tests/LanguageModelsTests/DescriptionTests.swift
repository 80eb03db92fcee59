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

    @Test("ids beyond the vocabulary, such as the default 50256 in a small model's config, are left out")
    func idsBeyondVocabulary() throws {
        var config = Support.config()
        (config["bos_token_id"], config["eos_token_id"]) = (.integer(50256), .integer(50256))
        let none = try Architectures.describe(config: config)
        #expect(none.bosID == nil && none.eosIDs.isEmpty)
        config["eos_token_id"] = .array([.integer(3), .integer(50256)])
        #expect(try Architectures.describe(config: config).eosIDs == [3])
        // As the file that goes first says nothing that can happen, nothing ends a text.
        #expect(try Architectures.describe(config: Support.config(), generation: ["eos_token_id": 50256]).eosIDs.isEmpty)
    }

    @Test(
        "a wrong config.json is refused by the key's name",
        arguments: [
            ("n_head", JSONValue.integer(5), "n_head"), ("n_embd", "x", "n_embd"), ("n_layer", .integer(0), "n_layer"),
            ("activation_function", "mish", "activation_function"), ("layer_norm_epsilon", .real(0), "layer_norm_epsilon"),
            ("add_cross_attention", .bool(true), "add_cross_attention"), ("eos_token_id", .integer(-1), "eos_token_id"),
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

    private static let neo = ModelConfig.gptNeo(vocabulary: 50, positions: 32, width: 16, inner: 24, layers: 4, heads: 2, window: 5, endOfText: 3)
    private static let neox: JSONObject = [
        "model_type": "gpt_neox", "vocab_size": 50, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 40,
    ]

    @Test("GPT Neo's layers take turns, its scores are not scaled, its queries, keys and values have no bias")
    func gptNeo() throws {
        let description = try Architectures.describe(config: Self.neo)
        #expect(description.attentionWindows == [0, 5, 0, 5])
        #expect(description.attentionScales == [1, 1, 1, 1])
        #expect(description.tensors.layers[1].attentionInput.biases.isEmpty && description.tensors.layers[1].attentionInput.weights.count == 3)
        #expect(description.residualInitializerRange == description.initializerRange)
        var expanded = Self.neo
        expanded["attention_types"] = nil
        expanded["attention_layers"] = ["local", "global", "global", "local"]
        #expect(try Architectures.describe(config: expanded).attentionWindows == [5, 0, 0, 5])
        #expect(try Architectures.describe(config: expanded).digestKeys != description.digestKeys)
    }

    @Test("GPT-NeoX's positions are read from old and new configs alike")
    func gptNeoX() throws {
        let description = try Architectures.describe(config: Self.neox)
        #expect(description.rotary == Rotary(pairs: 2, base: 10_000))
        #expect(description.contextLength == 2048 && description.tensors.positionEmbedding == nil)
        #expect(description.residual == .parallel && description.headOrder == .headByHead && !description.tied)
        #expect((description.headPlaces.stride, description.headPlaces.keys, description.headPlaces.values) == (48, 16, 32))
        var old = Self.neox
        old["rotary_pct"] = .real(0.5)
        old["rotary_emb_base"] = 500
        var new = Self.neox
        new["rope_parameters"] = ["partial_rotary_factor": .real(0.5), "rope_theta": 500, "rope_type": "default"]
        #expect(try Architectures.describe(config: old).rotary == Rotary(pairs: 4, base: 500))
        #expect(try Architectures.describe(config: new).digestKeys == Architectures.describe(config: old).digestKeys)
    }

    @Test(
        "what the other architectures cannot be is refused by the key's name",
        arguments: [
            (neo, "attention_types", [[["global"], 3]], "attention_types"),
            (neo, "attention_types", [[["global", "sparse"], 2]], "attention_types"),
            (neo, "attention_types", [[["global"], 999_999]], "attention_types"), (neo, "attention_types", "global", "attention_types"),
            (neo, "window_size", 0, "window_size"), (neo, "num_heads", 3, "num_heads"), (neox, "num_attention_heads", 3, "num_attention_heads"),
            (neox, "rotary_pct", .real(0), "rotary_pct"), (neox, "rotary_pct", .real(0.19), "rotary_pct"),
            (neox, "rope_scaling", ["type": "linear", "factor": 2], "rope_type"), (neox, "hidden_act", "mish", "hidden_act"),
            (neox, "intermediate_size", .null, "intermediate_size"), (neox, "rotary_emb_base", .real(-1), "rotary_emb_base"),
        ] as [(JSONObject, String, JSONValue, String)])
    func wrongElsewhere(config: JSONObject, key: String, value: JSONValue, named: String) throws {
        var config = config
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
        #expect(throws: ModelError.unknownArchitecture("mamba", known: ["gpt2", "gpt_neo", "gpt_neox"])) {
            try Architectures.describe(config: ["model_type": "mamba"])
        }
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
