import Datasets
import DurableFiles
import Encodings
import Kernels
import ModelFiles
import TestSupport
import Testing
import Training

@Suite("Stages and what goes wrong")
struct ScheduleTests {
    @Test("steps and rate are halved from stage to stage, each with its own warm-up and its own fall to zero")
    func stages() throws {
        var options = TrainingOptions(seed: 0)
        (options.numSteps, options.warmupSteps, options.learningRate) = (9, 3, 0.8)
        let schedule = try TrainingSchedule(options, stages: 3)
        #expect(schedule.totalSteps == 9 + 4 + 2)
        #expect(schedule.stages.map(\.first) == [0, 9, 13] && schedule.stages.map(\.learningRate) == [0.8, 0.4, 0.2])
        #expect(schedule.stages.map(\.warmupSteps) == [3, 3, 2])
        #expect((0...15).map { schedule.stage(ofStep: $0).index } == [0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2])
        #expect(schedule.learningRate(atStep: 0) == 0 && schedule.learningRate(atStep: 3) == 0.8 && schedule.learningRate(atStep: 12) == 0.4)
        #expect(schedule.learningRate(atStep: 9) == 0 && schedule.learningRate(atStep: 13) == 0)
        #expect(throws: TrainingError.self) { try TrainingSchedule(options, stages: 5) }
        #expect(throws: TrainingError.self) { try TrainingSchedule(options, stages: 100) }
    }

    @Test("a stage begins with fresh moments: it is a run of its own on the weights that the one before left")
    func freshMoments() throws {
        let temporary = try TemporaryDirectory()
        let (first, second) = (TinyRun.dataset(tokens: 90, seed: 1), TinyRun.dataset(tokens: 70, seed: 2))
        func options(_ change: (inout TrainingOptions) -> Void) -> TrainingOptions {
            var options = TrainingOptions(seed: 11)
            (options.batchSize, options.learningRate) = (2, 0.01)
            change(&options)
            return options
        }
        let pool = ThreadPool(threads: 1)
        let crossed = try Trainer(
            model: .scratch(config: TinyRun.config(), seed: 4), datasets: [first, second], options: options { $0.numSteps = 6 }, pool: pool)
        for _ in 0..<6 { _ = try crossed.step() }
        try crossed.saveCheckpoint(directory: temporary.path + "/middle", tokenizer: nil)
        // The second stage by hand: half the steps at half the rate, the data in the order of the next seed.
        let alone = try Trainer(
            model: .directory(ModelDirectory.open(temporary.path + "/middle")), datasets: [second],
            options: options { ($0.numSteps, $0.learningRate, $0.seed) = (3, 0.005, 12) }, pool: pool)
        for _ in 0..<3 {
            let (one, other) = (try crossed.step(), try alone.step())
            #expect(one.loss == other.loss && one.averageLoss == other.averageLoss && one.learningRate == other.learningRate)
        }
        #expect(crossed.stepsDone == 9 && crossed.totalSteps == 9 && TinyRun.bits(crossed) == TinyRun.bits(alone))
    }

    @Test("a huge learning rate fails the run at a step that is named, and a model that is not finite is never saved")
    func diverges() throws {
        let temporary = try TemporaryDirectory()
        let path = temporary.path + "/run"
        let trainer = try TinyRun.trainer { ($0.learningRate, $0.weightDecay, $0.numSteps) = (1000, 1000, 40) }
        var failure: TrainingError?
        var lastSaved = 0
        do {
            for step in 0..<40 {
                try TinyRun.run(trainer, steps: step..<step + 1)
                try trainer.saveCheckpoint(directory: path, tokenizer: nil)
                lastSaved = step + 1
            }
        } catch let error as TrainingError { failure = error }
        guard case .notFinite(_, let step)? = failure else {
            Issue.record("it went on: \(String(describing: failure))")
            return
        }
        #expect(lastSaved >= 1 && (step == lastSaved || step == lastSaved + 1))
        let kept = try Trainer.resume(directory: path, dataset: nil, pool: ThreadPool(threads: 1))
        #expect(kept.stepsDone == lastSaved)
        for name in kept.parameterNames { #expect(kept.weights(of: name)?.allSatisfy(\.isFinite) == true) }
    }

    @Test("an infinite weight is named when a checkpoint is to be saved, and nothing is written")
    func infinite() throws {
        let temporary = try TemporaryDirectory()
        let trainer = try TinyRun.trainer()
        var weights = try #require(trainer.weights(of: "transformer.h.1.mlp.c_fc.bias"))
        weights[3] = .infinity
        try trainer.setWeights(weights, of: "transformer.h.1.mlp.c_fc.bias")
        #expect(throws: TrainingError.notFinite(what: "weight transformer.h.1.mlp.c_fc.bias", step: 0)) {
            try trainer.saveCheckpoint(directory: temporary.path + "/run", tokenizer: nil)
        }
        #expect(FileTree.names(temporary.path).isEmpty)
    }

