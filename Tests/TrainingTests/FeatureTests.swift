import DurableFiles
import Encodings
import Kernels
import LanguageModels
import ModelFiles
import TestSupport
import Testing
import Datasets
import Training

/// What the contract's finetune can switch on, each with the same promise: threads, instruction sets and stops change no bit.
@Suite("Every feature, the same bits")
struct FeatureTests {
    /// A way to train, and the digest of the checkpoint after all its steps: when that changes, the bits changed.
    struct Feature: Sendable, CustomTestStringConvertible {
        let name: String
        let digest: String
        var stages = 1
        var isAdapter = false
        let change: @Sendable (inout TrainingOptions) -> Void
        var testDescription: String { name }
    }

    static let features = [
        Feature(name: "plain", digest: "8605f0d4dc008787") { _ in },
        Feature(name: "dropout", digest: "de709e4f77b5d3f1") { $0.dropout = 0.2 },
        Feature(name: "bfloat16", digest: "5fc0e885e201e6b5") { $0.precision = .bfloat16 },
        Feature(name: "bfloat16 and dropout, accumulated", digest: "2d4c8edf43399a70") {
            ($0.precision, $0.dropout, $0.gradientAccumulationSteps) = (.bfloat16, 0.1, 2)
        },
        Feature(name: "frozen", digest: "8d162b60c82e8650") { ($0.freezeLayers, $0.numLayersFreeze) = (true, 1) },
        Feature(name: "checkpointed", digest: "de709e4f77b5d3f1") { ($0.gradientCheckpointing, $0.dropout) = (true, 0.2) },
        Feature(name: "cross-trained", digest: "b15dd1960217f73d", stages: 3) { ($0.dropout, $0.warmupSteps) = (0.1, 1) },
        Feature(name: "LoRA", digest: "8bc155a17498f4f9", isAdapter: true) { $0.lora = LoRAOptions() },
        Feature(name: "LoRA with dropout", digest: "eb6e8537de2744b7", isAdapter: true) {
            var lora = LoRAOptions()
            (lora.rank, lora.dropout, lora.targets) = (3, 0.25, ["c_attn", "c_proj", "c_fc"])
            ($0.lora, $0.dropout) = (lora, 0.1)
        },
        Feature(name: "LoRA in bfloat16, cross-trained", digest: "a1072d3575723801", stages: 2, isAdapter: true) {
            $0.lora = LoRAOptions()
            $0.precision = .bfloat16
        },
    ]

    let temporary: TemporaryDirectory
    let datasets: [TokenDataset]

    init() throws {
        temporary = try TemporaryDirectory()
        datasets = [(3000, 1), (1500, 2), (2000, 3)].map { TinyRun.dataset(tokens: $0, vocabulary: 301, seed: UInt64($1)) }
    }

    private func options(_ feature: Feature) -> TrainingOptions {
        var options = TrainingOptions(seed: 77)
        (options.numSteps, options.batchSize, options.blockSize, options.learningRate) = (8, 3, 30, 3e-3)
        feature.change(&options)
        return options
    }

    private func trainer(_ feature: Feature, threads: Int, _ set: InstructionSet = .current) throws -> Trainer {
        let pool = ThreadPool(threads: threads, instructionSet: set)
        let data = Array(datasets.prefix(feature.stages))
        if feature.isAdapter {
            return try Trainer(
                model: .directory(ModelDirectory.open(Fixtures.model("gpt2-lora")).unmerged), datasets: data, options: options(feature), pool: pool)
        }
        // More than 256 rows, inputs and columns in some product, so that sums span blocks.
        let config = TinyRun.config(vocabulary: 301, width: 72, layers: 3, positions: 32)
        return try Trainer(model: .scratch(config: config, seed: 5), datasets: data, options: options(feature), pool: pool)
    }

    private func finish(_ trainer: Trainer, _ name: String) throws -> SavedCheckpoint {
        while trainer.stepsDone < trainer.totalSteps { _ = try trainer.step() }
        return try trainer.saveCheckpoint(directory: temporary.path + "/" + name, tokenizer: nil)
    }

