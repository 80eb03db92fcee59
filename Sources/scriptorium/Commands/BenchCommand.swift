import ArgumentParser
import Encodings
import Generation
import Glibc
import Kernels
import LanguageModels
import ModelFiles
import Supervision
import Training

/// `scriptorium bench`: what this machine does, as JSON lines or a table.
struct BenchCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "bench", abstract: "Measure this machine: decode, prefill, verify, train, tokenizer, queue, claim.",
        discussion: "Figures of different machines, or of different hours of a shared one, do not compare: let runs alternate.",
        subcommands: [
            BenchDecodeCommand.self, BenchPrefillCommand.self, BenchVerifyCommand.self, BenchTrainCommand.self, BenchTokenizerCommand.self,
            BenchQueueCommand.self, BenchClaimCommand.self,
        ])
}

/// How the engine is measured.
struct BenchOptions: ParsableArguments {
    @Option(help: ArgumentHelp("Threads; default: one a processor.", valueName: "count"))
    var threads: Int?

    @Flag(help: "Print one JSON object a line.")
    var json = false

    func validate() throws {
        if let threads, !(1...1024).contains(threads) { throw ValidationError("--threads: \(threads) is not in 1 … 1024") }
    }

    /// The team of threads that is measured.
    /// - Throws: ``CommandFailure/usage(_:)`` where `SCRIPTORIUM_ISA` names what this processor lacks.
    func pool() throws -> ThreadPool {
        ThreadPool(threads: threads ?? sysconf(Int32(_SC_NPROCESSORS_ONLN)), instructionSet: try .chosen())
    }

    /// Prints one result.
    func show(_ object: [UInt8], _ line: String) {
        print(json ? String(decoding: object, as: UTF8.self) : line)
        fflush(nil)
    }
}

/// The model that is measured.
struct BenchModelOptions: ParsableArguments {
    @Option(help: ArgumentHelp("A Hugging Face directory.", valueName: "folder"))
    var model: String?

    @Option(help: "float32, bfloat16 or int8.")
    var precision = WeightPrecision.float32

    /// The directory's model, or one of GPT-2 124M's shape with random weights.
    /// - Throws: ``CommandFailure/usage(_:)`` where it cannot be loaded.
    func load(_ pool: ThreadPool) throws -> LanguageModel {
        do {
            guard let model else { return try EngineBenchmark.gpt2(precision: precision, pool: pool) }
            return try LanguageModel.load(ModelDirectory.open(model), precision: precision, pool: pool)
        } catch {
            throw CommandFailure.usage("\(error)")
        }
    }
}

struct BenchDecodeCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "decode", abstract: "New tokens a second after prompts of 32 tokens, by batch size (GPT-2 124M's shape unless --model).")

    @OptionGroup var measured: BenchModelOptions

    @Option(help: "Batch sizes, with commas.")
    var batch = "1,8,32"

    @Option(help: "New tokens a sequence.")
    var newTokens = 64

    @OptionGroup var options: BenchOptions

    func run() async throws {
        let command = self
        try await onThread(throwing: { try command.measure() })
    }

    private func measure() throws {
        let sizes = batch.split(separator: ",").map { Int($0) ?? 0 }
        guard !sizes.isEmpty, sizes.allSatisfy({ (1...1024).contains($0) }), (1...512).contains(newTokens) else {
            throw CommandFailure.usage("--batch takes numbers from 1 to 1024 with commas, --new-tokens one from 1 to 512")
        }
        let pool = try options.pool()
        let model = try measured.load(pool)
        for size in sizes {
            let result: EngineBenchmark.Result
            do {
                result = try EngineBenchmark.decode(model, pool: pool, batch: size, newTokens: newTokens)
            } catch {
                throw CommandFailure.failed("\(error)")
            }
            options.show(result.json, result.line)
        }
    }
}

struct BenchPrefillCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "prefill", abstract: "Prompt tokens a second of one prompt (GPT-2 124M's shape unless --model).")

    @OptionGroup var measured: BenchModelOptions

    @Option(help: "Tokens of the prompt; at most the context.")
    var tokens = 1024

    @OptionGroup var options: BenchOptions

    func run() async throws {
        let command = self
        try await onThread(throwing: { try command.measure() })
    }

    private func measure() throws {
        guard tokens >= 1 else { throw CommandFailure.usage("--tokens: \(tokens) is not above 0") }
        let pool = try options.pool()
        let model = try measured.load(pool)
        let result: EngineBenchmark.Result
        do {
            result = try EngineBenchmark.prefill(model, pool: pool, promptTokens: tokens)
        } catch {
            throw CommandFailure.failed("\(error)")
        }
        options.show(result.json, result.line)
    }
}

struct BenchTrainCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "train", abstract: "Training tokens a second: gpt2-cpu with 8 blocks of 64, and GPT-2 124M with 4 of 64.")

    @Option(help: "Only this config: gpt2-cpu or gpt2.")
    var modelConfig: String?

    @Option(help: "float32 or bfloat16.")
    var precision = TrainingPrecision.float32

    @OptionGroup var options: BenchOptions

    func run() async throws {
        let command = self
        try await onThread(throwing: { try command.measure() })
    }

    private func measure() throws {
        let cases = TrainingBenchmark.cases.filter { modelConfig == nil || $0.config == modelConfig }
        guard !cases.isEmpty else { throw CommandFailure.usage("--model-config: measured are gpt2-cpu and gpt2, not \(modelConfig ?? "")") }
        let pool = try options.pool()
        for item in cases {
            let result: TrainingBenchmark
            do {
                result = try TrainingBenchmark.run(item, precision: precision, pool: pool)
            } catch {
                throw CommandFailure.failed("\(error)")
            }
            let rate = Int(result.tokensPerSecond.rounded())
            options.show(
                JSONValue.object(result.json).serialised,
                "train    \(item.config), \(item.batchSize) × \(item.blockSize): \(rate) tokens/s "
                    + "(\(result.precision.rawValue), \(result.threads) threads, \(result.instructionSet))")
        }
    }
}

extension EngineBenchmark.Result {
    /// For a person.
    var line: String {
        let rate = tokensPerSecond >= 100 ? "\(Int(tokensPerSecond.rounded()))" : "\((tokensPerSecond * 10).rounded() / 10)"
        return "\(name)\(name.count < 8 ? String(repeating: " ", count: 8 - name.count) : "") batch \(batch): \(rate) tokens/s "
            + "(\(precision), \(threads) threads, \(instructionSet))"
    }
}

extension WeightPrecision: ExpressibleByArgument {}
