import Encodings
import FoundationEssentials
import TestSupport
import Testing
import Tokenizers

@Suite("Damaged tokenizers")
struct FuzzTests {
    private let folder: TemporaryDirectory
    private static let text = "the lantern's 12 <|endoftext|> é中\u{0}  \n\nabc"

    init() throws { folder = try TemporaryDirectory() }

    private func save(_ bytes: [UInt8], _ name: String) throws { try Data(bytes).write(to: URL(filePath: folder.path + "/" + name)) }

    /// Whether the tokenizer is taken; one that is must encode and decode whatever it made of itself.
    private func accepts(_ name: String) -> Bool {
        do throws(TokenizerError) {
            let tokenizer = try Tokenizer.load(path: folder.path + "/" + name)
            let ids = tokenizer.encode(Self.text)
            #expect(ids.allSatisfy { $0 >= 0 && $0 < tokenizer.vocabularySize })
            _ = tokenizer.decode(ids, skipSpecial: true)
            _ = tokenizer.decode((-2..<40).map { Int32($0) } + [.max, .min], skipSpecial: false)
            return true
        } catch {
            #expect(error.description.contains(folder.path), "\(error)")
            return false
        }
    }

    private static let words = [
        "\"add_prefix_space\":true", "\"use_regex\":false", "\"ignore_merges\":true", "\"byte_fallback\":true", "\"unk_token\":\"a\"",
        "\"continuing_subword_prefix\":\"##\"", "\"end_of_word_suffix\":\"a\"", "\"fuse_unk\":true", "{\"id\":4194303,\"content\":\"b\"}",
        "{\"id\":7,\"content\":\"abc\",\"lstrip\":true,\"rstrip\":true,\"single_word\":true}", "[\"a\",\"b\"]", "\"a b\"", "\\u0120", "\\ud800",
    ]

    @Test("tokenizer.json: damaged files are refused or read, within bounds")
    func document() throws {
        let samples = [
            LoadingTests.sample().serialised, LoadingTests.sample("model/merges", ["a b", "ab c"]).serialised, try Fixtures.bytes("tokenizer.json"),
        ]
        let report = try Fuzz("tokenizer", seed: 51, rounds: 2500, words: Self.words).run(samples) { bytes in
            try save(bytes, "tokenizer.json")
            return accepts("tokenizer.json")
        }
        #expect(report.isBounded && report.accepted < report.rounds, "\(report)")
    }

    @Test(
        "vocabulary and merges in two files: damage in either is refused or read, within bounds",
        arguments: [
            ("vocab.json", "merges.txt", true), ("vocab.json", "merges.txt", false), ("encoder.json", "vocab.bpe", true),
            ("encoder.json", "vocab.bpe", false),
        ])
    func pair(vocabulary: String, merges: String, damagesMerges: Bool) throws {
        let (left, right) = (try Fixtures.bytes("vocab.json"), try Fixtures.bytes("merges.txt"))
        try save(left, vocabulary)
        try save(right, merges)
        let report = try Fuzz("vocabulary", seed: 52, rounds: 700, words: ["#version: 0.2\n", " ", "\n", "Ġ t\n", "\"Ġt\": 300,"])
            .run([damagesMerges ? right : left]) { bytes in
                try save(bytes, damagesMerges ? merges : vocabulary)
                return accepts(vocabulary)
            }
        #expect(report.isBounded && report.accepted < report.rounds, "\(report)")
    }

    @Test("a hundred thousand added tokens are read without comparing each with each")
    func manyAddedTokens() throws {
        let tokens = (0..<100_000).map { #"{"id":\#($0 + 10),"content":"<\#($0)>","special":true}"# }.joined(separator: ",")
        let whole = String(decoding: LoadingTests.sample("added_tokens", []).serialised, as: UTF8.self)
        let mark = "\"added_tokens\":["
        let place = try #require(whole.firstRange(of: mark)?.upperBound)
        try save(Array((whole[..<place] + tokens + whole[place...]).utf8), "tokenizer.json")
        let tokenizer = try Tokenizer.load(path: folder.path + "/tokenizer.json")
        #expect(tokenizer.vocabularySize == 100_010 && tokenizer.encode("a<99999>b") == [1, 100_009, 2])
    }
}
