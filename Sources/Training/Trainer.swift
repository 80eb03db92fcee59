package import Datasets
package import Encodings
import Glibc
package import Kernels
package import LanguageModels
package import ModelFiles
package import Tokenizers

/// Trains a model, step by step.
///
///     let trainer = try Trainer(model: .scratch(config, seed: 1), dataset: dataset, options: options, pool: pool)
///     while trainer.stepsDone < options.numSteps { print(try trainer.step().loss) }
///     try trainer.saveCheckpoint(directory: "out", tokenizer: tokenizer)
///
/// With `options.lora` the model's weights stay as they are, and adapters beside them are trained and saved as PEFT keeps them.
/// Same base, data, options and seed give the same checkpoint digest on any machine and thread count, and a run resumed from
/// its own checkpoint gives the digest of one that was never stopped. All memory is planned in the initializer.
/// Used from one thread at a time.
package final class Trainer {
    /// What training starts from.
    package enum Source {
        /// An existing model.
        case directory(ModelDirectory)
        /// Fresh weights for a config, drawn from the seed.
        case scratch(config: JSONObject, seed: UInt64)
    }

    /// The model beside which adapters stand.
    struct Base {
        let directory: ModelDirectory
        /// Its tensors under export names.
        let weights: TensorCollection
    }

    package let description: ModelDescription
    /// What `config.json` will say: the base's, with every key that it had.
    package let config: JSONObject
    package let generationConfig: JSONObject?
    package let options: TrainingOptions
    /// Which step uses which dataset and rate.
    package let schedule: TrainingSchedule
    /// Tokens in a block.
    package let blockSize: Int
    /// Steps done since the run began, those before a resume included.
    package internal(set) var stepsDone = 0
    /// The last step's loss; nil before the first step. Kept in a run's state.
    package internal(set) var lastLoss: Double?
    /// Tokens a second of the last step; nil before one is done here. It is not kept: equal runs leave equal files on any machine.
    package internal(set) var tokensPerSecond: Double?
    /// Whether samples of the last step are still to be taken; kept in a run's state, too. Whoever takes them sets it and clears it.
    package var samplesAreDue = false
    /// The average loss so far in this stage; nil before its first step.
    package var averageLoss: Double? { average.value }

    let store: ParameterStore
    /// One a stage; empty where every batch is given by hand.
    let datasets: [TokenDataset]
    let adapters: [Adapter]
    /// What the adapters stand beside, for every checkpoint's copy; nil without them.
    let base: Base?
    /// Blocks taken from the schedule of this stage's dataset so far.
    var blocksTaken: UInt64 = 0
    var average: RunningAverage
    var optimizer = Optimizer(steps: 0)
    let pool: ThreadPool
    private let blocks: [BlockSchedule]
    private let pass: TrainingPass

    /// Trains on one dataset, or on batches that the caller gives (``trainBatch(rows:)``) where it is nil.
    package convenience init(model source: Source, dataset: TokenDataset?, options: TrainingOptions, pool: ThreadPool) throws(TrainingError) {
        try self.init(model: source, datasets: dataset.map { [$0] } ?? [], options: options, pool: pool)
    }

    /// Reads or draws the weights and plans all memory.
    /// - Parameters:
    ///   - datasets: one after another, steps and rate halved each time (``TrainingSchedule``).
    ///   - lineByLine: what config.json shall say of how the texts stand in the datasets; nil: what the base says.
    /// - Throws: `TrainingError` naming the option, tensor or length at fault.
    package init(
        model source: Source, datasets: [TokenDataset], options: TrainingOptions, lineByLine: Bool? = nil, pool: ThreadPool
    ) throws(TrainingError) {
        (config, generationConfig) = source.configs(lineByLine: lineByLine, keepsWeights: options.lora != nil)
        let description: ModelDescription
        do throws(ModelError) {
            description = try Architectures.describe(config: config, generation: generationConfig)
        } catch { throw .unsupported("config.json: \(error)") }
        self.description = description
        blockSize = try options.validated(contextLength: description.contextLength, layers: description.layers)
        schedule = try TrainingSchedule(options, stages: datasets.count)
        blocks = try Trainer.blocks(datasets, blockSize: blockSize, vocabularySize: description.vocabularySize, seed: options.seed)
        var settled = options
        settled.gradientCheckpointing = options.gradientCheckpointing ?? (description.parameterCount >= TrainingOptions.checkpointedParameters)
        self.options = settled
        self.datasets = datasets
        self.pool = pool
        average = RunningAverage(smoothing: options.averageLossSmoothing)
        adapters = try options.lora.map { lora throws(TrainingError) in try Adapter.list(description, lora) } ?? []
        let weights = description.tensors.all
        store = try ParameterStore(
            weights + adapters.flatMap { [$0.a, $0.b] }, frozen: adapters.isEmpty ? frozenNames(description, options) : Set(weights.map(\.name)))
        base = try Trainer.fill(store, source, description, adapters, seed: options.seed)
        pass = try TrainingPass(
            description, store: store, sequences: options.batchSize, length: blockSize, options: settled, adapters: adapters, pool: pool.handle)
    }

    private static func weights(_ description: ModelDescription, _ directory: ModelDirectory) throws(TrainingError) -> TensorCollection {
        do throws(ModelError) {
            return try description.weights(in: directory.tensors)
        } catch {
            switch error {
            case .missingTensor(let name): throw .wrongTensor(name: name, message: "is not in the model's files")
            case .wrongShape(let name, let expected, let found):
                throw .wrongTensor(name: name, message: "has the shape \(found), but config.json asks for \(expected)")
            default: throw .unsupported("\(error)")
            }
        }
    }

    /// One order of blocks a stage, each from a seed of its own, so that the same data twice is not seen in the same order.
    private static func blocks(
        _ datasets: [TokenDataset], blockSize: Int, vocabularySize: Int, seed: UInt64
    ) throws(TrainingError) -> [BlockSchedule] {
        var blocks: [BlockSchedule] = []
        for dataset in datasets {
            guard dataset.count > blockSize else { throw .datasetTooShort(tokens: dataset.count, blockSize: blockSize) }
            guard dataset.largestToken < vocabularySize else {
                throw .tokenOutOfRange(token: dataset.largestToken, vocabularySize: vocabularySize)
            }
            blocks.append(BlockSchedule(seed: seed &+ UInt64(blocks.count), tokens: dataset.count, blockSize: blockSize))
        }
        return blocks
    }

    /// Reads or draws every weight.
    /// - Returns: the base where there are adapters.
    private static func fill(
        _ store: ParameterStore, _ source: Source, _ description: ModelDescription, _ adapters: [Adapter], seed: UInt64
    ) throws(TrainingError) -> Base? {
        switch source {
        case .directory(let directory):
            let weights = try Trainer.weights(description, directory)
            try store.load(weights, description.tensors.all)
            store.initialise(adapters, seed: seed)
            return adapters.isEmpty ? nil : Base(directory: directory, weights: weights)
        case .scratch(_, let seed):
            guard adapters.isEmpty else { throw .option(name: "lora", message: "needs a base model to stand beside: name one") }
            store.initialise(description, seed: seed)
            return nil
        }
    }

    /// Steps of the whole run.
    package var totalSteps: Int { schedule.totalSteps }

    /// Tokens that one step learns from.
    package var tokensPerStep: Int { options.batchSize * options.gradientAccumulationSteps * blockSize }

    /// Takes the next blocks of the stage's dataset and makes one step.
    /// - Throws: `TrainingError.notFinite` naming the step where loss or gradient is no number; the weights are then as before.
    package func step() throws(TrainingError) -> TrainingStep {
        guard !datasets.isEmpty else { throw .option(name: "dataset", message: "is needed: this trainer was made without one") }
        let stage = beginStep()
        let (dataset, order) = (datasets[stage.index], blocks[stage.index])
        var next = blocksTaken
        let result = try makeStep(stage) { tokens in
            for row in 0..<options.batchSize {
                dataset.copyBlock(start: order.start(ofBlock: next), length: blockSize, into: tokens + row * blockSize)
                next += 1
            }
        }
        blocksTaken = next
        return result
    }

    /// The stage of the next step, begun anew where it is its first: fresh moments, average and data.
    private func beginStep() -> TrainingSchedule.Stage {
        let stage = schedule.stage(ofStep: stepsDone)
        if stage.index > 0, stepsDone == stage.first {
            store.firstMoment.clear()
            store.secondMoment.clear()
            optimizer = Optimizer(steps: 0)
            average = RunningAverage(smoothing: options.averageLossSmoothing)
            blocksTaken = 0
        }
        return stage
    }

    /// Makes one step with blocks that the caller chose: `batchSize` rows of ``blockSize`` for each of the accumulated micro-batches.
    package func trainBatch(rows: [[Int32]]) throws(TrainingError) -> TrainingStep {
        guard rows.count == options.batchSize * options.gradientAccumulationSteps, rows.allSatisfy({ $0.count == blockSize }) else {
            throw .option(name: "batch_size", message: "does not fit the \(rows.count) rows given")
        }
        var next = 0
        return try makeStep(beginStep()) { tokens in
            for row in 0..<options.batchSize {
                for column in 0..<blockSize { tokens[row * blockSize + column] = rows[next][column] }
                next += 1
            }
        }
    }

    /// The gradients of all micro-batches, then the optimizer's step.
    private func makeStep(_ stage: TrainingSchedule.Stage, _ fill: (UnsafeMutablePointer<Int32>) -> Void) throws(TrainingError) -> TrainingStep {
        let begin = monotonicSeconds()
        let microBatches = options.gradientAccumulationSteps
        let scale = Float(1) / Float(pass.labelled * microBatches)
        var sum = 0.0
        for index in 0..<microBatches {
            if let tokens = pass.tokens.baseAddress { fill(tokens) }
            pass.position = TrainingPass.Position(step: stepsDone, firstRow: index * pass.rows)
            sum += try pass.run(scale: scale, first: index == 0)
        }
        let loss = sum / Double(pass.labelled * microBatches)
        guard loss.isFinite else { throw .notFinite(what: "loss", step: stepsDone + 1) }
        let norm = Optimizer.gradientNorm(store, pool: pool.handle)
        guard norm.isFinite else { throw .notFinite(what: "gradient's norm", step: stepsDone + 1) }
        let rate = stage.rate(atStep: stepsDone - stage.first)
        optimizer.step(store, norm: norm, rate: rate, options: options, pool: pool.handle)
        stepsDone += 1
        let speed = Double(tokensPerStep) / max(1e-9, monotonicSeconds() - begin)
        (lastLoss, tokensPerSecond) = (loss, speed)
        return TrainingStep(
            step: stepsDone, loss: loss, averageLoss: average.add(loss), learningRate: rate, gradientNorm: norm, tokensPerSecond: speed)
    }
}

