import Encodings
import Kernels
import LanguageModels
import ModelFiles
import TestSupport
import Testing

@Suite("One model in many forms")
struct FileFormatTests {
    private func digest(_ path: String) throws -> String {
        let directory = try ModelDirectory.open(path)
        let description = try Architectures.describe(config: directory.config, generation: directory.generationConfig)
        return try description.checkpointDigest(description.weights(in: directory.tensors))
    }

    @Test("safetensors, pytorch_model.bin and TensorFlow's checkpoint have one digest, and so has their export")
    func oneDigest() throws {
        let wanted = try digest(Fixtures.reference + "/gpt2")
        let temporary = try TemporaryDirectory()
        for name in ["gpt2", "gpt2-torch-bin", "gpt2-tensorflow"] {
            let path = Fixtures.reference + "/" + name
            #expect(try digest(path) == wanted, "\(name)")
            let directory = try ModelDirectory.open(path)
            let description = try Architectures.describe(config: directory.config, generation: directory.generationConfig)
            try directory.export(to: temporary.path + "/" + name, weights: description.weights(in: directory.tensors))
            let copy = try ModelDirectory.open(temporary.path + "/" + name)
            #expect(try digest(copy.path) == wanted, "\(name)")
            #expect(copy.tensors.names == description.tensors.all.map(\.name).sorted())
            #expect((copy.tokenizerPath == nil) == (directory.tokenizerPath == nil))
        }
    }

    @Test("the other forms give transformers' logits", arguments: ["gpt2-torch-bin", "gpt2-tensorflow"])
    func logits(name: String) throws {
        let pool = ThreadPool(threads: 2)
        let model = try Support.model(name, pool: pool)
        for prompt in try #require(try Support.golden("gpt2")["prompts"]?.arrayValue) {
            let ids = try #require(prompt["ids"]).ids
            let found = try Support.logits(model, ids, chunks: [ids.count], pool: pool)
            let wanted = try #require(prompt["last_logits"]).floats
            #expect(zip(found[ids.count - 1], wanted).allSatisfy { abs($0 - $1) <= 1e-4 })
        }
    }

    @Test("masks, tables and a tied copy are no part of a model")
    func onlyWeights() throws {
        let directory = try ModelDirectory.open(Fixtures.reference + "/gpt2-torch-bin")
        #expect(directory.tensors.names.contains { $0.hasSuffix(".attn.bias") })
        let description = try Architectures.describe(config: directory.config)
        let weights = try description.weights(in: directory.tensors)
        #expect(weights.names == description.tensors.all.map(\.name).sorted())
    }
}
