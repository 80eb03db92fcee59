import Encodings
import Glibc
import Kernels
import LanguageModels
import Synchronization
import TaskProtocol
import Tokenizers
import Training
import Worker

/// The loop of `train`: steps, checkpoints and samples on schedule, and what is printed of them.
struct TrainingRun {
    let trainer: Trainer
    let tokenizer: Tokenizer
    let pool: ThreadPool
    let output: String
    /// What an adapter's config says of its base.
    let baseName: String?
    /// 0: at the end only.
    let saveEvery: Int
    /// 0: never.
    let generateEvery: Int
    let samples: Int
    let json: Bool
    private var saved: SavedCheckpoint?

    init(
        trainer: Trainer, tokenizer: Tokenizer, pool: ThreadPool, output: String, baseName: String?, saveEvery: Int, generateEvery: Int, samples: Int,
        json: Bool
    ) {
        self.trainer = trainer
        self.tokenizer = tokenizer
        self.pool = pool
        self.output = output
        self.baseName = baseName
        self.saveEvery = saveEvery
        self.generateEvery = generateEvery
        self.samples = samples
        self.json = json
    }

    /// Trains to the last step. At SIGINT or SIGTERM it saves the state and ends the process with 130 or 143; a second one ends it at once.
    mutating func train() throws {
        var bar = ProgressBar(total: trainer.totalSteps, label: "training")
        defer { bar.finish() }
        if !json { print("seed \(trainer.options.seed), \(trainer.description.parameterCount) parameters, blocks of \(trainer.blockSize)") }
        Interruption.watch()
        do {
            while trainer.stepsDone < trainer.totalSteps {
                let step = try trainer.step()
                bar.update(step.step, note: "loss \(rounded(step.loss))  average \(rounded(step.averageLoss))  \(Int(step.tokensPerSecond)) tok/s")
                if json {
                    printLine(step)
                    OutputStream.flush()
                }
                saved = nil
                if saveEvery > 0, step.step % saveEvery == 0 { try save() }
                if generateEvery > 0, step.step % generateEvery == 0 {
                    bar.finish()
                    try sample()
                }
                if let number = Interruption.first { try stop(number) }
            }
            if saved == nil { try save() }
        } catch { throw CommandFailure.failed("\(error)") }
    }

    private mutating func save() throws {
        saved = try trainer.saveCheckpoint(directory: output, tokenizer: tokenizer, baseName: baseName)
    }

    private mutating func stop(_ number: Int32) throws {
        if saved == nil { try save() }
        let text = "stopped at step \(trainer.stepsDone) of \(trainer.totalSteps), saved in \(output): go on with --resume\n"
        fflush(nil)
        _ = text.utf8CString.withUnsafeBufferPointer { write(STDERR_FILENO, $0.baseAddress, $0.count - 1) }
        exit(128 + number)
    }

    private func sample() throws {
        let run = try SamplingRun(trainer: trainer, tokenizer: tokenizer, count: samples, folder: output + ".sampling", pool: pool)
        while !run.isDone {
            for case .sample(let sample, _, _, let text, _, _) in run.step(atStep: trainer.stepsDone) {
                if json {
                    printLine(["step": .integer(Int64(trainer.stepsDone)), "sample": .integer(Int64(sample)), "text": .string(text)])
                } else {
                    print(String(repeating: "=", count: 10) + " step \(trainer.stepsDone)\n\(text)")
                }
            }
        }
    }

    /// Puts the merged model in the checkpoint's place.
    mutating func merge() throws {
        do { saved = try trainer.mergeCheckpoint(directory: output) } catch { throw CommandFailure.failed("\(error)") }
    }

    /// What was made, as the last line.
    func report() {
        guard let saved else { return }
        guard json else {
            print("\(saved.path): step \(saved.step), average loss \(rounded(trainer.averageLoss ?? 0)), checkpoint \(saved.sha256)")
            return
        }
        printLine([
            "output": .string(saved.path), "steps": .integer(Int64(saved.step)), "average_loss": trainer.averageLoss.map { .real($0) } ?? .null,
            "sha256": .string(saved.sha256), "bytes": .integer(Int64(saved.byteCount)), "seed": .string(String(trainer.options.seed)),
        ])
    }

    private func printLine(_ step: TrainingStep) {
        printLine([
            "step": .integer(Int64(step.step)), "loss": .real(step.loss), "average_loss": .real(step.averageLoss),
            "learning_rate": .real(step.learningRate), "grad_norm": .real(step.gradientNorm), "tokens_per_second": .real(step.tokensPerSecond),
        ])
    }

    private func printLine(_ line: JSONObject) { print(String(decoding: JSONValue.object(line).serialised, as: UTF8.self)) }

    private func rounded(_ value: Double) -> String { String((value * 1000).rounded() / 1000) }
}

/// The first signal that asks a running command to end; the second ends the process at once.
private enum Interruption {
    private static let number = Atomic<Int32>(0)

    static func watch() {
        for wanted in [SIGINT, SIGTERM] {
            signal(wanted) { number in
                if Interruption.number.exchange(number, ordering: .sequentiallyConsistent) != 0 { _exit(128 + number) }
            }
        }
    }

    static var first: Int32? {
        let value = number.load(ordering: .sequentiallyConsistent)
        return value == 0 ? nil : value
    }
}