    @Test("clipping leaves small gradients as they are, shortens large ones to the norm, and 0 switches it off")
    func clipping() throws {
        func step(_ norm: Double) throws -> (Trainer, TrainingStep) {
            let trainer = try TinyRun.trainer { ($0.maxGradNorm, $0.weightDecay, $0.adamEpsilon) = (norm, 0, 1) }
            return (trainer, try TinyRun.run(trainer, steps: 0..<1)[0])
        }
        let (free, freeStep) = try step(0)
        let (wide, _) = try step(freeStep.gradientNorm * 1.01)
        let (narrow, _) = try step(freeStep.gradientNorm / 4)
        let (tiny, tinyStep) = try step(1e-30)
        #expect(TinyRun.bits(free) == TinyRun.bits(wide) && TinyRun.bits(free) != TinyRun.bits(narrow))
        #expect(tinyStep.gradientNorm == freeStep.gradientNorm)
        // With ε far above every gradient AdamW moves in proportion to them, so the moves show the clipping.
        let start = try TinyRun.trainer()
        func move(_ trainer: Trainer) throws -> Double {
            var sum = 0.0
            for name in trainer.parameterNames {
                let (a, b) = (try #require(trainer.weights(of: name)), try #require(start.weights(of: name)))
                for (x, y) in zip(a, b) { sum += Double(x - y) * Double(x - y) }
            }
            return sum.squareRoot()
        }
        #expect(try abs(move(free) / move(narrow) - 4) < 0.4 && move(tiny) < 1e-9)
    }

    @Test("a dataset of one token more than a block, and epochs shorter than a batch, train")
    func shortEpochs() throws {
        var options = TrainingOptions(seed: 1)
        (options.batchSize, options.numSteps) = (5, 3)
        let data = TinyRun.dataset(tokens: 9, seed: 3)
        let trainer = try Trainer(model: .scratch(config: TinyRun.config(), seed: 1), dataset: data, options: options, pool: ThreadPool(threads: 1))
        #expect(trainer.blockSize == 8)
        // There is one start only, so every row of every batch is the same block.
        let block = (0..<8).map { data[$0] }
        let byHand = try TinyRun.trainer(threads: 1, seed: 1) { ($0.batchSize, $0.numSteps) = (5, 3) }
        for _ in 0..<3 { #expect(try trainer.step().loss == byHand.trainBatch(rows: Array(repeating: block, count: 5)).loss) }
    }

    @Test("config.json says how the texts stood, for the next one who writes with the model")
    func lineByLine() throws {
        let pool = ThreadPool(threads: 1)
        var config = TinyRun.config()
        func said(_ lineByLine: Bool?) throws -> JSONValue? {
            try Trainer(
                model: .scratch(config: config, seed: 1), datasets: [], options: TrainingOptions(seed: 1), lineByLine: lineByLine, pool: pool
            ).config["line_by_line"]
        }
        #expect(try said(nil) == nil && said(false) == nil && said(true) == .bool(true))
        config["line_by_line"] = .bool(true)
        #expect(try said(nil) == .bool(true) && said(false) == .bool(false))
    }
}
