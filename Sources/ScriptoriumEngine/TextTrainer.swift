internal import Datasets
internal import Generation
internal import Kernels
internal import ModelFiles
internal import Tokenizers
internal import Training

/// Where training begins.
public enum TrainingBase: Sendable, Equatable {
    /// A Hugging Face directory with its tokenizer.
    case model(String)
    /// Fresh weights: a config's name (`gpt2-cpu`, `gpt2`, …) or the path of a config.json.
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
    /// The learning rate that the step used.
    public let learningRate: Double
    /// The gradient's global norm before clipping.
    public let gradientNorm: Double
    /// Tokens of the step by the time that it took.
    public let tokensPerSecond: Double

    init(_ step: TrainingStep) {
        (self.step, loss, averageLoss) = (step.step, step.loss, step.averageLoss)
        (learningRate, gradientNorm, tokensPerSecond) = (step.learningRate, step.gradientNorm, step.tokensPerSecond)
    }
}

/// A text of a model in training, for those who watch.
public struct TrainedSample: Sendable, Equatable {
    /// Steps done when it was taken.
    public let step: Int
    /// 0 … ``TrainOptions/nGenerate`` - 1.
    public let sample: Int
    /// The text.
    public let text: String
}

extension TextEngine {
    /// Trains a model on texts and writes it as a directory that ``init(model:precision:threads:)`` and transformers load.
    /// - Parameters:
    ///   - data: what to train on.
    ///   - output: the folder for the checkpoint: a new one, an empty one, or a model's, which is replaced. One that holds anything else is
    ///     refused before training begins, and what comes to lie in it meanwhile stays.
    ///   - each: takes each step's figures.
    ///   - sample: takes sample texts as ``TrainOptions/generateEvery`` says; nil: none are made. They change nothing of the training.
    ///   - isStopped: asked after each step; true saves the state and ends the call. ``TrainOptions/resume`` goes on from there.
    /// - Returns: the digest of the checkpoint in `output`: the same for equal texts, options and seed, on any machine.
    /// - Throws: ``EngineError``.
    @discardableResult
    public static func train(
        _ base: TrainingBase, on data: TrainingData, output: String, _ options: TrainOptions = TrainOptions(), threads: Int? = nil,
        each: (TrainedStep) -> Void = { _ in }, sample: ((TrainedSample) -> Void)? = nil, isStopped: () -> Bool = { false }
    ) throws(EngineError) -> String {
        do {
            try options.check()
            let pool = try computePool(threads: threads)
            let resumes = options.resume && Trainer.canResume(directory: output)
            if !resumes { try CheckpointFolder.checkReplaceable(output) }
            let from = resumes ? .model(output) : base
            let tokenizer = try tokenizer(of: from, data, options)
            let datasets = try data.stages(tokenizer, options, seed: options.seed)
            let trainer =
                resumes
                ? try Trainer.resume(directory: output, datasets: datasets, options: options.training, pool: pool)
                : try Trainer(
                    model: try source(from, tokenizer, options), datasets: datasets, options: options.training,
                    lineByLine: datasets.areLineByLine(otherwise: options.lineByLine), pool: pool)
            let loop = TrainingLoop(
                trainer: trainer, tokenizer: tokenizer, pool: pool, output: output, baseName: base.path, saveEvery: options.saveEvery,
                generateEvery: sample == nil ? 0 : options.generateEvery, samples: options.nGenerate)
            let saved = try loop.run(
                each: { each(TrainedStep($0)) },
                sample: { sample?(TrainedSample(step: trainer.stepsDone, sample: $0.sample, text: $0.text)) },
                isStopped: isStopped)
            guard options.lora?.merged == true, trainer.stepsDone == trainer.totalSteps else { return saved.sha256 }
            return try trainer.mergeCheckpoint(directory: output).sha256
        } catch { throw EngineError(error) }
    }

    /// Trains a model on text files: bulk text, or with ``TrainOptions/lineByLine`` a text a line or CSV row.
    @discardableResult
    public static func train(
        _ base: TrainingBase, on files: [String], output: String, _ options: TrainOptions = TrainOptions(), threads: Int? = nil,
        each: (TrainedStep) -> Void = { _ in }, sample: ((TrainedSample) -> Void)? = nil, isStopped: () -> Bool = { false }
    ) throws(EngineError) -> String {
        try train(base, on: .files(files), output: output, options, threads: threads, each: each, sample: sample, isStopped: isStopped)
    }

    private static func tokenizer(of base: TrainingBase, _ data: TrainingData, _ options: TrainOptions) throws -> Tokenizer {
        let directory = try base.path.map { try ModelDirectory.open($0) }
        if let path = options.tokenizer ?? directory?.tokenizerPath {
            let chosen = try Tokenizer.load(path: path)
            if let directory, try !directory.isTrained(with: chosen) {
                throw EngineError("tokenizer: a model is trained with its own, and \(path) is another one: leave it out")
            }
            return chosen
        }
        if let directory { throw EngineError("\(directory.path) has no tokenizer: name one with the option tokenizer") }
        return try data.trainedTokenizer(options)
    }

    private static func source(_ base: TrainingBase, _ tokenizer: Tokenizer, _ options: TrainOptions) throws -> Trainer.Source {
        switch base {
        case .model(let path): return .directory(try ModelDirectory.open(path))
        case .config(let name): return .fresh(try ModelConfig.named(name) ?? ModelConfig.read(name), tokenizer, seed: options.seed)
        }
    }
}

extension TrainingBase {
    /// The model's directory, where there is one.
    fileprivate var path: String? { if case .model(let path) = self { path } else { nil } }
}
