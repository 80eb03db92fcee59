import Encodings
import FoundationEssentials
import ModelFiles
import TestSupport
import Testing

@Suite("Reading TensorFlow checkpoints")
struct TensorFlowTests {
    let temporary: TemporaryDirectory
    private static let source = Fixtures.reference + "/gpt2-tensorflow/"

    init() throws {
        temporary = try TemporaryDirectory()
        for name in try FileManager.default.contentsOfDirectory(atPath: Self.source) { try save(bytes(name), name) }
    }

    private func bytes(_ name: String) throws -> [UInt8] { [UInt8](try Data(contentsOf: URL(filePath: Self.source + name))) }
    private func save(_ bytes: [UInt8], _ name: String) throws { try SafetensorsBytes.save(bytes, temporary.path + "/" + name) }

    @Test("the checkpoint has the weights of the same model's safetensors under the same names, and the config that they have")
    func weights() throws {
        let directory = try ModelDirectory.open(temporary.path)
        let wanted = try ModelDirectory.open(Fixtures.reference + "/gpt2")
        #expect(directory.tensors.names == wanted.tensors.names)
        for name in wanted.tensors.names {
            #expect(directory.tensors.info(name) == wanted.tensors.info(name))
            #expect(try directory.tensors.float32(name) == wanted.tensors.float32(name))
        }
        for key in ["n_embd", "n_layer", "n_head", "n_positions", "vocab_size", "activation_function", "bos_token_id", "eos_token_id"] {
            #expect(directory.config[key] == wanted.config[key], "\(key)")
        }
        #expect(directory.tokenizerPath == temporary.path)
    }

    @Test("the checkpoint is found by its name alone, by a path of the machine that saved it, or as the only one")
    func findings() throws {
        let text = Array("model_checkpoint_path: \"/content/checkpoint/run1/model.ckpt\"\nall_model_checkpoint_paths: \"model.ckpt\"\n".utf8)
        try save(text, "checkpoint")
        #expect(try !ModelDirectory.open(temporary.path).tensors.names.isEmpty)
        try save(Array("model_checkpoint_path: \"../../etc/passwd\"\n".utf8), "checkpoint")
        #expect(try !ModelDirectory.open(temporary.path).tensors.names.isEmpty)
        try FileManager.default.removeItem(atPath: temporary.path + "/checkpoint")
        #expect(try !ModelDirectory.open(temporary.path).tensors.names.isEmpty)
        try FileManager.default.removeItem(atPath: temporary.path + "/model.ckpt.index")
        #expect(throws: ModelFileError.self) { try ModelDirectory.open(temporary.path) }
    }

    @Test("a changed bit in a weight or in the index is found by its checksum")
    func checksums() throws {
        for name in ["model.ckpt.data-00000-of-00001", "model.ckpt.index"] {
            let good = try bytes(name)
            var generator = SeededGenerator(seed: 3)
            for _ in 0..<40 {
                var damaged = good
                damaged[Int.random(in: 0..<(good.count - 60), using: &generator)] ^= 1 << UInt8.random(in: 0...7, using: &generator)
                try save(damaged, name)
                #expect(throws: ModelFileError.self) { try ModelDirectory.open(temporary.path) }
            }
            try save(good, name)
        }
    }

    @Test(
        "damaged indices and parameters are errors, never a crash, a hang or a claim on memory",
        arguments: ["model.ckpt.index", "hparams.json", "checkpoint"])
    func damage(name: String) throws {
        // Beside a second index it is `checkpoint` that says which one counts.
        if name == "checkpoint" { try save(bytes("model.ckpt.index"), "other.index") }
        let report = try Fuzz("tensorflow-" + name, seed: 12, rounds: 400).run([bytes(name)]) {
            try save($0, name)
            return (try? ModelDirectory.open(temporary.path)) != nil
        }
        #expect(report.isBounded && report.accepted < report.rounds, "\(report)")
    }

    @Test("a shape and a size below zero that agree with each other are refused")
    func negativeShape() throws {
        let blocks = SortedTableBytes(try bytes("model.ckpt.index"))
        // Header: one shard. Then `model/x`: dtype 1, shape [-1], offset 8, size -4.
        let minusOne = SortedTableBytes.encoded(.max)
        let shape = [0x12, UInt8(minusOne.count + 1), 0x08] + minusOne
        let value = [0x08, 1, 0x12, UInt8(shape.count)] + shape + [0x20, 8, 0x28] + SortedTableBytes.encoded(UInt64(bitPattern: -4))
        let name = Array("model/wte".utf8)
        let entries = [0, 0, 2, 0x08, 1] + [0, UInt8(name.count), UInt8(value.count)] + name + value + [0, 0, 0, 0, 1, 0, 0, 0]
        try save(blocks.with(entries: entries), "model.ckpt.index")
        let error = #expect(throws: ModelFileError.self) { try ModelDirectory.open(temporary.path) }
        #expect(error?.message.contains("a shape that cannot be") == true, "\(error?.description ?? "")")
        try save(blocks.with(entries: blocks.entries), "model.ckpt.index")
        #expect(try !ModelDirectory.open(temporary.path).tensors.names.isEmpty)
    }

    @Test(
        "hparams.json must have its numbers",
        arguments: ["{}", #"{"n_vocab":0}"#, #"{"n_vocab":400,"n_ctx":64,"n_embd":64,"n_head":4,"n_layer":"3"}"#])
    func parameters(text: String) throws {
        try save(Array(text.utf8), "hparams.json")
        #expect(throws: ModelFileError.self) { try ModelDirectory.open(temporary.path) }
    }
}
