import DurableFiles
import Encodings
import Kernels
import LanguageModels
import ModelFiles
import TestSupport
import Testing
import Training

@Suite("Trainer")
struct TrainerTests {
    @Test("the loss falls on a text that repeats itself")
    func learns() throws {
        let trainer = try TinyRun.trainer { ($0.numSteps, $0.learningRate) = (150, 0.01) }
        let row = (0..<trainer.blockSize).map { Int32($0 * 2 % 23) }
        var last = 0.0
        let first = try trainer.trainBatch(rows: [row, row, row]).loss
        for _ in 1..<150 { last = try trainer.trainBatch(rows: [row, row, row]).loss }
        #expect(last < 0.1 * first)
    }

    @Test("frozen tensors keep every bit, the others move, and the norm counts only these")
    func freezing() throws {
        let change: (inout TrainingOptions) -> Void = { ($0.freezeLayers, $0.numLayersFreeze) = (true, 1) }
        let trainer = try TinyRun.trainer(TinyRun.config(layers: 3), change)
        let free = try TinyRun.trainer(TinyRun.config(layers: 3))
        let before = Dictionary(uniqueKeysWithValues: trainer.parameterNames.map { ($0, trainer.weights(of: $0) ?? []) })
        let frozenStep = try TinyRun.run(trainer, steps: 0..<2)[0]
        let freeStep = try TinyRun.run(free, steps: 0..<2)[0]
        #expect(frozenStep.loss == freeStep.loss && frozenStep.gradientNorm < freeStep.gradientNorm)
        for name in trainer.parameterNames {
            let isFrozen = name == "transformer.wte.weight" || name.hasPrefix("transformer.h.0.")
            #expect((trainer.weights(of: name) == before[name]) == isFrozen, "\(name)")
            #expect((trainer.gradient(of: name) == nil) == isFrozen)
        }
    }

    @Test("weight decay strikes norm gains and matrices, not biases")
    func decay() throws {
        let plain = try TinyRun.trainer { $0.weightDecay = 0 }
        let decayed = try TinyRun.trainer { $0.weightDecay = 0.5 }
        try TinyRun.run(plain, steps: 0..<1)
        try TinyRun.run(decayed, steps: 0..<1)
        for name in plain.parameterNames {
            #expect((plain.weights(of: name) == decayed.weights(of: name)) == name.contains("bias"), "\(name)")
        }
    }

    @Test("a loss that is no number is an error that names the step, and no weight changes")
    func notFinite() throws {
        let trainer = try TinyRun.trainer()
        try TinyRun.run(trainer, steps: 0..<2)
        var weights = try #require(trainer.weights(of: "transformer.ln_f.weight"))
        weights[0] = .nan
        try trainer.setWeights(weights, of: "transformer.ln_f.weight")
        let before = trainer.weights(of: "transformer.h.0.mlp.c_fc.weight")
        #expect(throws: TrainingError.notFinite(what: "loss", step: 3)) { try TinyRun.run(trainer, steps: 2..<3) }
        #expect(trainer.weights(of: "transformer.h.0.mlp.c_fc.weight") == before)
        #expect(trainer.stepsDone == 2)
    }

    @Test("tokens outside the vocabulary and batches that do not fit are refused")
    func badBatches() throws {
        let trainer = try TinyRun.trainer()
        var rows = TinyRun.rows(3, length: trainer.blockSize, vocabulary: 23, seed: 1)
        #expect(throws: TrainingError.self) { try trainer.trainBatch(rows: Array(rows.dropLast())) }
        for bad: Int32 in [23, -1, .max, .min] {
            rows[2][7] = bad
            #expect(throws: TrainingError.tokenOutOfRange(token: Int(bad), vocabularySize: 23)) { try trainer.trainBatch(rows: rows) }
        }
        #expect(throws: TrainingError.self) { try trainer.step() }
    }

