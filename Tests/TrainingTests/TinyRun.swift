import Datasets
import Encodings
import Kernels
import LanguageModels
import ModelFiles
import TestSupport
import Training

/// A tiny model and batches drawn from a seed.
enum TinyRun {
    static func config(activation: String = "gelu_new", tied: Bool = true, vocabulary: Int = 23, width: Int = 12, layers: Int = 2, positions: Int = 8)
        -> JSONObject
    {
        var config = ModelConfig.gpt2(
            vocabulary: vocabulary, positions: positions, width: width, layers: layers, heads: 2, dropout: 0, endOfText: 0)
        config["activation_function"] = .string(activation)
        config["tie_word_embeddings"] = .bool(tied)
        config["initializer_range"] = .real(0.3)
        config["scale_attn_by_inverse_layer_idx"] = .bool(!tied)
        return config
    }

    static func rows(_ count: Int, length: Int, vocabulary: Int, seed: UInt64) -> [[Int32]] {
        var generator = SeededGenerator(seed: seed)
        return (0..<count).map { _ in (0..<length).map { _ in Int32.random(in: 0..<Int32(vocabulary), using: &generator) } }
    }

    /// Random tokens as a dataset.
    static func dataset(tokens: Int, vocabulary: Int = 23, seed: UInt64) -> TokenDataset {
        TokenDataset(tokens: rows(1, length: tokens, vocabulary: vocabulary, seed: seed)[0], vocabularySize: vocabulary)
    }

    /// A trainer of the tiny model that is fed by hand.
    static func trainer(
        _ config: JSONObject = config(), threads: Int = 2, seed: UInt64 = 5, instructionSet: InstructionSet = .current,
        _ change: (inout TrainingOptions) -> Void = { _ in }
    ) throws -> Trainer {
        var options = TrainingOptions(seed: seed)
        options.batchSize = 3
        options.numSteps = 20
        change(&options)
        let pool = ThreadPool(threads: threads, instructionSet: instructionSet)
        return try Trainer(model: .scratch(config: config, seed: seed), dataset: nil, options: options, pool: pool)
    }

    /// Runs steps `range` of a fixed sequence of batches.
    @discardableResult
    static func run(_ trainer: Trainer, steps range: Range<Int>) throws -> [TrainingStep] {
        let count = trainer.options.batchSize * trainer.options.gradientAccumulationSteps
        return try range.map { step in
            try trainer.trainBatch(
                rows: rows(count, length: trainer.blockSize, vocabulary: trainer.description.vocabularySize, seed: UInt64(1000 + step)))
        }
    }

    /// Every bit of every weight.
    static func bits(_ trainer: Trainer) -> [[UInt32]] {
        trainer.parameterNames.map { trainer.weights(of: $0)?.map(\.bitPattern) ?? [] }
    }
}