extension Trainer.Source {
    /// Fresh weights for a config that takes the tokenizer's vocabulary and its end token.
    package static func fresh(_ config: JSONObject, _ tokenizer: Tokenizer, seed: UInt64) -> Self {
        .scratch(
            config: ModelConfig.fitted(config, vocabularySize: tokenizer.vocabularySize, endOfText: tokenizer.endOfTextID), seed: seed)
    }

    /// Whether an adapter of the base's own is merged with its weights, which makes them fp32.
    private var isMerged: Bool {
        if case .directory(let directory) = self { directory.tensors.adapter != nil } else { false }
    }

    /// config.json and generation_config.json, the former saying how texts stand in the data and how the weights are stored.
    /// - Parameter keepsWeights: whether checkpoints hold the base's weights as they are stored there, and not fp32.
    fileprivate func configs(lineByLine: Bool?, keepsWeights: Bool) -> (config: JSONObject, generation: JSONObject?) {
        var (config, generation): (JSONObject, JSONObject?) =
            switch self {
            case .directory(let directory): (directory.config, directory.generationConfig)
            case .scratch(let config, _): (config, nil)
            }
        if !keepsWeights || isMerged { config = ModelConfig.storedAsFloat32(config) }
        if let lineByLine, lineByLine || config["line_by_line"] != nil { config["line_by_line"] = .bool(lineByLine) }
        return (config, generation)
    }
}

/// Seconds of the clock that never steps back.
func monotonicSeconds() -> Double {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return Double(time.tv_sec) + Double(time.tv_nsec) * 1e-9
}