    @Test(
        "options out of range are refused by name",
        arguments: [
            "num_steps", "batch_size", "block_size", "learning_rate", "weight_decay", "adam_epsilon", "warmup_steps", "max_grad_norm",
            "gradient_accumulation_steps", "num_layers_freeze", "dropout", "avg_loss_smoothing",
        ])
    func options(name: String) throws {
        func refusal(_ change: (inout TrainingOptions) -> Void) -> String? {
            do {
                _ = try TinyRun.trainer(threads: 1, change)
                return nil
            } catch TrainingError.option(let name, _) { return name } catch { return "\(error)" }
        }
        let got = refusal {
            switch name {
            case "num_steps": $0.numSteps = 0
            case "batch_size": $0.batchSize = 0
            case "block_size": $0.blockSize = 9
            case "learning_rate": $0.learningRate = .nan
            case "weight_decay": $0.weightDecay = -1
            case "adam_epsilon": $0.adamEpsilon = 0
            case "warmup_steps": $0.warmupSteps = 21
            case "max_grad_norm": $0.maxGradNorm = .infinity
            case "gradient_accumulation_steps": $0.gradientAccumulationSteps = 0
            case "num_layers_freeze": $0.numLayersFreeze = 3
            case "dropout": $0.dropout = 1
            default: $0.averageLossSmoothing = 2
            }
        }
        #expect(got == name)
    }

    @Test("the rate climbs during warm-up and falls to zero, each step")
    func schedule() throws {
        var options = TrainingOptions(seed: 0)
        (options.numSteps, options.warmupSteps, options.learningRate) = (12, 3, 0.9)
        let schedule = try TrainingSchedule(options, stages: 1)
        let rates = (0...12).map { schedule.learningRate(atStep: $0) }
        #expect(rates[0] == 0 && abs(rates[1] - 0.3) < 1e-12 && rates[3] == 0.9 && abs(rates[4] - 0.8) < 1e-12 && rates[12] == 0)
    }

    @Test("the average begins at the first loss and then moves by its smoothing")
    func average() {
        var average = RunningAverage(smoothing: 0.01)
        #expect(average.add(4) == 4)
        #expect(abs(average.add(2) - 3.98) < 1e-12)
    }

    @Test("fresh weights have transformers' distribution")
    func initialisation() throws {
        let config = try #require(ModelConfig.named("gpt2-cpu"))
        let trainer = try TinyRun.trainer(config)
        func deviation(_ name: String) throws -> Double {
            let values = try #require(trainer.weights(of: name)).map(Double.init)
            let mean = values.reduce(0, +) / Double(values.count)
            #expect(abs(mean) < 0.0008, "\(name)")
            return (values.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(values.count)).squareRoot()
        }
        #expect(abs(try deviation("transformer.wte.weight") - 0.02) < 0.0004)
        #expect(abs(try deviation("transformer.h.1.attn.c_attn.weight") - 0.02) < 0.0004)
        #expect(abs(try deviation("transformer.h.2.mlp.c_proj.weight") - 0.02 / 8.0.squareRoot()) < 0.0002)
        #expect(trainer.weights(of: "transformer.h.2.mlp.c_proj.bias")?.allSatisfy { $0 == 0 } == true)
        #expect(trainer.weights(of: "transformer.ln_f.weight")?.allSatisfy { $0 == 1 } == true)
        #expect(trainer.weights(of: "transformer.h.0.attn.c_attn.weight") != trainer.weights(of: "transformer.h.1.attn.c_attn.weight"))
    }

    @Test("a model whose tensors do not fit its config is refused")
    func wrongShapes() throws {
        let directory = try ModelDirectory.open(Fixtures.reference + "/gpt2")
        var config = directory.config
        config["n_inner"] = .integer(48)
        let temporary = try TemporaryDirectory()
        try directory.export(to: temporary.path + "/m", weights: directory.tensors)
        try DurableFile.write(JSONValue.object(config).serialised, to: temporary.path + "/m/config.json")
        let broken = try ModelDirectory.open(temporary.path + "/m")
        #expect(throws: TrainingError.self) {
            try Trainer(model: .directory(broken), dataset: nil, options: TrainingOptions(seed: 1), pool: ThreadPool(threads: 1))
        }
    }
}
