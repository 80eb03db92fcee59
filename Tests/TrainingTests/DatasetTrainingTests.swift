import Datasets
import Encodings
import Kernels
import LanguageModels
import ModelFiles
import TestSupport
import Testing
import Tokenizers
import Training

/// The whole of a real run in small: corpus, tokenizer, blocks, checkpoint, and the language model that reads it.
@Suite("Training on a corpus")
struct DatasetTrainingTests {
    let temporary: TemporaryDirectory
    let tokenizer: Tokenizer
    let dataset: TokenDataset

    init() throws {
        temporary = try TemporaryDirectory()
        tokenizer = try Tokenizer.load(path: Fixtures.reference)
        dataset = try TokenDataset.encode(files: [Fixtures.reference + "/corpus.txt"], tokenizer: tokenizer)
    }

    private func trainer(steps: Int) throws -> Trainer {
        let named = TinyRun.config(width: 32, positions: 32)
        let config = ModelConfig.fitted(named, vocabularySize: tokenizer.vocabularySize, endOfText: tokenizer.endOfTextID)
        var options = TrainingOptions(seed: 77)
        (options.numSteps, options.batchSize, options.gradientAccumulationSteps, options.learningRate) = (steps, 4, 2, 3e-3)
        return try Trainer(model: .scratch(config: config, seed: 77), dataset: dataset, options: options, pool: ThreadPool(threads: 2))
    }

    @Test("the loss falls, and a killed run that resumes ends with the same files")
    func corpus() throws {
        let whole = try trainer(steps: 40)
        var losses: [Double] = []
        for _ in 0..<40 { losses.append(try whole.step().loss) }
        #expect(losses[39] < losses[0] - 0.3)
        let expected = try whole.saveCheckpoint(directory: temporary.path + "/whole", tokenizer: tokenizer)

        let killed = try trainer(steps: 40)
        for _ in 0..<13 { _ = try killed.step() }
        try killed.saveCheckpoint(directory: temporary.path + "/run", tokenizer: tokenizer)
        for _ in 0..<5 { _ = try killed.step() }  // steps after the checkpoint are lost and made again
        let resumed = try Trainer.resume(directory: temporary.path + "/run", dataset: dataset, pool: ThreadPool(threads: 1))
        for index in 13..<40 { #expect(try resumed.step().loss == losses[index]) }
        let saved = try resumed.saveCheckpoint(directory: temporary.path + "/run", tokenizer: tokenizer)
        #expect(saved.sha256 == expected.sha256)
        #expect(
            try SHA256Digest.hex(ofFile: temporary.path + "/run/resume.safetensors")
                == SHA256Digest.hex(ofFile: temporary.path + "/whole/resume.safetensors"))
        #expect(throws: TrainingError.self) {
            let other = try TokenDataset.encode(
                texts: ["something else, long enough for a block or two of tokens, one hopes, and then some"], tokenizer: tokenizer)
            return try Trainer.resume(directory: temporary.path + "/run", dataset: other, pool: ThreadPool(threads: 1))
        }
    }

    @Test("the language model loads the checkpoint under the same digest, with its tokenizer")
    func loads() throws {
        let run = try trainer(steps: 2)
        _ = try run.step()
        let saved = try run.saveCheckpoint(directory: temporary.path + "/model", tokenizer: tokenizer)
        let directory = try ModelDirectory.open(saved.path)
        let model = try LanguageModel.load(directory, pool: ThreadPool(threads: 1))
        #expect(model.checkpointSHA256 == saved.sha256)
        #expect(try Tokenizer.load(path: #require(directory.tokenizerPath)).digest == tokenizer.digest)
    }

    @Test("a dataset no longer than a block is refused, and so is one of a larger vocabulary")
    func refusals() throws {
        let short = try TokenDataset.encode(texts: ["a"], tokenizer: tokenizer)
        #expect(throws: TrainingError.self) {
            try Trainer(
                model: .scratch(config: TinyRun.config(), seed: 1), dataset: short, options: TrainingOptions(seed: 1), pool: ThreadPool(threads: 1))
        }
        #expect(throws: TrainingError.tokenOutOfRange(token: dataset.largestToken, vocabularySize: 23)) {
            try Trainer(
                model: .scratch(config: TinyRun.config(), seed: 1), dataset: dataset, options: TrainingOptions(seed: 1), pool: ThreadPool(threads: 1))
        }
    }
}
