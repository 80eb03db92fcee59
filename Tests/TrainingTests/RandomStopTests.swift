import DurableFiles
import Encodings
import Kernels
import TestSupport
import Testing
import Training

/// Random runs that are stopped at random, lose the steps since their last checkpoint, and go on with other threads and instruction
/// sets, end in the very files of the run that was never stopped.
@Suite("Stops at random")
struct RandomStopTests {
    let temporary: TemporaryDirectory

    init() throws { temporary = try TemporaryDirectory() }

    @Test("the same files, whatever was interrupted and where it went on", arguments: 0..<24 as Range<UInt64>)
    func stops(seed: UInt64) throws {
        var generator = SeededGenerator(seed: 7_000 + seed)
        let options = Self.options(seed, using: &generator)
        let activation = try #require(["gelu_new", "gelu", "relu", "silu", "quick_gelu", "tanh"].randomElement(using: &generator))
        let config = TinyRun.config(
            activation: activation, tied: generator.chance(500), vocabulary: 90, width: 24, layers: generator.below(2) + 1, positions: 40)
        let data = [TinyRun.dataset(tokens: 1_500, vocabulary: 90, seed: seed)]
        func begin() throws -> Trainer {
            try Trainer(model: .scratch(config: config, seed: seed), datasets: data, options: options, pool: Self.pool(using: &generator))
        }

        let whole = try begin()
        while whole.stepsDone < whole.totalSteps { _ = try whole.step() }
        try whole.saveCheckpoint(directory: temporary.path + "/whole", tokenizer: nil)

        let path = temporary.path + "/part"
        var run = try begin()
        try run.saveCheckpoint(directory: path, tokenizer: nil)
        var log = ["\(run.stepsDone)"]
        while run.stepsDone < run.totalSteps {
            for _ in 0..<min(generator.below(4) + 1, run.totalSteps - run.stepsDone) { _ = try run.step() }
            try run.saveCheckpoint(directory: path, tokenizer: nil)
            for _ in 0..<min(generator.below(3), run.totalSteps - run.stepsDone) { _ = try run.step() }  // lost
            guard run.stepsDone < run.totalSteps || generator.chance(500) else { break }
            let pool = Self.pool(using: &generator)
            run = try Trainer.resume(directory: path, datasets: data, options: options, pool: pool)
            log.append("\(run.stepsDone) on \(pool.instructionSet), \(pool.threadCount) threads")
        }
        try run.saveCheckpoint(directory: path, tokenizer: nil)
        let files = FileTree.names(path)
        #expect(files == FileTree.names(temporary.path + "/whole") && files.contains("resume.safetensors"))
        for file in files {
            let pair = try [path, temporary.path + "/whole"].map { try SHA256Digest.hex(ofFile: $0 + "/" + file) }
            #expect(pair[0] == pair[1], "seed \(seed), \(activation), \(file), stopped at \(log)")
        }
    }

    private static func pool(using generator: inout SeededGenerator) -> ThreadPool {
        ThreadPool(threads: generator.below(3) + 1, instructionSet: InstructionSet.available.randomElement(using: &generator) ?? .plain)
    }

    private static func options(_ seed: UInt64, using generator: inout SeededGenerator) -> TrainingOptions {
        var options = TrainingOptions(seed: seed)
        (options.numSteps, options.batchSize, options.blockSize) = (generator.below(7) + 3, generator.below(4) + 1, generator.below(33) + 8)
        options.gradientAccumulationSteps = generator.below(2) + 1
        options.warmupSteps = generator.below(3)
        options.dropout = generator.chance(500) ? 0.15 : 0
        options.gradientCheckpointing = generator.chance(300)
        options.precision = generator.chance(300) ? .bfloat16 : .float32
        return options
    }
}
