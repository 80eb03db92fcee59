import Encodings
import Generation
import Glibc
import LanguageModels
import Synchronization
import Training

/// The loop of `train`, and what is printed of it.
struct TrainingRun {
    let loop: TrainingLoop
    let json: Bool
    private var saved: SavedCheckpoint?
    private var trainer: Trainer { loop.trainer }

    init(_ loop: TrainingLoop, json: Bool) {
        self.loop = loop
        self.json = json
    }

    /// Trains to the last step. At SIGINT or SIGTERM it saves the state and ends the process with 130 or 143; a second one ends it at once.
    mutating func train() throws {
        var bar = ProgressBar(total: trainer.totalSteps, label: "training")
        defer { bar.finish() }
        if !json { print("seed \(trainer.options.seed), \(trainer.description.parameterCount) parameters, blocks of \(trainer.blockSize)") }
        Interruption.watch()
        var signal: Int32?
        do {
            saved = try loop.run(
                each: { step in
                    bar.update(
                        step.step, note: "loss \(rounded(step.loss))  average \(rounded(step.averageLoss))  \(Int(step.tokensPerSecond)) tok/s")
                    if json {
                        printLine(step)
                        OutputStream.flush()
                    }
                },
                sample: { sample in
                    bar.finish()
                    printSample(sample)
                },
                isStopped: {
                    signal = Interruption.first
                    return signal != nil
                })
        } catch { throw CommandFailure.failed("\(error)") }
        if let signal { stop(signal) }
    }

    private func stop(_ number: Int32) -> Never {
        let text = "stopped at step \(trainer.stepsDone) of \(trainer.totalSteps), saved in \(loop.output): go on with --resume\n"
        fflush(nil)
        _ = text.utf8CString.withUnsafeBufferPointer { write(STDERR_FILENO, $0.baseAddress, $0.count - 1) }
        Program.leave(128 + number)
    }

    private func printSample(_ sample: GeneratedSample) {
        if json {
            printLine(["step": .integer(Int64(trainer.stepsDone)), "sample": .integer(Int64(sample.sample)), "text": .string(sample.text)])
        } else {
            print(String(repeating: "=", count: 10) + " step \(trainer.stepsDone)\n\(sample.text)")
        }
    }

    /// Puts the merged model in the checkpoint's place.
    mutating func merge() throws {
        do { saved = try trainer.mergeCheckpoint(directory: loop.output) } catch { throw CommandFailure.failed("\(error)") }
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
