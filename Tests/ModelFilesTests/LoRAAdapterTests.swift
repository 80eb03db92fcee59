import DurableFiles
import Encodings
import ModelFiles
import TestSupport
import Testing

@Suite("LoRA adapters' files")
struct LoRAAdapterTests {
    let temporary: TemporaryDirectory
    let path: String

    /// A model folder of two weights with an adapter on one, [2 inputs][3 outputs] as Conv1D keeps it.
    init() throws {
        temporary = try TemporaryDirectory()
        path = temporary.path + "/model"
        try FileTree.makeFolders(path)
        try write(
            "model.safetensors",
            [("transformer.h.0.attn.c_attn.weight", [2, 3], [1, 2, 3, 4, 5, 6]), ("transformer.wte.weight", [2, 2], [1, 0, 0, 1])])
        try writeConfig("config.json", ["model_type": .string("gpt2"), "vocab_size": .integer(2)])
        try write("adapter_model.safetensors", [(Self.a, [1, 2], [10, 100]), (Self.b, [3, 1], [1, 2, 0.5])])
        try writeConfig("adapter_config.json", Self.config)
    }

    private static let a = "base_model.model.transformer.h.0.attn.c_attn.lora_A.weight"
    private static let b = "base_model.model.transformer.h.0.attn.c_attn.lora_B.weight"
    private static let config: JSONObject = [
        "peft_type": .string("LORA"), "r": .integer(1), "lora_alpha": .real(0.5), "fan_in_fan_out": .bool(true),
        "target_modules": .array([.string("c_attn")]), "bias": .string("none"), "modules_to_save": .null, "rank_pattern": .object([:]),
    ]

    private func write(_ name: String, _ tensors: [(String, [Int], [Float])]) throws {
        let buffers = tensors.map { UnsafeMutableBufferPointer<Float>.allocate(capacity: $0.2.count) }
        defer { for buffer in buffers { buffer.deallocate() } }
        for (buffer, tensor) in zip(buffers, tensors) { _ = buffer.initialize(from: tensor.2) }
        try SafetensorsWriter.write(
            zip(buffers, tensors).map { (name: $1.0, shape: $1.1, data: UnsafeBufferPointer($0)) }, to: path + "/" + name)
    }

    private func writeConfig(_ name: String, _ config: JSONObject) throws {
        try DurableFile.write(JSONValue.object(config).serialised, to: path + "/" + name)
    }

    @Test("a weight is read with alpha / rank times B·A added, the others as they are")
    func merged() throws {
        let tensors = try ModelDirectory.open(path).tensors
        #expect(try tensors.float32("transformer.h.0.attn.c_attn.weight") == [6, 12, 5.5, 54, 105, 31])
        #expect(try tensors.float32("transformer.wte.weight") == [1, 0, 0, 1])
        let unmerged = try ModelDirectory.open(path).unmerged.tensors
        #expect(try unmerged.float32("transformer.h.0.attn.c_attn.weight") == [1, 2, 3, 4, 5, 6] && unmerged.adapter == nil)
    }

    @Test("a base whose names lack the model's prefix is merged all the same, and once only")
    func unprefixed() throws {
        try write("model.safetensors", [("h.0.attn.c_attn.weight", [2, 3], [1, 2, 3, 4, 5, 6]), ("wte.weight", [2, 2], [1, 0, 0, 1])])
        let directory = try ModelDirectory.open(path)
        let weights = try directory.tensors.selecting(["transformer.h.0.attn.c_attn.weight", "transformer.wte.weight"])
        #expect(try weights.float32("transformer.h.0.attn.c_attn.weight") == [6, 12, 5.5, 54, 105, 31])
        #expect(try weights.withBytes("transformer.h.0.attn.c_attn.weight") { $0.loadUnaligned(as: Float.self) } == 6)
        #expect(try weights.unmerged.float32("transformer.h.0.attn.c_attn.weight") == [1, 2, 3, 4, 5, 6])
        try directory.export(to: temporary.path + "/merged", weights: weights)
        let merged = try ModelDirectory.open(temporary.path + "/merged").tensors
        #expect(try merged.adapter == nil && merged.float32("transformer.h.0.attn.c_attn.weight") == [6, 12, 5.5, 54, 105, 31])
    }

    @Test("a weight that is stored the other way round is merged the other way round")
    func outputMajor() throws {
        try write("model.safetensors", [("transformer.h.0.attn.c_attn.weight", [3, 2], [1, 4, 2, 5, 3, 6])])
        #expect(throws: ModelFileError.self) { try ModelDirectory.open(path) }
        var config = Self.config
        config["fan_in_fan_out"] = .bool(false)
        try writeConfig("adapter_config.json", config)
        let tensors = try ModelDirectory.open(path).tensors
        #expect(try tensors.float32("transformer.h.0.attn.c_attn.weight") == [6, 54, 12, 105, 5.5, 31])
    }

    @Test(
        "kinds of LoRA that change more than that are refused by name",
        arguments: [
            ("use_rslora", JSONValue.bool(true)), ("use_dora", .bool(true)), ("lora_bias", .bool(true)), ("bias", .string("all")),
            ("rank_pattern", .object(["c_attn": .integer(4)])), ("alpha_pattern", .object(["c_attn": .integer(4)])),
            ("modules_to_save", .array([.string("wte")])), ("trainable_token_indices", .array([.integer(1)])),
        ])
    func otherKinds(member: String, value: JSONValue) throws {
        var config = Self.config
        config[member] = value
        try writeConfig("adapter_config.json", config)
        do {
            _ = try ModelDirectory.open(path)
            Issue.record("\(member) was taken")
        } catch { #expect(error.reason == .unsupported && error.message.contains(member)) }
    }

    @Test("an adapter that contradicts itself or its base is refused, naming the tensor")
    func malformed() throws {
        func refusal(_ tensors: [(String, [Int], [Float])]) throws -> String? {
            try write("adapter_model.safetensors", tensors)
            do {
                _ = try ModelDirectory.open(path)
                return nil
            } catch { return error.tensor ?? error.message }
        }
        let (a, b) = ((Self.a, [1, 2], [Float](repeating: 1, count: 2)), (Self.b, [3, 1], [Float](repeating: 1, count: 3)))
        #expect(try refusal([a, b]) == nil)
        #expect(try refusal([a]) == Self.a && refusal([b]) == Self.b)
        #expect(try refusal([]) == "adapts nothing")
        #expect(try refusal([a, b, ("other", [1], [1])]) == "other")
        #expect(try refusal([(Self.a, [2, 2], [1, 1, 1, 1]), b]) == Self.a)
        #expect(try refusal([(Self.a, [1, 4], [1, 1, 1, 1]), b]) == "transformer.h.0.attn.c_attn.weight")
        let stranger = "base_model.model.transformer.h.7.attn.c_attn.lora_"
        #expect(try refusal([(stranger + "A.weight", a.1, a.2), (stranger + "B.weight", b.1, b.2)]) == "transformer.h.7.attn.c_attn.weight")
    }

    @Test("a config without rank or alpha, and one of another kind of adapter, are refused")
    func configs() throws {
        for (member, value) in [("r", JSONValue.null), ("r", .integer(0)), ("lora_alpha", .string("8")), ("peft_type", .string("PREFIX_TUNING"))] {
            var config = Self.config
            config[member] = value
            try writeConfig("adapter_config.json", config)
            #expect(throws: ModelFileError.self) { try ModelDirectory.open(path) }
        }
    }
}
