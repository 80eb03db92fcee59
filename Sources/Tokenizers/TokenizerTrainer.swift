import Encodings

/// Learns a byte-level BPE vocabulary from text: the same tokens and merges as `ByteLevelBPETokenizer.train` of Hugging Face's `tokenizers`.
///
/// ```swift
/// var trainer = TokenizerTrainer(vocabularySize: 1000)
/// try trainer.feed(file: "corpus.txt")
/// let tokenizer = try trainer.train()
/// ```
/// Ids are `<|endoftext|>`, the 256 characters of the byte alphabet by code point, then merges. Each sequence fed is cut into pieces by
/// itself; pieces are counted, so memory grows with the distinct words, not with the text. Merging costs about O(pairs changed · log pairs).
///
/// Source: Sennrich et al. 2016; the laziness of `BpeTrainer::do_train` in `tokenizers` 0.23 is copied, since it decides which of
/// two equally frequent merges comes first.
package struct TokenizerTrainer {
    private let vocabularySize: Int
    private let minimumFrequency: Int
    private let preTokenizer = PreTokenizer()
    private var words = ByteStringTable(minimumCapacity: 1 << 14)
    private var counts: [Int64] = []

    /// - Parameters:
    ///   - vocabularySize: how many tokens there shall be at most; below 257 there are 257, since the bytes always have theirs.
    ///   - minimumFrequency: a pair seen less often is not merged.
    package init(vocabularySize: Int = 1000, minimumFrequency: Int = 2) {
        self.vocabularySize = vocabularySize
        self.minimumFrequency = minimumFrequency
    }

    /// Counts one sequence, commonly a line with its end: no merge spans two of them.
    package mutating func feed(sequence: UnsafeBufferPointer<UInt8>) {
        guard let base = sequence.baseAddress else { return }
        var start = 0
        while start < sequence.count {
            let end = preTokenizer.pieceEnd(base, start, sequence.count)
            let (index, isNew) = words.insert(UnsafeBufferPointer(start: base + start, count: end - start))
            if isNew { counts.append(1) } else { counts[index] += 1 }
            start = end
        }
    }

    /// Counts a text line by line, line ends kept.
    package mutating func feed(text: String) {
        var text = text
        text.withUTF8 { bytes in
            var start = 0
            while start < bytes.count {
                let end = bytes[start...].firstIndex(of: 0x0A).map { $0 + 1 } ?? bytes.count
                feed(sequence: UnsafeBufferPointer(rebasing: bytes[start..<end]))
                start = end
            }
        }
    }

    /// Counts a file line by line, line ends kept.
    /// - Parameter progress: is told now and then, after a few MB at the latest, how many bytes of how many were read; what it throws ends the counting.
    package mutating func feed(
        file path: String, progress: (_ done: Int, _ total: Int) throws(TokenizerError) -> Void = { _, _ in }
    ) throws(TokenizerError) {
        var reader = try open(path)
        var said = 0
        while true {
            var isValid = true
            do throws(LineReader.Failure) {
                let line: Void? = try reader.next { line in
                    isValid = UTF8Scanner.firstInvalid(line) == nil
                    if isValid { feed(sequence: line) }
                }
                if line == nil { return }
            } catch { throw .unreadable(file: path, reason: error.reason) }
            guard isValid else { throw .notUTF8(file: path, line: reader.line) }
            if reader.line & 0xFFF == 0 || reader.offset - said >= Self.longestSilence {
                said = reader.offset
                try progress(said, reader.byteCount)
            }
        }
    }

    private static let longestSilence = 4 << 20

    private func open(_ path: String) throws(TokenizerError) -> LineReader {
        do throws(LineReader.Failure) { return try LineReader(path: path) } catch { throw .unreadable(file: path, reason: error.reason) }
    }

    /// Learns the merges from what was fed.
    /// - Parameter progress: is told now and then how many tokens of how many there are.
    package func train(progress: (_ done: Int, _ total: Int) -> Void = { _, _ in }) throws(TokenizerError) -> Tokenizer {
        var spellings: [[UInt8]] = [Array("<|endoftext|>".utf8)]
        var idOfByte = [Int32](repeating: 0, count: 256)
        // By code point, which is not the order of the bytes.
        for byte in (0..<256).sorted(by: { ByteAlphabet.codes[$0] < ByteAlphabet.codes[$1] }) {
            idOfByte[byte] = Int32(spellings.count)
            var spelling: [UInt8] = []
            ByteAlphabet.appendSpelling(of: UInt8(byte), to: &spelling)
            spellings.append(spelling)
        }
        var learner = MergeLearner(words: words, counts: counts, idOfByte: idOfByte, spellings: spellings)
        learner.learn(vocabularySize: vocabularySize, minimumFrequency: minimumFrequency, progress: progress)

        var builder = TokenizerBuilder(file: "the trained tokenizer", capacity: learner.spellings.count)
        for id in 0..<learner.spellings.count { try builder.addToken(learner.spellings.key(id), id: Int64(id)) }
        for merge in learner.merges { try builder.addMerge(learner.spellings.key(Int(merge.left)), learner.spellings.key(Int(merge.right))) }
        try builder.addAdded(AddedToken(id: 0, content: "<|endoftext|>"))
        return try builder.build()
    }
}
