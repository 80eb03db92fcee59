import Datasets
import Encodings
import Kernels
import Tokenizers
import Testing

@Suite struct TokenizerBenchmarkTests {
    @Test("the made-up text is the same each time, of whole lines, ASCII, and as long as asked for")
    func text() {
        var (one, two, other) = (BenchmarkText(), BenchmarkText(), BenchmarkText(seed: 2))
        let text = one.bytes(50_000)
        #expect(text == two.bytes(50_000) && text != other.bytes(50_000))
        #expect((50_000..<53_000).contains(text.count) && text.last == UInt8(ascii: "\n"))
        #expect(text.allSatisfy { $0 == UInt8(ascii: "\n") || (32..<127).contains($0) })
        // Frequent words are short, and there are many rare ones.
        let words = String(decoding: text, as: UTF8.self).split { !$0.isLetter }
        let counts = Dictionary(grouping: words, by: { $0 }).mapValues(\.count)
        #expect(counts.values.max() ?? 0 > words.count / 50 && counts.count > words.count / 8)
    }

    @Test("each pass is measured on the text and its ids, whatever the threads", arguments: [1, 2, 3])
    func passes(threads: Int) throws {
        var made = BenchmarkText()
        let text = made.bytes(20_000)
        var results: [TokenizerBenchmark] = []
        let pool = ThreadPool(threads: threads)
        try TokenizerBenchmark.run(text, tokenizer: nil, vocabularySize: 400, repetitions: 3, pool: pool) { results.append($0) }
        #expect(results.map(\.pass) == TokenizerBenchmark.Pass.allCases && results.map(\.threads) == [1, threads, threads])
        #expect(results.allSatisfy { $0.isExact && $0.byteCount == text.count && $0.vocabularySize == 400 && $0.times.count == 3 })
        var trainer = TokenizerTrainer(vocabularySize: 400)
        trainer.feed(text: String(decoding: text, as: UTF8.self))
        let count = try trainer.train().encode(String(decoding: text, as: UTF8.self)).count
        #expect(results[1].tokenCount == count && results[2].tokenCount == count)
        for result in results {
            #expect(result.times == result.times.sorted() && result.medianSeconds == result.times[1])
            let line = result.json
            #expect(line["bench"] == "tokenizer" && line["pass"] == .string(result.pass.rawValue) && line["threads"]?.intValue == result.threads)
            #expect((line["tokens_per_second"] == .null) == (result.pass == .train))
        }
    }

    @Test("a tokenizer that is given is used; a text of one line stays whole")
    func given() throws {
        var trainer = TokenizerTrainer(vocabularySize: 300)
        trainer.feed(text: "of the of the of the people")
        let tokenizer = try trainer.train()
        let words = "of the people, by the people"
        let text = Array(words.utf8)
        var results: [TokenizerBenchmark] = []
        try TokenizerBenchmark.run(text, tokenizer: tokenizer, repetitions: 1, pool: ThreadPool(threads: 4)) { results.append($0) }
        #expect(results[1].vocabularySize == tokenizer.vocabularySize && results[1].tokenCount == tokenizer.encode(words).count)
        #expect(results.allSatisfy { $0.isExact })
    }
}
