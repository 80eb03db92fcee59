package import Encodings
package import Kernels
package import Tokenizers

/// How fast tokenizers work here: learning a vocabulary, text to ids, and back; each some times over, the median reported.
///
/// Encoding and decoding take the text in as many parts as the pool has threads, cut at line ends. Learning runs on one.
package struct TokenizerBenchmark: Sendable {
    /// What was timed.
    package enum Pass: String, Sendable, CaseIterable { case train, encode, decode }

    package let pass: Pass
    /// Of the text.
    package let byteCount: Int
    /// The text in the tokenizer's ids: each pass of `encode` makes, and each of `decode` reads so many. Of `train`, the tokens of what was learnt.
    package let tokenCount: Int
    package let vocabularySize: Int
    package let threads: Int
    package let instructionSet: String
    /// Each pass, the fastest first.
    package let times: [Double]
    /// Whether the ids gave the text back, byte for byte.
    package let isExact: Bool

    package var medianSeconds: Double { times[times.count / 2] }
    package var bytesPerSecond: Double { Double(byteCount) / medianSeconds }
    /// Nothing is written or read in tokens while a vocabulary is learnt.
    package var tokensPerSecond: Double? { pass == .train ? nil : Double(tokenCount) / medianSeconds }

    /// Measures all passes; one more of each goes before to warm up.
    /// - Parameters:
    ///   - text: UTF-8, not empty.
    ///   - tokenizer: what to encode with; nil takes the one that was learnt.
    ///   - vocabularySize: how many tokens are learnt at most.
    ///   - repetitions: passes to time, at least one.
    ///   - report: is given each result as soon as it is there.
    /// - Throws: `TokenizerError` where what was learnt is no tokenizer.
    package static func run(
        _ text: [UInt8], tokenizer given: Tokenizer?, vocabularySize: Int = 1000, repetitions: Int = 5, pool: ThreadPool,
        report: (TokenizerBenchmark) -> Void
    ) throws(TokenizerError) {
        var learnt: Tokenizer?
        var times: [Double] = []
        for _ in 0...repetitions {
            times.append(
                try time { () throws(TokenizerError) in
                    var trainer = TokenizerTrainer(vocabularySize: vocabularySize)
                    for line in lines(of: text) { text[line].withUnsafeBufferPointer { trainer.feed(sequence: $0) } }
                    learnt = try trainer.train()
                })
        }
        guard let tokenizer = given ?? learnt else { return }
        let parts = parts(of: text, count: pool.threadCount)
        var ids = [[Int32]](repeating: [], count: parts.count)
        var encodeTimes: [Double] = []
        for _ in 0...repetitions { encodeTimes.append(encode(text, parts, tokenizer, pool, &ids)) }
        let count = ids.reduce(0) { $0 + $1.count }
        var decodeTimes: [Double] = []
        var decoded = [[UInt8]](repeating: [], count: parts.count)
        for _ in 0...repetitions { decodeTimes.append(decode(ids, tokenizer, pool, &decoded)) }
        let isExact = Array(decoded.joined()) == text
        for (pass, all) in [(Pass.train, times), (.encode, encodeTimes), (.decode, decodeTimes)] {
            let isTraining = pass == .train
            report(
                TokenizerBenchmark(
                    pass: pass, byteCount: text.count, tokenCount: count,
                    vocabularySize: isTraining ? learnt?.vocabularySize ?? 0 : tokenizer.vocabularySize, threads: isTraining ? 1 : pool.threadCount,
                    instructionSet: pool.instructionSet.rawValue, times: all.dropFirst().sorted(), isExact: isExact))
        }
    }

    private static func encode(
        _ text: [UInt8], _ parts: [Range<Int>], _ tokenizer: Tokenizer, _ pool: ThreadPool, _ ids: inout [[Int32]]
    ) -> Double {
        text.withUnsafeBytes { bytes in
            ids.withUnsafeMutableBufferPointer { ids in
                for place in ids.indices { ids[place].removeAll(keepingCapacity: true) }
                let ids = ids
                return time {
                    pool.run(parts: parts.count) { tokenizer.encode(utf8: UnsafeRawBufferPointer(rebasing: bytes[parts[$0]]), into: &ids[$0]) }
                }
            }
        }
    }

    private static func decode(_ ids: [[Int32]], _ tokenizer: Tokenizer, _ pool: ThreadPool, _ out: inout [[UInt8]]) -> Double {
        out.withUnsafeMutableBufferPointer { out in
            let out = out
            return time { pool.run(parts: ids.count) { out[$0] = tokenizer.decodedBytes(ids[$0], skipSpecial: false) } }
        }
    }

    private static func time<Failure>(_ body: () throws(Failure) -> Void) throws(Failure) -> Double {
        let clock = ContinuousClock()
        let start = clock.now
        try body()
        let parts = start.duration(to: clock.now).components
        return Double(parts.seconds) + Double(parts.attoseconds) * 1e-18
    }

    /// Lines with their ends.
    private static func lines(of text: [UInt8]) -> [Range<Int>] {
        var lines: [Range<Int>] = []
        var start = 0
        while start < text.count {
            let end = text[start...].firstIndex(of: UInt8(ascii: "\n")).map { $0 + 1 } ?? text.count
            lines.append(start..<end)
            start = end
        }
        return lines
    }

    /// The text in parts of whole lines, about equally long; fewer where there are not so many lines.
    static func parts(of text: [UInt8], count: Int) -> [Range<Int>] {
        var parts: [Range<Int>] = []
        var start = 0
        for part in 1...count {
            let wanted = max(start, text.count * part / count)
            let end = part == count ? text.count : text[wanted...].firstIndex(of: UInt8(ascii: "\n")).map { $0 + 1 } ?? text.count
            if end > start { parts.append(start..<end) }
            start = end
        }
        return parts
    }

    /// One line of `bench tokenizer --json`.
    package var json: JSONObject {
        [
            "bench": .string("tokenizer"), "pass": .string(pass.rawValue), "bytes": .integer(Int64(byteCount)),
            "tokens": pass == .train ? .null : .integer(Int64(tokenCount)), "vocabulary": .integer(Int64(vocabularySize)), "batch": .integer(1),
            "precision": .null, "threads": .integer(Int64(threads)), "instruction_set": .string(instructionSet),
            "repetitions": .integer(Int64(times.count)), "bytes_per_second": .real(bytesPerSecond.rounded()),
            "tokens_per_second": tokensPerSecond.map { .real($0.rounded()) } ?? .null, "seconds": .real(medianSeconds),
            "fastest_seconds": .real(times[0]), "slowest_seconds": .real(times[times.count - 1]), "exact": .bool(isExact),
        ]
    }
}
