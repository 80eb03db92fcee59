import Datasets
import TestSupport
import Testing
import Tokenizers

@Suite("Damaged dataset caches")
struct FuzzTests {
    private let fixture: DatasetFixture
    private static let files = Fixtures.tests + "/Fixtures/files/"

    init() throws { fixture = try DatasetFixture() }

    private func fuzz(_ name: String, _ samples: [[UInt8]], seed: UInt64, words: [String]) throws {
        let report = try Fuzz(name, seed: seed, rounds: 2500, words: words).run(samples) { bytes in
            let path = try fixture.write(bytes, to: "damaged")
            do throws(DatasetError) {
                let dataset = try TokenDataset.load(path: path)
                #expect(tokens(dataset).allSatisfy { $0 >= 0 && Int($0) <= dataset.largestToken })
                return true
            } catch {
                #expect("\(error)".contains(path), "\(error)")
                return false
            }
        }
        #expect(report.isBounded && report.accepted < report.rounds, "\(report)")
    }

    @Test("MessagePack caches, plain and gzipped: damaged ones are refused or read, within bounds")
    func messagePack() throws {
        let dataset = try TokenDataset.encode(texts: ["the lantern carries", "the compass"], tokenizer: fixture.tokenizer)
        var samples: [[UInt8]] = []
        for compress in [false, true] {
            try dataset.save(to: fixture.path("whole"), compress: compress)
            samples.append(try fixture.read("whole"))
        }
        try fuzz("messagepack", samples, seed: 61, words: ["count", "chunk_tokens", "bytes_per_token", "scriptorium-tokens", "sha256"])
    }

    @Test("NumPy caches, plain and gzipped: damaged ones are refused or read, within bounds")
    func numpy() throws {
        let samples = try ["dataset_cache.tar.gz", "dataset_cache_u1.npy", "dataset_cache_u4.npy"].map { try fixture.bytes(of: Self.files + $0) }
        try fuzz("numpy", samples, seed: 62, words: ["'descr': '<u4'", "'shape': (999999999,), ", "'shape': (17592186044416,), ", "(1, 2)", "'|u1'"])
    }

    @Test("texts, CSV and lines: damaged ones are refused by file and line, or read, within bounds")
    func texts() throws {
        let table = "text,other\n\"a \"\"quoted\"\" word, with a comma\nand a line\",1\r\nplain,2\n,\n\n\"é 中文\",3"
        let words = ["\"", "\"\"", ",", "\n", "\r", "\r\n", "\u{FEFF}", "\0"]
        let report = try Fuzz("csv", seed: 63, rounds: 2500, words: words).run([Array(table.utf8)]) { bytes in
            var isTaken = false
            for (name, lineByLine) in [("damaged.csv", true), ("damaged.txt", true), ("damaged.txt", false)] {
                let path = try fixture.write(bytes, to: name)
                do throws(DatasetError) {
                    let dataset = try TokenDataset.encode(files: [path], tokenizer: fixture.tokenizer, lineByLine: lineByLine, header: lineByLine)
                    // A byte is at most a token, and a text at most one more.
                    #expect(dataset.count <= 2 * bytes.count + 2 && dataset.largestToken < fixture.tokenizer.vocabularySize)
                    isTaken = true
                } catch {
                    switch error {
                    case .notUTF8(path, let line), .malformedCSV(path, let line, _): #expect(line >= 1)
                    default: Issue.record("\(error)")
                    }
                }
            }
            return isTaken
        }
        #expect(report.isBounded && report.accepted < report.rounds, "\(report)")
    }
}
