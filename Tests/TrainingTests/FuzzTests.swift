import DurableFiles
import FoundationEssentials
import Kernels
import TestSupport
import Testing
import Training

/// A run's state that nobody vouches for.
@Suite("Damaged resume states")
struct FuzzTests {
    let temporary: TemporaryDirectory

    init() throws { temporary = try TemporaryDirectory() }

    @Test("damaged states are refused or gone on from, within bounds", arguments: ["resume.json", "resume.safetensors"])
    func states(file: String) throws {
        let dataset = TinyRun.dataset(tokens: 200, seed: 4)
        var options = TrainingOptions(seed: 9)
        (options.numSteps, options.batchSize) = (6, 1)
        let pool = ThreadPool(threads: 1)
        let path = temporary.path + "/run"
        let begun = try Trainer(model: .scratch(config: TinyRun.config(), seed: 9), dataset: dataset, options: options, pool: pool)
        for _ in 0..<3 { _ = try begun.step() }
        try begun.saveCheckpoint(directory: path, tokenizer: nil)
        let whole = [UInt8](try Data(contentsOf: URL(filePath: path + "/" + file)))
        let words = [
            "\"step\":", "\"step\": 9223372036854775807", "\"blocks\": \"18446744073709551615\"", "\"num_steps\": 1", "\"average_loss\": 1e999",
            "\"batch_size\": 1000000000", "\"block_size\": 1000000", "\"data_offsets\":[0,0]", "\"dtype\":\"F16\"", "m.", "v.",
        ]
        let report = try Fuzz("resume-" + file, seed: 71, rounds: 600, words: words).run([whole]) { bytes in
            try DurableFile.write(bytes, to: path + "/" + file)
            do throws(TrainingError) {
                let trainer = try Trainer.resume(directory: path, dataset: dataset, pool: pool)
                // What is taken can be gone on with: to its end, or to an error that says what is wrong.
                if trainer.stepsDone < trainer.totalSteps { _ = try trainer.step() }
                return true
            } catch {
                #expect(!error.description.isEmpty)
                return false
            }
        }
        #expect(report.isBounded && report.accepted < report.rounds, "\(report)")
    }
}
