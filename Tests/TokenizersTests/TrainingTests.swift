import Encodings
import FoundationEssentials
import TestSupport
import Testing
import Tokenizers

@Suite("Training against Hugging Face's tokenizers")
struct TrainingTests {
    /// One corpus and what tokenizers learned from it (Tests/Reference/make_trainings.py).
    private struct Case {
        let text: String
        let vocabularySize: Int
        let minimumFrequency: Int
        let merges: [String]
    }

    private func cases() throws -> [Case] {
        let bytes = [UInt8](try Data(contentsOf: URL(filePath: Fixtures.tests + "/Fixtures/files/trainings.json")))
        return try #require(try JSONValue.parse(bytes).arrayValue).map { item in
            Case(
                text: try #require(item["text"]?.stringValue), vocabularySize: Int(try #require(item["vocabulary_size"]?.intValue)),
                minimumFrequency: Int(try #require(item["minimum_frequency"]?.intValue)),
                merges: try #require(item["merges"]?.arrayValue).compactMap(\.stringValue))
        }
    }

    @Test("corpora full of ties give the same merges in the same order")
    func ties() throws {
        let (cases, folder) = (try cases(), try TemporaryDirectory())
        #expect(cases.count > 100)
        for (number, item) in cases.enumerated() {
            var trainer = TokenizerTrainer(vocabularySize: item.vocabularySize, minimumFrequency: item.minimumFrequency)
            trainer.feed(text: item.text)
            try trainer.train().write(toDirectory: folder.path)
            let written = String(decoding: try Data(contentsOf: URL(filePath: folder.path + "/merges.txt")), as: UTF8.self)
            let merges = written.split(separator: "\n").dropFirst().map(String.init)
            #expect(merges == item.merges, "corpus \(number)")
        }
    }

    @Test("OpenAI's two files and transformers' two files are one tokenizer")
    func names() throws {
        let folder = try TemporaryDirectory()
        for (name, original) in [("encoder.json", "vocab.json"), ("vocab.bpe", "merges.txt")] {
            try Data(Fixtures.bytes(original)).write(to: URL(filePath: folder.path + "/" + name))
        }
        let reference = try Tokenizer.load(path: Fixtures.reference + "/vocab.json")
        for path in ["", "/encoder.json", "/vocab.bpe"] { #expect(try Tokenizer.load(path: folder.path + path).digest == reference.digest) }
        #expect(try Tokenizer.load(path: Fixtures.reference + "/gpt2-tensorflow").digest == reference.digest)
    }
}
