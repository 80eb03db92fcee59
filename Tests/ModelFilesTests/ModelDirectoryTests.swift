import DurableFiles
import Encodings
import Glibc
import ModelFiles
import TestSupport
import Testing

@Suite("Model directories")
struct ModelDirectoryTests {
    let temporary: TemporaryDirectory

    init() throws { temporary = try TemporaryDirectory() }

    /// Of the tensors that the reference model is made of, whatever else lies there.
    private func digest(_ directory: ModelDirectory) throws -> String {
        let names = try ModelDirectory.open(Fixtures.reference + "/gpt2").tensors.names
        let weights = try directory.tensors.selecting(names)
        #expect(weights.names == names)
        return try digest(directory, weights)
    }

    private func digest(_ directory: ModelDirectory, _ weights: TensorCollection) throws -> String {
        try checkpointDigest(
            architecture: "gpt2", configKeys: ["n_embd": directory.config["n_embd"] ?? .null], bosTokenID: directory.bosTokenID,
            eosTokenIDs: directory.eosTokenIDs, tensors: weights)
    }

    @Test("the reference model opens with its config, tokenizer and tensors", arguments: ["gpt2", "gpt2-variant"])
    func reference(name: String) throws {
        let directory = try ModelDirectory.open(Fixtures.reference + "/" + name + "/")
        #expect(directory.config["model_type"] == .string("gpt2"))
        #expect(directory.bosTokenID != nil && directory.eosTokenIDs.count == 1)
        #expect(directory.tokenizerPath != nil)
        #expect(directory.tensors.names.allSatisfy { $0.hasPrefix("transformer.") || $0 == "lm_head.weight" })
        let width = try #require(ModelConfig.value("hidden_size", in: directory.config)?.intValue)
        #expect(directory.tensors.info("transformer.ln_f.weight")?.shape == [Int(width)])
    }

