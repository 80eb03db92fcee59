package import Encodings
package import Kernels
import LanguageModels
import ModelFiles

/// How fast training is here: steps on random tokens, each timed, the median reported.
package struct TrainingBenchmark: Sendable {
    /// The cases of performance.md: a named config, blocks in a batch, tokens in a block, steps to time.
    package struct Case: Sendable, Equatable {
        package let config: String
        package let batchSize: Int
        package let blockSize: Int
        package let steps: Int

        package init(config: String, batchSize: Int, blockSize: Int, steps: Int) {
            self.config = config
            self.batchSize = batchSize
            self.blockSize = blockSize
            self.steps = steps
        }
    }

    /// What `bench train` measures unless told otherwise.
    package static let cases = [
        Case(config: "gpt2-cpu", batchSize: 8, blockSize: 64, steps: 100), Case(config: "gpt2-cpu", batchSize: 1, blockSize: 64, steps: 200),
        Case(config: "gpt2", batchSize: 4, blockSize: 64, steps: 5),
    ]

    package let measured: Case
    package let precision: TrainingPrecision
    package let threads: Int
    package let instructionSet: String
    /// Of the median step, its fastest and its slowest.
    package let medianSeconds: Double
    package let fastestSeconds: Double
    package let slowestSeconds: Double

    /// Tokens of a step by the median time.
    package var tokensPerSecond: Double { Double(measured.batchSize * measured.blockSize) / medianSeconds }

    /// Trains a fresh model for some steps; two more go before to warm up.
    /// - Throws: `TrainingError`, also where the config has no such name.
    package static func run(_ measured: Case, precision: TrainingPrecision = .float32, pool: ThreadPool) throws(TrainingError) -> TrainingBenchmark {
        guard let config = ModelConfig.named(measured.config) else {
            throw .option(name: "config", message: "must be one of \(ModelConfig.names.joined(separator: ", ")), not \(measured.config)")
        }
        var options = TrainingOptions(seed: 1)
        (options.batchSize, options.blockSize, options.numSteps) = (measured.batchSize, measured.blockSize, measured.steps + 2)
        options.precision = precision
        let trainer = try Trainer(model: .scratch(config: config, seed: 1), dataset: nil, options: options, pool: pool)
        var state: UInt32 = 1
        var times: [Double] = []
        for step in 0..<measured.steps + 2 {
            let rows = (0..<measured.batchSize).map { _ in
                (0..<measured.blockSize).map { _ in
                    state = state &* 1_664_525 &+ 1_013_904_223
                    return Int32((UInt64(state) * UInt64(trainer.description.vocabularySize)) >> 32)
                }
            }
            let begin = monotonicSeconds()
            _ = try trainer.trainBatch(rows: rows)
            if step >= 2 { times.append(monotonicSeconds() - begin) }
        }
        times.sort()
        return TrainingBenchmark(
            measured: measured, precision: precision, threads: pool.threadCount, instructionSet: pool.instructionSet.rawValue,
            medianSeconds: times[times.count / 2],
            fastestSeconds: times[0], slowestSeconds: times[times.count - 1])
    }

    /// One line of `bench train --json`.
    package var json: JSONObject {
        [
            "bench": .string("train"), "config": .string(measured.config), "batch": .integer(Int64(measured.batchSize)),
            "block_size": .integer(Int64(measured.blockSize)), "steps": .integer(Int64(measured.steps)), "precision": .string(precision.rawValue),
            "threads": .integer(Int64(threads)), "instruction_set": .string(instructionSet),
            "tokens_per_second": .real((tokensPerSecond * 10).rounded() / 10), "step_ms": .real((medianSeconds * 1e5).rounded() / 100),
            "fastest_ms": .real((fastestSeconds * 1e5).rounded() / 100), "slowest_ms": .real((slowestSeconds * 1e5).rounded() / 100),
        ]
    }
}
