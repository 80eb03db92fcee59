internal import Datasets
internal import Encodings
internal import Glibc
internal import Kernels
internal import ModelFiles
internal import Tokenizers
internal import Training

/// What shapes a training run: names and defaults of a `finetune` task (docs/protocol.md).
public struct TrainOptions: Sendable, Equatable {
    /// Optimizer steps.
    public var numSteps = 5000
    /// Blocks in a batch.
    public var batchSize = 1
    /// Tokens in a block; nil: the context.
    public var blockSize: Int?
    /// The learning rate after warm-up.
    public var learningRate = 1e-3
    /// AdamW's weight decay.
    public var weightDecay = 0.05
    /// Steps of linear warm-up.
    public var warmupSteps = 0
    /// The norm that gradients are clipped to; 0: not.
    public var maxGradNorm = 0.5
    /// Batches whose gradients add up to a step.
    public var gradientAccumulationSteps = 1
    /// Dropout after embedding and projections.
    public var dropout = 0.0
    /// Equal seeds give equal checkpoints.
    public var seed: UInt64 = 0
    /// Each line or CSV row is a text.
    public var lineByLine = false
    /// With ``lineByLine``: the first line or row of each file is left out.
    public var header = true
    /// Tokens of a tokenizer that is trained for a model from scratch.
    public var vocabularySize = 1000

    /// The defaults.
    public init(numSteps: Int = 5000, seed: UInt64 = 0) { (self.numSteps, self.seed) = (numSteps, seed) }
}

/// Where training begins.
public enum TrainingBase: Sendable, Equatable {
    /// A Hugging Face directory with its tokenizer.
    case model(String)
    /// Fresh weights: a config's name (`gpt2-cpu`, `gpt2`, …) or the path of a config.json, and a tokenizer trained on the texts.
    case config(String)
}

/// A finished step of training.
public struct TrainedStep: Sendable, Equatable {
    /// Counts from 1.
    public let step: Int
    /// The batch's loss before the step.
    public let loss: Double
    /// Its exponential average.
    public let averageLoss: Double
}

extension TextEngine {
    /// Trains a model on text files and writes it as a directory that ``init(model:threads:)`` and transformers load.
    /// - Parameters:
    ///   - files: bulk text, or with `lineByLine` a text a line or CSV row.
    ///   - output: the folder for the checkpoint: a new one, an empty one, or a model's, which is replaced. One that holds anything else is
    ///     refused before training begins, and what comes to lie in it meanwhile stays.
    ///   - each: takes each step's figures.
    /// - Returns: the checkpoint's digest: the same for equal texts, options and seed, on any machine.
    /// - Throws: ``EngineError``.
    @discardableResult
    public static func train(
        _ base: TrainingBase, on files: [String], output: String, _ options: TrainOptions = TrainOptions(), threads: Int? = nil,
        each: (TrainedStep) -> Void = { _ in }
    ) throws(EngineError) -> String {
        do {
            try CheckpointFolder.checkReplaceable(output)
            let pool = ThreadPool(threads: max(1, threads ?? sysconf(Int32(_SC_NPROCESSORS_ONLN))))
            let tokenizer = try tokenizer(of: base, files: files, options)
            let dataset = try TokenDataset.encode(
                files: files, tokenizer: tokenizer, lineByLine: options.lineByLine, header: options.header
            ) { _, _ in }
            let trainer = try Trainer(
                model: try source(base, tokenizer, options), datasets: [dataset], options: options.training, lineByLine: options.lineByLine,
                pool: pool)
            while trainer.stepsDone < options.numSteps {
                let step = try trainer.step()
                each(TrainedStep(step: step.step, loss: step.loss, averageLoss: step.averageLoss))
            }
            return try trainer.saveCheckpoint(directory: output, tokenizer: tokenizer).sha256
        } catch { throw EngineError(error) }
    }

    private static func tokenizer(of base: TrainingBase, files: [String], _ options: TrainOptions) throws -> Tokenizer {
        switch base {
        case .model(let path):
            guard let tokens = try ModelDirectory.open(path).tokenizerPath else { throw EngineError("\(path) has no tokenizer") }
            return try Tokenizer.load(path: tokens)
        case .config:
            var trainer = TokenizerTrainer(vocabularySize: options.vocabularySize, minimumFrequency: 2)
            for file in files { try trainer.feed(file: file) { _, _ in } }
            return try trainer.train()
        }
    }

    private static func source(_ base: TrainingBase, _ tokenizer: Tokenizer, _ options: TrainOptions) throws -> Trainer.Source {
        switch base {
        case .model(let path): return .directory(try ModelDirectory.open(path))
        case .config(let name):
            let config = try ModelConfig.named(name) ?? ModelConfig.read(name)
            let fitted = ModelConfig.fitted(config, vocabularySize: tokenizer.vocabularySize, endOfText: tokenizer.endOfTextID)
            return .scratch(config: fitted, seed: options.seed)
        }
    }
}

extension TrainOptions {
    fileprivate var training: TrainingOptions {
        var result = TrainingOptions(seed: seed)
        (result.numSteps, result.batchSize, result.blockSize) = (numSteps, batchSize, blockSize)
        (result.learningRate, result.weightDecay, result.warmupSteps) = (learningRate, weightDecay, warmupSteps)
        (result.maxGradNorm, result.gradientAccumulationSteps, result.dropout) = (maxGradNorm, gradientAccumulationSteps, dropout)
        return result
    }
}
