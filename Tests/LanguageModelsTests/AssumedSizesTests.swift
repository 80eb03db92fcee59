import Encodings
import FoundationEssentials
import Kernels
import LanguageModels
import ModelFiles
import TestSupport
import Testing

@Suite("Sizes that config.json leaves out")
struct AssumedSizesTests {
    /// A model with random weights, and the tensors of other layers where `stored` has other ones.
    private func write(_ config: JSONObject, stored: JSONObject, to folder: String) throws {
        var generator = SeededGenerator(seed: 5)
        let description = try Architectures.describe(config: stored)
        var memory: [UnsafeMutableBufferPointer<Float>] = []
        defer { memory.forEach { $0.deallocate() } }
        let tensors = description.tensors.all.map { wanted in
            let values = UnsafeMutableBufferPointer<Float>.allocate(capacity: wanted.shape.reduce(1, *))
            for index in values.indices { values.initializeElement(at: index, to: Float.random(in: -1...1, using: &generator)) }
            memory.append(values)
            return SafetensorsWriter.Tensor(name: wanted.name, shape: wanted.shape, data: UnsafeBufferPointer(values))
        }
        try ModelExport.writeFiles(config: config, generationConfig: nil, tensors: tensors, into: folder)
    }

    /// Twelve layers and heads, as GPT-2's defaults have them, all else small.
    private let small = Support.config(layers: 12, width: 24, heads: 12, context: 8, vocabulary: 20)

    // The numbers are those of transformers 5.24's GPT2Config(), GPTNeoConfig() and GPTNeoXConfig(), and of models made from them.
    @Test(
        "an empty config is the model that transformers makes of it",
        arguments: [
            ([:], [50257, 1024, 768, 12, 12, 3072, 124_439_808], 50256, 50256),
            (["model_type": "gpt2"], [50257, 1024, 768, 12, 12, 3072, 124_439_808], 50256, 50256),
            (["model_type": "gpt_neo"], [50257, 2048, 2048, 24, 16, 8192, 1_315_575_808], 50256, 50256),
            (["model_type": "gpt_neox"], [50432, 2048, 6144, 44, 64, 24576, 20_554_567_680], 0, 2),
        ] as [(JSONObject, [Int], Int32, Int32)])
    func empty(config: JSONObject, sizes: [Int], bos: Int32, eos: Int32) throws {
        let found = try Architectures.describe(config: config)
        #expect([found.vocabularySize, found.contextLength, found.width, found.layers, found.heads, found.inner, found.parameterCount] == sizes)
        #expect(found.bosID == bos && found.eosIDs == [eos])
        // Null is no default: it says that there is none.
        var ended = config
        (ended["bos_token_id"], ended["eos_token_id"]) = (.null, .null)
        let none = try Architectures.describe(config: ended)
        #expect(none.bosID == nil && none.eosIDs.isEmpty)
    }

    @Test("a config without the sizes that are the defaults is the same model as one with them")
    func same() throws {
        let pool = ThreadPool(threads: 1)
        var digests: Set<String> = []
        var short = small
        (short["n_layer"], short["n_head"], short["model_type"], short["n_inner"]) = (nil, nil, nil, nil)
        for config in [small, short] {
            let folder = try TemporaryDirectory()
            try write(config, stored: small, to: folder.path)
            digests.insert(try LanguageModel.load(ModelDirectory.open(folder.path), pool: pool).checkpointSHA256)
        }
        #expect(digests.count == 1)
    }

    @Test(
        "weights that are not of the defaults are refused, naming what config.json leaves out",
        arguments: ["vocab_size", "n_positions", "n_embd", "n_layer"])
    func different(key: String) throws {
        let pool = ThreadPool(threads: 1)
        for layers in [2, 13] where layers == 2 || key == "n_layer" {
            let folder = try TemporaryDirectory()
            var stored = small
            stored["n_layer"] = .integer(Int64(layers))
            var config = stored
            config[key] = nil
            try write(config, stored: stored, to: folder.path)
            let error = #expect(throws: ModelError.self) { try LanguageModel.load(ModelDirectory.open(folder.path), pool: pool) }
            #expect(error?.description.contains("config.json does not name \(key), so transformers' defaults hold") == true)
            guard case .assumed([key], let fault)? = error else {
                Issue.record("\(String(describing: error))")
                continue
            }
            switch fault {
            case .wrongShape: #expect(key != "n_layer")
            case .missingTensor(let name): #expect(key == "n_layer" && layers == 2 && name.contains("h.2."))
            case .furtherLayer(let name): #expect(key == "n_layer" && layers == 13 && name.contains("h.12."))
            default: Issue.record(fault)
            }
        }
    }

    @Test("a size that is null is refused by its name", arguments: ["vocab_size", "n_positions", "n_embd", "n_layer", "n_head"])
    func null(key: String) throws {
        var config = small
        config[key] = .null
        let error = #expect(throws: ModelError.self) { try Architectures.describe(config: config) }
        #expect(error?.description == "config.json: \(key) is null and not a whole number")
    }
}
