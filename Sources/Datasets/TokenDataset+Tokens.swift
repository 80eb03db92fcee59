extension TokenDataset {
    /// Tokens that somebody has already, as a dataset in memory; of no known tokenizer.
    /// - Parameter tokens: each in 0 ..< vocabularySize.
    package init(tokens: [Int32], vocabularySize: Int) {
        precondition(tokens.allSatisfy { $0 >= 0 && $0 < vocabularySize }, "a token outside the vocabulary of \(vocabularySize)")
        var storage = TokenStorage.empty(bytesPerToken: TokenStorage.bytesPerToken(vocabularySize: vocabularySize))
        tokens.withUnsafeBufferPointer { storage.append($0) }
        let (digest, largest) = storage.digestAndLargest()
        self.init(
            storage: storage, vocabularySize: vocabularySize, tokenizerDigest: nil, settings: DatasetSettings(), digest: digest, largestToken: largest
        )
    }
}