    @Test("an exported directory has the same tensors, config and digest")
    func roundTrip() throws {
        let original = try ModelDirectory.open(Fixtures.reference + "/gpt2")
        let target = temporary.path + "/deep/er/copy"
        for _ in 0..<2 {
            try original.export(to: target, weights: original.tensors)
            let copy = try ModelDirectory.open(target)
            #expect(copy.config == original.config && copy.generationConfig == original.generationConfig)
            #expect(copy.tensors.names == original.tensors.names)
            for name in copy.tensors.names { #expect(try copy.tensors.float32(name) == original.tensors.float32(name)) }
            #expect(try digest(copy) == digest(original))
        }
        #expect(FileTree.names(temporary.path + "/deep/er") == ["copy"])
    }

    @Test("prefix, masks, a tied copy and shards change no digest; a bit does")
    func digests() throws {
        let original = try ModelDirectory.open(Fixtures.reference + "/gpt2")
        let expected = try digest(original)
        var plain: [SafetensorsWriter.Tensor] = []
        for name in original.tensors.names {
            let info = try #require(original.tensors.info(name))
            let short = TensorInfo(
                name: String(name.dropFirst("transformer.".count)), dtype: info.dtype, shape: info.shape, byteCount: info.byteCount)
            plain.append(SafetensorsWriter.Tensor(info: short, bytes: try original.tensors.withBytes(name) { $0 }))
        }
        let mask = [Float](repeating: 1, count: 16)
        let wte = try original.tensors.float32("transformer.wte.weight")
        let shape = try #require(original.tensors.info("transformer.wte.weight")?.shape)
        try mask.withUnsafeBufferPointer { mask in
            try wte.withUnsafeBufferPointer { wte in
                let all =
                    plain + [
                        SafetensorsWriter.Tensor(name: "h.0.attn.bias", shape: [1, 1, 4, 4], data: mask),
                        SafetensorsWriter.Tensor(name: "h.0.attn.masked_bias", shape: [], data: UnsafeBufferPointer(rebasing: mask[..<1])),
                        SafetensorsWriter.Tensor(name: "lm_head.weight", shape: shape, data: wte),
                    ]
                let folder = temporary.path + "/prefixless"
                mkdir(folder, 0o755)
                try ModelExport.writeFiles(config: original.config, generationConfig: nil, tensors: all, into: folder)
                #expect(try digest(ModelDirectory.open(folder)) == expected)

                let sharded = temporary.path + "/sharded"
                try writeShards(all, config: original.config, into: sharded)
                #expect(try digest(ModelDirectory.open(sharded)) == expected)
            }
        }
        var changed = wte
        changed[3] = changed[3].nextUp
        try changed.withUnsafeBufferPointer { changed in
            let tensors =
                plain.filter { $0.info.name != "wte.weight" }
                + [SafetensorsWriter.Tensor(name: "wte.weight", shape: shape, data: changed)]
            let folder = temporary.path + "/changed"
            mkdir(folder, 0o755)
            try ModelExport.writeFiles(config: original.config, generationConfig: nil, tensors: tensors, into: folder)
            #expect(try digest(ModelDirectory.open(folder)) != expected)
        }
        withExtendedLifetime(original) {}
    }

    private func writeShards(_ tensors: [SafetensorsWriter.Tensor], config: JSONObject, into folder: String) throws {
        mkdir(folder, 0o755)
        let half = tensors.count / 2
        try SafetensorsWriter.write(Array(tensors[..<half]), to: folder + "/model-00001-of-00002.safetensors")
        try SafetensorsWriter.write(Array(tensors[half...]), to: folder + "/model-00002-of-00002.safetensors")
        var map = JSONObject()
        for (index, tensor) in tensors.enumerated() {
            map[tensor.info.name] = .string(index < half ? "model-00001-of-00002.safetensors" : "model-00002-of-00002.safetensors")
        }
        let index: JSONObject = ["metadata": .object(["total_size": .integer(1)]), "weight_map": .object(map)]
        try DurableFile.write(JSONValue.object(index).serialised, to: folder + "/model.safetensors.index.json")
        try DurableFile.write(JSONValue.object(config).serialised, to: folder + "/config.json")
    }

    @Test(
        "a shard index that lies or leaves the folder is refused",
        arguments: [
            #"{}"#, #"{"weight_map":{"a":"../m/model.safetensors"}}"#, #"{"weight_map":{"a":3}}"#, #"{"weight_map":{"a":"none"}}"#,
            #"{"weight_map":{"zz":"s"}}"#,
        ])
    func shardIndex(index: String) throws {
        let folder = temporary.path + "/index"
        mkdir(folder, 0o755)
        try SafetensorsBytes.save(SafetensorsBytes.good, folder + "/s")
        try SafetensorsBytes.save(Array("{}".utf8), folder + "/config.json")
        try SafetensorsBytes.save(Array(index.utf8), folder + "/model.safetensors.index.json")
        #expect(throws: ModelFileError.self) { try ModelDirectory.open(folder) }
    }

    @Test("what is missing is named, and files that are none are refused")
    func refusals() throws {
        func reason(_ files: [String]) throws -> ModelFileError? {
            let folder = temporary.path + "/refused"
            FileTree.remove(folder)
            mkdir(folder, 0o755)
            for file in files { try SafetensorsBytes.save(Array("{}".utf8), folder + "/" + file) }
            do {
                _ = try ModelDirectory.open(folder)
                return nil
            } catch { return error }
        }
        #expect(try reason(["config.json", "pytorch_model.bin"])?.reason == .malformed)
        #expect(try reason(["config.json", "pytorch_model.bin.index.json"])?.reason == .malformed)
        #expect(try reason(["checkpoint", "hparams.json"])?.reason == .missing)
        #expect(try reason(["model.ckpt.index", "hparams.json"])?.reason == .malformed)
        #expect(try reason(["config.json"])?.reason == .missing)
        #expect(try reason([])?.reason == .missing)
        #expect(throws: ModelFileError.self) { try ModelDirectory.open(temporary.path + "/nowhere") }
        _ = try SafetensorsBytes.directory(temporary.path + "/array", SafetensorsBytes.good, config: "[1]")
        #expect(throws: ModelFileError.self) { try ModelDirectory.open(temporary.path + "/array") }
    }

    @Test("generation_config.json comes before config.json, and end tokens may be a list")
    func specialTokens() throws {
        let folder = try SafetensorsBytes.directory(
            temporary.path + "/special", SafetensorsBytes.good, config: #"{"bos_token_id":1,"eos_token_id":[9,4]}"#)
        #expect(try ModelDirectory.open(folder).eosTokenIDs == [4, 9])
        try SafetensorsBytes.save(Array(#"{"eos_token_id":7}"#.utf8), folder + "/generation_config.json")
        #expect(try ModelDirectory.open(folder).eosTokenIDs == [7])
        #expect(try ModelDirectory.open(folder).bosTokenID == 1)
    }

    @Test("named configs exist and aliases are read")
    func configs() throws {
        let small = try #require(ModelConfig.named("gpt2-cpu"))
        #expect(ModelConfig.value("hidden_size", in: small) == .integer(128))
        #expect(ModelConfig.value("n_embd", in: ["hidden_size": .integer(5)]) == .integer(5))
        #expect(ModelConfig.value("n_positions", in: ["n_ctx": .integer(6)]) == .integer(6))
        #expect(ModelConfig.value("n_inner", in: small) == nil)
        for name in ModelConfig.names { #expect(ModelConfig.named(name) != nil) }
        #expect(ModelConfig.named("gpt5") == nil)
    }

    @Test("a writer refuses doubled names and shapes that do not fit, and leaves nothing behind")
    func writerRefusals() throws {
        let path = temporary.path + "/w.safetensors"
        let data: [Float] = [1, 2, 3]
        data.withUnsafeBufferPointer { data in
            #expect(throws: ModelFileError.self) { try SafetensorsWriter.write([("a", [2], data)], to: path) }
            #expect(throws: ModelFileError.self) { try SafetensorsWriter.write([("a", [3], data), ("a", [3], data)], to: path) }
        }
        #expect(FileTree.names(temporary.path) == [])
    }
}
