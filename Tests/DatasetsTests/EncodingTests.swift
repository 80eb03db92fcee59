import Datasets
import TestSupport
import Testing
import Tokenizers

@Suite("Text becomes one long dataset")
struct EncodingTests {
    @Test("bulk text is encoded line by line, line ends kept, without end tokens")
    func bulk() throws {
        let fixture = try DatasetFixture()
        let text = "the lantern\n\n\n  \r\nthe compass carries\nlast line without end"
        let file = try fixture.write(text, to: "bulk.txt")
        let dataset = try TokenDataset.encode(files: [file, file], tokenizer: fixture.tokenizer)
        var expected: [Int32] = []
        for line in text.split(separator: "\n", omittingEmptySubsequences: false).map({ Array($0.utf8) }).joinedLines() {
            expected += fixture.tokenizer.encode(line)
        }
        #expect(tokens(dataset) == expected + expected)
        #expect(fixture.tokenizer.decode(tokens(dataset), skipSpecial: false) == text + text)
        #expect(dataset.tokenizerDigest == fixture.tokenizer.digest)
        #expect(dataset.settings == DatasetSettings(lineByLine: false, header: false))
    }

    @Test("line by line, each line without its end is a text with the end token after it")
    func lineByLine() throws {
        let fixture = try DatasetFixture()
        let file = try fixture.write("title\nfirst text\r\n\nthird", to: "lines.txt")
        let all = try TokenDataset.encode(files: [file], tokenizer: fixture.tokenizer, lineByLine: true, header: false)
        let encode = { (text: String) in fixture.tokenizer.encode(text) + [fixture.end] }
        #expect(tokens(all) == encode("title") + encode("first text") + encode("") + encode("third"))
        #expect(all.settings == DatasetSettings(lineByLine: true, header: false))
        let rest = try TokenDataset.encode(files: [file], tokenizer: fixture.tokenizer, lineByLine: true)
        #expect(tokens(rest) == encode("first text") + encode("") + encode("third"))
        #expect(rest.settings == DatasetSettings(lineByLine: true, header: true))
    }

    @Test("of a CSV file the first column counts, quoted as RFC 4180 says")
    func csv() throws {
        let fixture = try DatasetFixture()
        let csv =
            "text,label\r\nplain,1\r\n\"with, comma\",2\n\"two\nlines\",3\n\"a \"\"quoted\"\" word\",4\n\n,empty first\nin \"middle\",5\n\"end\"ed,6\nonly\rlast,7"
        let file = try fixture.write(csv, to: "rows.CSV")
        let dataset = try TokenDataset.encode(files: [file], tokenizer: fixture.tokenizer, lineByLine: true, header: true)
        let texts = ["plain", "with, comma", "two\nlines", "a \"quoted\" word", "", "in \"middle\"", "ended", "only", "last"]
        #expect(tokens(dataset) == texts.flatMap { fixture.tokenizer.encode($0) + [fixture.end] })
    }

    @Test("an unclosed quote in a CSV file is an error that names the row's line")
    func brokenCSV() throws {
        let fixture = try DatasetFixture()
        let file = try fixture.write("a,b\n\"never closed,1\nmore,2\n", to: "broken.csv")
        let error = datasetError { _ = try TokenDataset.encode(files: [file], tokenizer: fixture.tokenizer, lineByLine: true) }
        #expect(error == .malformedCSV(file: file, line: 2, problem: "a quoted field is never closed"))
    }

    @Test("a list of texts has the end token after each")
    func texts() throws {
        let fixture = try DatasetFixture()
        let dataset = try TokenDataset.encode(texts: ["one", "", "three\n"], tokenizer: fixture.tokenizer)
        #expect(tokens(dataset) == ["one", "", "three\n"].flatMap { fixture.tokenizer.encode($0) + [fixture.end] })
    }

    @Test("bytes that are not UTF-8 are an error that names file and line; a missing file names itself")
    func badFiles() throws {
        let fixture = try DatasetFixture()
        let file = try fixture.write(Array("good\nbad ".utf8) + [0xE9, 0x0A], to: "latin1.txt")
        #expect(datasetError { _ = try TokenDataset.encode(files: [file], tokenizer: fixture.tokenizer) } == .notUTF8(file: file, line: 2))
        let missing = fixture.path("missing.txt")
        #expect(
            datasetError { _ = try TokenDataset.encode(files: [missing], tokenizer: fixture.tokenizer) }
                == .unreadable(file: missing, reason: "No such file or directory"))
        #expect(datasetError { _ = try TokenDataset.encode(files: [fixture.folder.path], tokenizer: fixture.tokenizer) } != nil)
    }

    @Test("a line longer than the reader's buffer is one line")
    func longLine() throws {
        let fixture = try DatasetFixture()
        let text = String(repeating: "word ", count: 700_000) + "\nshort\n"
        let file = try fixture.write(text, to: "long.txt")
        let dataset = try TokenDataset.encode(files: [file], tokenizer: fixture.tokenizer)
        #expect(fixture.tokenizer.decode(tokens(dataset), skipSpecial: false) == text)
    }

    @Test("progress ends at the number of bytes there are")
    func progress() throws {
        let fixture = try DatasetFixture()
        let file = try fixture.write(String(repeating: "a line of text\n", count: 20_000), to: "many.txt")
        var last = (0, 0)
        var calls = 0
        _ = try TokenDataset.encode(files: [file, file], tokenizer: fixture.tokenizer) { done, total in
            #expect(done >= last.0 && done <= total)
            last = (done, total)
            calls += 1
        }
        #expect(last == (600_000, 600_000))
        #expect(calls > 4)
    }

    @Test("who looks on may end it after a few MB, also where lines are long: of an encoding and of the training of a tokenizer")
    func stops() throws {
        let fixture = try DatasetFixture()
        let line = String(repeating: "a line of text ", count: 1 << 16) + "\n"
        let file = try fixture.write(String(repeating: line, count: 12), to: "long.txt")
        var seen: [Int] = []
        let encoding = datasetError {
            _ = try TokenDataset.encode(files: [file], tokenizer: fixture.tokenizer) { done, _ throws(DatasetError) in
                seen.append(done)
                throw .stopped
            }
        }
        var trainer = TokenizerTrainer()
        do throws(TokenizerError) {
            try trainer.feed(file: file) { done, _ throws(TokenizerError) in
                seen.append(done)
                throw .stopped
            }
            Issue.record("it went on")
        } catch { #expect(error == .stopped) }
        #expect(encoding == .stopped && seen.count == 2 && seen.allSatisfy { $0 < 6 << 20 })
    }
}

extension [[UInt8]] {
    /// Lines with their ends, as a reader hands them out.
    func joinedLines() -> [String] {
        enumerated().compactMap { number, line in
            let text = String(decoding: line, as: UTF8.self) + (number < count - 1 ? "\n" : "")
            return text.isEmpty ? nil : text
        }
    }
}
