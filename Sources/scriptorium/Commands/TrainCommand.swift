import ArgumentParser
import Datasets
import Encodings
import Glibc
import Kernels
import LanguageModels
import ModelFiles
import Tokenizers
import Training

/// `train`: the engine alone, no service. Texts in, a model directory out that transformers loads.
struct TrainCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "train", abstract: "Trains a model from text files, without a service.",
        discussion: """
            Begins from --model, or from fresh weights with --model-config. The output folder is a model directory that transformers loads; with \
            what lies beside the weights a stopped run goes on: --resume. Same files, options and seed: same checkpoint digest, on any machine.
            """)

    @Argument(help: "Text files: bulk text, or with --line-by-line a text a line or CSV row.") var files: [String]
    @Option(help: "The folder for the checkpoint.") var output: String
    @Option(help: "The model directory to begin from.") var model: String?
    @Option(help: "The config to begin from scratch with: \(ModelConfig.names.joined(separator: ", ")), or a config.json.") var modelConfig: String?
    @Option(help: "The tokenizer's directory or file; default the model's own, or one trained on the files.") var tokenizer: String?
    @Option(help: "Tokens of a tokenizer that is trained.") var vocabSize = 1000
    @Option(help: "How often a pair must occur for a tokenizer that is trained.") var minFrequency = 2
    @Flag(help: "Each line or CSV row is a text.") var lineByLine = false
    @Flag(inversion: .prefixedNo, help: "With --line-by-line, leave out the first line or row of each file.") var header = true
    @Option(help: "Tokens in a block; default the context.") var blockSize: Int?
    @Option(help: "Optimizer steps.") var numSteps = 5000
    @Option(help: "Blocks in a batch.") var batchSize = 1
    @Option(help: "The learning rate after warm-up.") var learningRate = 1e-3
    @Option(help: "AdamW's weight decay.") var weightDecay = 0.05
    @Option(help: "AdamW's epsilon.") var adamEpsilon = 1e-8
    @Option(help: "Steps of linear warm-up.") var warmupSteps = 0
    @Option(help: "The norm that gradients are clipped to; 0: not.") var maxGradNorm = 0.5
    @Option(help: "Batches whose gradients add up to a step.") var gradientAccumulationSteps = 1
    @Option(help: "A checkpoint every so many steps; 0: at the end only.") var saveEvery = 1000
    @Flag(help: "Leaves the token embedding as it is.") var freezeLayers = false
    @Option(help: "With --freeze-layers, leaves so many first blocks as they are.") var numLayersFreeze = 0
    @Flag(help: "Computes activations again instead of keeping them: less memory, same bits.") var gradientCheckpointing = false
    @Option(help: "Dropout after embedding and projections.") var dropout = 0.0
    @Option(help: "The newest loss's weight in the average.") var avgLossSmoothing = 0.01
    @Option(help: "The seed; default: assigned and printed.") var seed: UInt64?
    @Flag(help: "Goes on from the checkpoint in --output where there is one.") var resume = false
    @Option(help: "Compute threads.") var threads: Int?
    @Flag(help: "Prints one JSON line a step, and one at the end.") var json = false

    func run() throws {
        let pool = ThreadPool(threads: threads ?? max(1, Int(sysconf(Int32(_SC_NPROCESSORS_ONLN)))))
        let resumes = resume && Trainer.canResume(directory: output)
        let base = resumes ? output : model
        let directory = try base.map { path in try input { try ModelDirectory.open(path) } }
        let vocabulary = try chosenTokenizer(directory)
        let dataset = try encode(vocabulary)
        let trainer = try makeTrainer(directory, vocabulary, dataset, pool: pool, resumes: resumes)
        let saved = try train(trainer, vocabulary)
        report(saved, trainer)
    }

    /// What the flags say.
    private func options() -> TrainingOptions {
        var options = TrainingOptions(seed: seed ?? UInt64.random(in: 10_000_000...99_999_999))
        (options.numSteps, options.batchSize, options.blockSize) = (numSteps, batchSize, blockSize)
        (options.learningRate, options.weightDecay, options.adamEpsilon) = (learningRate, weightDecay, adamEpsilon)
        (options.warmupSteps, options.maxGradNorm) = (warmupSteps, maxGradNorm)
        options.gradientAccumulationSteps = gradientAccumulationSteps
        (options.freezeLayers, options.numLayersFreeze) = (freezeLayers, numLayersFreeze)
        (options.gradientCheckpointing, options.dropout, options.averageLossSmoothing) = (gradientCheckpointing, dropout, avgLossSmoothing)
        return options
    }

    private func chosenTokenizer(_ directory: ModelDirectory?) throws -> Tokenizer {
        if let path = tokenizer ?? directory?.tokenizerPath { return try input { try Tokenizer.load(path: path) } }
        if let directory { throw CommandFailure.usage("\(directory.path) has no tokenizer: name one with --tokenizer") }
        var bar = ProgressBar(total: 100, label: "tokenizer")
        defer { bar.finish() }
        return try input {
            var trainer = TokenizerTrainer(vocabularySize: vocabSize, minimumFrequency: minFrequency)
            for file in files { try trainer.feed(file: file) { done, total in bar.update(50 * done / max(1, total)) } }
            return try trainer.train { done, total in bar.update(50 + 50 * done / max(1, total)) }
        }
    }

    private func encode(_ tokenizer: Tokenizer) throws -> TokenDataset {
        var bar = ProgressBar(total: 100, label: "encoding")
        defer { bar.finish() }
        return try input {
            try TokenDataset.encode(files: files, tokenizer: tokenizer, lineByLine: lineByLine, header: header) { done, total in
                bar.update(100 * done / max(1, total))
            }
        }
    }

    private func makeTrainer(
        _ directory: ModelDirectory?, _ tokenizer: Tokenizer, _ dataset: TokenDataset, pool: ThreadPool, resumes: Bool
    ) throws -> Trainer {
        try input {
            if resumes {
                let given = seed == nil ? nil : options()
                return try Trainer.resume(directory: output, dataset: dataset, options: given, pool: pool)
            }
            if let directory { return try Trainer(model: .directory(directory), dataset: dataset, options: options(), pool: pool) }
            guard let config = modelConfig else {
                throw CommandFailure.usage("name a base with --model DIR, or --model-config to train from scratch")
            }
            let named = try ModelConfig.named(config) ?? ModelConfig.read(config)
            var fitted = ModelConfig.fitted(named, vocabularySize: tokenizer.vocabularySize, endOfText: tokenizer.endOfTextID)
            if lineByLine { fitted["line_by_line"] = .bool(true) }
            let options = options()
            return try Trainer(model: .scratch(config: fitted, seed: options.seed), dataset: dataset, options: options, pool: pool)
        }
    }

    private func train(_ trainer: Trainer, _ tokenizer: Tokenizer) throws -> SavedCheckpoint {
        var bar = ProgressBar(total: trainer.options.numSteps, label: "training")
        defer { bar.finish() }
        if !json { print("seed \(trainer.options.seed), \(trainer.description.parameterCount) parameters, blocks of \(trainer.blockSize)") }
        var saved: SavedCheckpoint?
        do {
            while trainer.stepsDone < trainer.options.numSteps {
                let step = try trainer.step()
                bar.update(step.step, note: "loss \(rounded(step.loss))  average \(rounded(step.averageLoss))  \(Int(step.tokensPerSecond)) tok/s")
                if json { printLine(step) }
                saved = nil
                if saveEvery > 0, step.step % saveEvery == 0 { saved = try trainer.saveCheckpoint(directory: output, tokenizer: tokenizer) }
            }
            return try saved ?? trainer.saveCheckpoint(directory: output, tokenizer: tokenizer)
        } catch { throw CommandFailure.failed("\(error)") }
    }

    private func printLine(_ step: TrainingStep) {
        let line: JSONObject = [
            "step": .integer(Int64(step.step)), "loss": .real(step.loss), "average_loss": .real(step.averageLoss),
            "learning_rate": .real(step.learningRate), "grad_norm": .real(step.gradientNorm), "tokens_per_second": .real(step.tokensPerSecond),
        ]
        print(String(decoding: JSONValue.object(line).serialised, as: UTF8.self))
    }

    private func report(_ saved: SavedCheckpoint, _ trainer: Trainer) {
        guard json else {
            print("\(saved.path): step \(saved.step), average loss \(rounded(trainer.averageLoss ?? 0)), checkpoint \(saved.sha256)")
            return
        }
        let line: JSONObject = [
            "output": .string(saved.path), "steps": .integer(Int64(saved.step)), "average_loss": trainer.averageLoss.map { .real($0) } ?? .null,
            "sha256": .string(saved.sha256), "bytes": .integer(Int64(saved.byteCount)), "seed": .string(String(trainer.options.seed)),
        ]
        print(String(decoding: JSONValue.object(line).serialised, as: UTF8.self))
    }

    private func rounded(_ value: Double) -> String { String((value * 1000).rounded() / 1000) }

    /// Runs what depends on files and flags: its errors are the user's to mend.
    private func input<Result>(_ body: () throws -> Result) throws -> Result {
        do {
            return try body()
        } catch let failure as CommandFailure {
            throw failure
        } catch { throw CommandFailure.usage("\(error)") }
    }
}
