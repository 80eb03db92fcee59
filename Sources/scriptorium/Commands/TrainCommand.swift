import ArgumentParser
import Datasets
import DurableFiles
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
            Begins from --model, or from fresh weights with --model-config. The output folder is a model directory that transformers loads (with \
            --lora: the base, and beside it the adapter that PEFT loads); with what lies beside the weights a stopped run goes on: --resume. \
            SIGINT saves the state first. Same files, options and seed: same checkpoint digest, on any machine.
            """)

    @OptionGroup var data: TrainingData
    @Option(help: "The folder for the checkpoint.") var output: String
    @Flag(help: "Lets --output replace a model that stands there.") var overwrite = false
    @Option(help: "The model directory to begin from.") var model: String?
    @Option(help: "The config to begin from scratch with: \(ModelConfig.names.joined(separator: ", ")), or a config.json.") var modelConfig: String?
    @OptionGroup var training: TrainingFlags
    @Flag(help: "With --lora: writes the model merged at the end, without the adapter.") var merged = false
    @Option(help: "A checkpoint every so many steps; 0: at the end only.") var saveEvery = 1000
    @Option(help: "Sample texts every so many steps; 0: none.") var generateEvery = 1000
    @Option(help: "Sample texts each time.") var nGenerate = 1
    @Option(help: "The seed; default: assigned and printed.") var seed: UInt64?
    @Flag(help: "Goes on from the checkpoint in --output where there is one.") var resume = false
    @Option(help: "Compute threads.") var threads: Int?
    @Flag(help: "Prints one JSON line a step or sample, and one at the end.") var json = false

    func validate() throws {
        if let seed, seed >= 1 << 53 { throw ValidationError("--seed must be below 2^53") }
        if let threads, threads < 1 { throw ValidationError("--threads must be at least 1") }
        if saveEvery < 0 || generateEvery < 0 || nGenerate < 0 {
            throw ValidationError("--save-every, --generate-every and --n-generate are 0 or more")
        }
    }

    func run() throws {
        if merged, training.options(seed: 0).lora == nil { throw CommandFailure.usage("--merged has a meaning only with --lora") }
        let pool = try pool()
        let resumes = resume && Trainer.canResume(directory: output)
        if !resumes { try checkOutput() }
        let base = resumes ? output : model
        let directory = try base.map { path in try input { try ModelDirectory.open(path) } }
        let tokenizer = try data.chosenTokenizer(directory)
        let trainer = try makeTrainer(directory, tokenizer, pool: pool, resumes: resumes)
        let loop = TrainingLoop(
            trainer: trainer, tokenizer: tokenizer, pool: pool, output: output, baseName: model, saveEvery: saveEvery,
            generateEvery: generateEvery, samples: nGenerate)
        var run = TrainingRun(loop, json: json)
        try run.train()
        if merged { try run.merge() }
        run.report()
    }

    private func pool() throws -> ThreadPool {
        ThreadPool(threads: threads ?? max(1, Int(sysconf(Int32(_SC_NPROCESSORS_ONLN)))), instructionSet: try .chosen())
    }

    /// The folder is replaced as a whole: it must be new, empty, or a model that may go.
    private func checkOutput() throws {
        try input { try CheckpointFolder.checkReplaceable(output) }
        guard overwrite || FileTree.names(output).isEmpty else {
            throw CommandFailure.usage("\(output) holds a model: let it go with --overwrite, or go on with --resume")
        }
    }

    private func makeTrainer(_ directory: ModelDirectory?, _ tokenizer: Tokenizer, pool: ThreadPool, resumes: Bool) throws -> Trainer {
        if resumes {
            // The seed of the run also decided what --equalize took.
            let began = try input { try Trainer.options(directory: output) }
            let datasets = try data.datasets(tokenizer, seed: began.seed)
            let given = seed.map { training.options(seed: $0) }
            if given == nil, !training.options(seed: began.seed).makesSameBits(as: began) {
                Program.note("going on with the options that the run began with: other flags change nothing (give its --seed to have them compared)")
            }
            return try input { try Trainer.resume(directory: output, datasets: datasets, options: given, pool: pool) }
        }
        let options = training.options(seed: seed ?? UInt64.random(in: 10_000_000...99_999_999))
        let source = try source(directory, tokenizer, seed: options.seed)
        let datasets = try data.datasets(tokenizer, seed: options.seed)
        return try input {
            try Trainer(
                model: source, datasets: datasets, options: options, lineByLine: datasets.areLineByLine(otherwise: data.lineByLine), pool: pool)
        }
    }

    private func source(_ directory: ModelDirectory?, _ tokenizer: Tokenizer, seed: UInt64) throws -> Trainer.Source {
        if let directory {
            if modelConfig != nil { throw CommandFailure.usage("--model and --model-config exclude each other") }
            return .directory(directory)
        }
        guard let config = modelConfig else {
            throw CommandFailure.usage("name a base with --model DIR, or --model-config to train from scratch")
        }
        let named = try input { try ModelConfig.named(config) ?? ModelConfig.read(config) }
        return .fresh(named, tokenizer, seed: seed)
    }

    /// Runs what depends on files and flags: its errors are the user's to mend.
    private func input<Result>(_ body: () throws -> Result) throws -> Result {
        do {
            return try body()
        } catch let failure as CommandFailure {
            throw failure
        } catch { throw CommandFailure.usage("\(error)") }
    }
}