    @Test("one digest, whatever the threads and the instruction set, and the committed one", arguments: features)
    func digests(feature: Feature) throws {
        let expected = try finish(trainer(feature, threads: 2), "whole")
        #expect(expected.sha256.prefix(16) == feature.digest, "golden \(feature.name)")
        for set in InstructionSet.available {
            #expect(try finish(trainer(feature, threads: 1, set), "\(set)").sha256 == expected.sha256, "\(set)")
        }
    }

    @Test("a run that is stopped again and again, and goes on with other threads and instruction sets, ends in the same files", arguments: features)
    func resumes(feature: Feature) throws {
        _ = try finish(trainer(feature, threads: 2), "whole")
        let path = temporary.path + "/part"
        var run = try trainer(feature, threads: 2)
        try run.saveCheckpoint(directory: path, tokenizer: nil)
        let sets = InstructionSet.available
        var stops = 0
        while run.stepsDone < run.totalSteps {
            for _ in 0..<min(2, run.totalSteps - run.stepsDone) { _ = try run.step() }
            try run.saveCheckpoint(directory: path, tokenizer: nil)
            if run.stepsDone < run.totalSteps { _ = try run.step() }  // lost, and made again
            let pool = ThreadPool(threads: 1 + stops % 2, instructionSet: sets[stops % sets.count])
            run = try Trainer.resume(directory: path, datasets: Array(datasets.prefix(feature.stages)), options: options(feature), pool: pool)
            stops += 1
        }
        #expect(stops >= 3)
        try run.saveCheckpoint(directory: path, tokenizer: nil)
        let files = FileTree.names(path)
        #expect(files == FileTree.names(temporary.path + "/whole") && files.contains("resume.safetensors"))
        for file in files {
            #expect(try SHA256Digest.hex(ofFile: path + "/" + file) == SHA256Digest.hex(ofFile: temporary.path + "/whole/" + file), "\(file)")
        }
    }

    @Test("gradient checkpointing makes the bits of the run without it, dropout or not, and bfloat16 makes others")
    func sameAsPlain() throws {
        let plain = Feature(name: "", digest: "") { $0.dropout = 0.2 }
        let expected = try finish(trainer(plain, threads: 2), "plain").sha256
        let checkpointed = Feature(name: "", digest: "") { ($0.dropout, $0.gradientCheckpointing) = (0.2, true) }
        #expect(try finish(trainer(checkpointed, threads: 2), "checkpointed").sha256 == expected)
        let bfloat16 = Feature(name: "", digest: "") { ($0.dropout, $0.precision) = (0.2, .bfloat16) }
        #expect(try finish(trainer(bfloat16, threads: 2), "bfloat16").sha256 != expected)
    }

    @Test("a run may be resumed with and without gradient checkpointing")
    func resumesCheckpointed() throws {
        let feature = Feature(name: "", digest: "") { $0.dropout = 0.2 }
        let expected = try finish(trainer(feature, threads: 2), "whole").sha256
        let begun = try trainer(feature, threads: 2)
        for _ in 0..<3 { _ = try begun.step() }
        try begun.saveCheckpoint(directory: temporary.path + "/part", tokenizer: nil)
        var options = options(feature)
        options.gradientCheckpointing = true
        let resumed = try Trainer.resume(directory: temporary.path + "/part", datasets: [datasets[0]], options: options, pool: ThreadPool(threads: 2))
        #expect(try finish(resumed, "part").sha256 == expected)
    }

    @Test("bfloat16 learns as fp32 does")
    func learnsInBFloat16() throws {
        func losses(_ precision: TrainingPrecision) throws -> [Double] {
            let trainer = try TinyRun.trainer { ($0.numSteps, $0.learningRate, $0.precision) = (150, 0.01, precision) }
            let row = (0..<trainer.blockSize).map { Int32($0 * 2 % 23) }
            return try (0..<150).map { _ in try trainer.trainBatch(rows: [row, row, row]).loss }
        }
        let (wide, narrow) = (try losses(.float32), try losses(.bfloat16))
        #expect(abs(wide[0] - narrow[0]) < 0.02 && narrow[149] < 0.1 * narrow[0])
    }
}
