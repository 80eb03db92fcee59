package import Datasets
package import Encodings
import Glibc
package import Kernels
package import LanguageModels
package import ModelFiles

/// Trains a model, step by step.
///
///     let trainer = try Trainer(model: .scratch(config, seed: 1), dataset: dataset, options: options, pool: pool)
///     while trainer.stepsDone < options.numSteps { print(try trainer.step().loss) }
///     try trainer.saveCheckpoint(directory: "out", tokenizer: tokenizer)
///
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

    package let description: ModelDescription
    /// What `config.json` will say: the base's, with every key that it had.
    package let config: JSONObject
    package let generationConfig: JSONObject?
    package let options: TrainingOptions
    /// Tokens in a block.
    package let blockSize: Int
    /// Steps done since the run began, those before a resume included.
    package internal(set) var stepsDone = 0
    /// The average loss so far; nil before the first step.
    package var averageLoss: Double? { average.value }

    let store: ParameterStore
    let dataset: TokenDataset?
    /// Blocks taken from the dataset's schedule so far.
    var blocksTaken: UInt64 = 0
    var average: RunningAverage
    var optimizer = Optimizer(steps: 0)
    let pool: ThreadPool
    private let schedule: BlockSchedule?
    private let pass: TrainingPass

    /// Reads or draws the weights and plans all memory.
    /// - Parameter dataset: nil where the caller gives every batch itself (``trainBatch(rows:)``).
    /// - Throws: `TrainingError` naming the option, tensor or length at fault.
    package init(model source: Source, dataset: TokenDataset?, options: TrainingOptions, pool: ThreadPool) throws(TrainingError) {
        switch source {
        case .directory(let directory): (config, generationConfig) = (directory.config, directory.generationConfig)
        case .scratch(let config, _): (self.config, generationConfig) = (config, nil)
        }
        do throws(ModelError) {
            description = try Architectures.describe(config: config, generation: generationConfig)
        } catch { throw .unsupported("config.json: \(error)") }
        blockSize = try options.validated(contextLength: description.contextLength, layers: description.layers)
        if let dataset {
            guard dataset.count > blockSize else { throw .datasetTooShort(tokens: dataset.count, blockSize: blockSize) }
            guard dataset.largestToken < description.vocabularySize else {
                throw .tokenOutOfRange(token: dataset.largestToken, vocabularySize: description.vocabularySize)
            }
            schedule = BlockSchedule(seed: options.seed, tokens: dataset.count, blockSize: blockSize)
        } else {
            schedule = nil
        }
        self.options = options
        self.dataset = dataset
        self.pool = pool
        average = RunningAverage(smoothing: options.averageLossSmoothing)
        store = try ParameterStore(description.tensors.all, frozen: frozenNames(description, options))
        switch source {
        case .directory(let directory): try store.load(Trainer.weights(description, directory))
        case .scratch(_, let seed): store.initialise(description, seed: seed)
        }
        pass = try TrainingPass(
            description, store: store, sequences: options.batchSize, length: blockSize, options: options, pool: pool.handle)
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

    /// Tokens that one step learns from.
    package var tokensPerStep: Int { options.batchSize * options.gradientAccumulationSteps * blockSize }

    /// Takes the next blocks of the dataset and makes one step.
    /// - Throws: `TrainingError.notFinite` naming the step where loss or gradient is no number; the weights are then as before.
    package func step() throws(TrainingError) -> TrainingStep {
        guard let dataset, let schedule else { throw .option(name: "dataset", message: "is needed: this trainer was made without one") }
        var next = blocksTaken
        let result = try makeStep { tokens in
            for row in 0..<options.batchSize {
                dataset.copyBlock(start: schedule.start(ofBlock: next), length: blockSize, into: tokens + row * blockSize)
                next += 1
            }
        }
        blocksTaken = next
        return result
    }

    /// Makes one step with blocks that the caller chose: `batchSize` rows of ``blockSize`` for each of the accumulated micro-batches.
    package func trainBatch(rows: [[Int32]]) throws(TrainingError) -> TrainingStep {
        guard rows.count == options.batchSize * options.gradientAccumulationSteps, rows.allSatisfy({ $0.count == blockSize }) else {
            throw .option(name: "batch_size", message: "does not fit the \(rows.count) rows given")
        }
        var next = 0
        return try makeStep { tokens in
            for row in 0..<options.batchSize {
                for column in 0..<blockSize { tokens[row * blockSize + column] = rows[next][column] }
                next += 1
            }
        }
    }

    /// The gradients of all micro-batches, then the optimizer's step.
    private func makeStep(_ fill: (UnsafeMutablePointer<Int32>) -> Void) throws(TrainingError) -> TrainingStep {
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
        let rate = options.learningRate(atStep: stepsDone)
        optimizer.step(store, norm: norm, rate: rate, options: options, pool: pool.handle)
        stepsDone += 1
        return TrainingStep(
            step: stepsDone, loss: loss, averageLoss: average.add(loss), learningRate: rate, gradientNorm: norm,
            tokensPerSecond: Double(tokensPerStep) / max(1e-9, monotonicSeconds() - begin))
    }

    /// The logits after the last of some tokens, with the weights as they are. For tests and a look: it plans memory of its own.
    package func lastLogits(of tokens: [Int32]) throws(TrainingError) -> [Float] {
        guard !tokens.isEmpty, tokens.count <= description.contextLength else {
            throw .option(name: "tokens", message: "must be 1 to \(description.contextLength) tokens, not \(tokens.count)")
        }
        var quiet = options
        quiet.dropout = 0
        let look = try TrainingPass(description, store: store, sequences: 1, length: tokens.count, options: quiet, pool: pool.handle)
        for (index, token) in tokens.enumerated() { look.tokens[index] = token }
        _ = try look.evaluate()
        let row = (tokens.count - 1) % ActivationMemory.headRows
        return [Float](UnsafeBufferPointer(start: look.memory.logits + row * description.vocabularySize, count: description.vocabularySize))
    }

    /// The gradient that the last step left for a tensor, before clipping; nil where there is none of that name or it is frozen.
    package func gradient(of name: String) -> [Float]? {
        guard let parameter = store.parameter(name), !parameter.frozen else { return nil }
        return [Float](UnsafeBufferPointer(start: store.gradients.base + parameter.offset, count: parameter.count))
    }

    /// Puts other weights in a tensor's place; a count that does not fit is refused.
    package func setWeights(_ values: [Float], of name: String) throws(TrainingError) {
        guard let parameter = store.parameter(name), parameter.count == values.count else {
            throw .wrongTensor(name: name, message: "is not there or does not have \(values.count) elements")
        }
        for (index, value) in values.enumerated() { store.weights.base[parameter.offset + index] = value }
    }

    /// Every tensor's name, sorted by bytes.
    package var parameterNames: [String] { store.parameters.map(\.name) }

    /// The weights of a tensor as they are, or nil where there is none of that name.
    package func weights(of name: String) -> [Float]? {
        store.parameter(name).map { [Float](UnsafeBufferPointer(start: store.weights.base + $0.offset, count: $0.count)) }
    }
}

/// Seconds of the clock that never steps back.
func monotonicSeconds() -> Double {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return Double(time.tv_sec) + Double(time.tv_nsec) * 1e-9
}
