import Encodings
import FoundationEssentials
import TestSupport
import Testing
import Tokenizers

@Suite("Cases that Hugging Face's tokenizers made")
struct ReferenceCasesTests {
    /// One text of a case file.
    struct Case {
        let text: String
        let ids: [Int32]
        let decoded: String?
    }

    static func cases(_ bytes: [UInt8]) throws -> [Case] {
        let list = try #require(try JSONValue.parse(bytes).arrayValue)
        return try list.map { item in
            Case(
                text: try #require(item["text"]?.stringValue), ids: try #require(item["ids"]?.arrayValue).compactMap { $0.intValue.map(Int32.init) },
                decoded: item["decoded"]?.stringValue)
        }
    }

    @Test("every text of the reference set has the reference's ids and comes back as the reference's text")
    func referenceCases() throws {
        let cases = try Self.cases(Fixtures.bytes("tokenizer_cases.json"))
        #expect(!cases.isEmpty)
        for path in ["tokenizer.json", "vocab.json", "merges.txt", ""] {
            let tokenizer = try Tokenizer.load(path: Fixtures.reference + "/" + path)
            for item in cases {
                let ids = tokenizer.encode(item.text)
                #expect(ids == item.ids, "\(path): \(item.text.debugDescription)")
                #expect(tokenizer.decode(item.ids, skipSpecial: true) == item.decoded, "\(path): \(item.ids)")
            }
        }
    }

    @Test("the two forms of one tokenizer have one digest, and the reference's end token is found")
    func digests() throws {
        let whole = try Tokenizer.load(path: Fixtures.reference + "/tokenizer.json")
        let plain = try Tokenizer.load(path: Fixtures.reference + "/vocab.json")
        #expect(whole.digest == plain.digest)
        #expect(whole.digest.utf8.count == 64)
        #expect(whole.endOfTextID == 0)
        #expect(whole.isSpecial(0))
        #expect(!whole.isSpecial(1))
        #expect(whole.id(ofToken: "<|endoftext|>") == 0)
        #expect(whole.encode("a<|endoftext|>b").contains(0))
        #expect(!whole.encode("a<|endoftext|>b", recogniseSpecial: false).contains(0))
    }

    @Test(
        "GPT-2's own vocabulary gives GPT-2's ids (skipped where GPT2_TOKENIZER names no folder with it)",
        .enabled(if: ProcessInfo.processInfo.environment["GPT2_TOKENIZER"] != nil))
    func gpt2() throws {
        let folder = try #require(ProcessInfo.processInfo.environment["GPT2_TOKENIZER"])
        let tokenizer = try Tokenizer.load(path: folder)
        #expect(tokenizer.vocabularySize == 50257)
        #expect(tokenizer.endOfTextID == 50256)
        for item in try Self.cases([UInt8](Data(contentsOf: URL(filePath: folder + "/cases.json")))) {
            #expect(tokenizer.encode(item.text) == item.ids, "\(item.text.debugDescription)")
        }
    }

    @Test("training on the reference corpus gives the reference's files byte for byte")
    func trainsTheReference() throws {
        let reference = try Tokenizer.load(path: Fixtures.reference)
        var trainer = TokenizerTrainer(vocabularySize: reference.vocabularySize, minimumFrequency: 2)
        try trainer.feed(file: Fixtures.reference + "/corpus.txt")
        let trained = try trainer.train()
        #expect(trained.digest == reference.digest)
        let folder = try TemporaryDirectory()
        try trained.write(toDirectory: folder.path)
        for name in ["tokenizer.json", "vocab.json", "merges.txt"] {
            let written = [UInt8](try Data(contentsOf: URL(filePath: folder.path + "/" + name)))
            #expect(try written == Fixtures.bytes(name), "\(name)")
        }
    }

    @Test("text fed at once trains the same as the file")
    func feedsText() throws {
        let reference = try Tokenizer.load(path: Fixtures.reference)
        var trainer = TokenizerTrainer(vocabularySize: reference.vocabularySize)
        trainer.feed(text: String(decoding: try Fixtures.bytes("corpus.txt"), as: UTF8.self))
        #expect(try trainer.train().digest == reference.digest)
    }
}
