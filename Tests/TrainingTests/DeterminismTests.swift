import DurableFiles
import Encodings
import Kernels
import LanguageModels
import ModelFiles
import TestSupport
import Testing
import Training

@Suite("The same bits")
struct DeterminismTests {
    let temporary: TemporaryDirectory

    init() throws { temporary = try TemporaryDirectory() }

    /// More than 256 rows and columns, so that sums span blocks.
    private func wide(
        threads: Int, instructionSet: InstructionSet = .current, activation: String = "gelu_new", _ change: (inout TrainingOptions) -> Void = { _ in }
    ) throws -> Trainer {
        let config = TinyRun.config(activation: activation, vocabulary: 301, width: 72, positions: 50)
        return try TinyRun.trainer(config, threads: threads, instructionSet: instructionSet) {
            $0.batchSize = 7
            change(&$0)
        }
    }

    @Test("one thread and several give the same weights")
    func threads() throws {
        let one = try wide(threads: 1)
        let expected = try TinyRun.run(one, steps: 0..<4).map(\.loss)
        for threads in [2, 3] {
            let other = try wide(threads: threads)
            #expect(try TinyRun.run(other, steps: 0..<4).map(\.loss) == expected)
            #expect(TinyRun.bits(other) == TinyRun.bits(one))
        }
    }

    @Test("every instruction set of this processor gives the same checkpoint", arguments: ["gelu_new", "gelu", "silu", "tanh"])
    func instructionSets(activation: String) throws {
        var digests: [String: [String]] = [:]
        for set in InstructionSet.available {
            let trainer = try wide(threads: 2, instructionSet: set, activation: activation) { $0.dropout = 0.1 }
            try TinyRun.run(trainer, steps: 0..<3)
            let saved = try trainer.saveCheckpoint(directory: temporary.path + "/\(activation)-\(set)", tokenizer: nil)
            digests[saved.sha256, default: []].append(set.rawValue)
        }
        #expect(digests.count == 1, "digests by instruction set: \(digests)")
    }

    @Test("a run resumed from its checkpoint gives the checkpoint of one that never stopped")
    func resume() throws {
        let change: (inout TrainingOptions) -> Void = {
            ($0.dropout, $0.warmupSteps, $0.gradientAccumulationSteps, $0.batchSize) = (0.1, 2, 2, 4)
        }
        let whole = try wide(threads: 2, change)
        try TinyRun.run(whole, steps: 0..<7)
        let expected = try whole.saveCheckpoint(directory: temporary.path + "/whole", tokenizer: nil)
        let begun = try wide(threads: 2, change)
        try TinyRun.run(begun, steps: 0..<3)
        try begun.saveCheckpoint(directory: temporary.path + "/part", tokenizer: nil)
        var resumed = try Trainer.resume(directory: temporary.path + "/part", dataset: nil, options: begun.options, pool: ThreadPool(threads: 1))
        #expect(resumed.stepsDone == 3 && resumed.averageLoss == begun.averageLoss)
        #expect(resumed.lastLoss != nil && resumed.lastLoss == begun.lastLoss)
        try TinyRun.run(resumed, steps: 3..<5)
        try resumed.saveCheckpoint(directory: temporary.path + "/part", tokenizer: nil)
        resumed = try Trainer.resume(directory: temporary.path + "/part", dataset: nil, pool: ThreadPool(threads: 2))
        try TinyRun.run(resumed, steps: 5..<7)
        let saved = try resumed.saveCheckpoint(directory: temporary.path + "/part", tokenizer: nil)
        #expect(saved.sha256 == expected.sha256 && saved.step == expected.step)
        #expect(resumed.averageLoss == whole.averageLoss)
        for file in ["model.safetensors", "resume.safetensors", "resume.json", "config.json"] {
            #expect(
                try SHA256Digest.hex(ofFile: temporary.path + "/part/" + file) == SHA256Digest.hex(ofFile: temporary.path + "/whole/" + file),
                "\(file)")
        }
        #expect(FileTree.names(temporary.path) == ["part", "whole"])
    }

    @Test("computing activations again changes no bit, with dropout neither", arguments: [0.0, 0.2])
    func checkpointing(dropout: Double) throws {
        let kept = try wide(threads: 2) { $0.dropout = dropout }
        let again = try wide(threads: 2) { ($0.dropout, $0.gradientCheckpointing) = (dropout, true) }
        #expect(try TinyRun.run(kept, steps: 0..<3).map(\.loss) == TinyRun.run(again, steps: 0..<3).map(\.loss))
        #expect(TinyRun.bits(kept) == TinyRun.bits(again))
    }

    @Test("initial weights and dropout follow from the seed alone")
    func seeds() throws {
        let first = try wide(threads: 2) { $0.dropout = 0.3 }
        let second = try wide(threads: 1) { $0.dropout = 0.3 }
        #expect(TinyRun.bits(first) == TinyRun.bits(second))
        let dry = try wide(threads: 2)
        let losses = (try TinyRun.run(first, steps: 0..<2).map(\.loss), try TinyRun.run(second, steps: 0..<2).map(\.loss))
        #expect(losses.0 == losses.1)
        #expect(try TinyRun.run(dry, steps: 0..<2).map(\.loss) != losses.0)
        #expect(TinyRun.bits(try TinyRun.trainer(seed: 1)) != TinyRun.bits(try TinyRun.trainer(seed: 2)))
    }

    @Test("moments of other weights, other options and broken states are refused")
    func refusals() throws {
        let path = temporary.path + "/run"
        let trainer = try TinyRun.trainer()
        try TinyRun.run(trainer, steps: 0..<1)
        try trainer.saveCheckpoint(directory: path, tokenizer: nil)
        var other = trainer.options
        other.learningRate = 0.5
        #expect(throws: TrainingError.self) { try Trainer.resume(directory: path, dataset: nil, options: other, pool: ThreadPool(threads: 1)) }
        try TinyRun.trainer(seed: 9).saveCheckpoint(directory: temporary.path + "/stranger", tokenizer: nil, resumable: false)
        #expect(!Trainer.canResume(directory: temporary.path + "/stranger") && Trainer.canResume(directory: path))
        let stranger = try ModelDirectory.open(temporary.path + "/stranger")
        let tensors = try stranger.tensors.names.map { name in
            SafetensorsWriter.Tensor(info: try #require(stranger.tensors.info(name)), bytes: try stranger.tensors.withBytes(name) { $0 })
        }
        try SafetensorsWriter.write(tensors, to: path + "/model.safetensors")
        #expect(throws: TrainingError.self) { try Trainer.resume(directory: path, dataset: nil, pool: ThreadPool(threads: 1)) }
        try DurableFile.write(Array("{}".utf8), to: path + "/resume.json")
        #expect(throws: TrainingError.self) { try Trainer.resume(directory: path, dataset: nil, pool: ThreadPool(threads: 1)) }
        withExtendedLifetime(stranger) {}
    }
}
