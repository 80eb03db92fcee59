import Encodings
import FoundationEssentials
import TestSupport
import Testing
import Tokenizers

@Suite("Round trips")
struct RoundTripTests {
    /// The reference tokenizer, and GPT-2's where its folder is named.
    static func tokenizers() throws -> [Tokenizer] {
        var found = [try Tokenizer.load(path: Fixtures.reference)]
        if let folder = ProcessInfo.processInfo.environment["GPT2_TOKENIZER"] { found.append(try Tokenizer.load(path: folder)) }
        return found
    }

    /// Text of every kind that matters to the pre-tokenizer, by chance.
    static func randomText(_ generator: inout SeededGenerator) -> String {
        let parts = [
            "the", " lantern", "'s", "'ll", "'", " ", "  ", "\n", "\n\n", "\t", "\u{A0}", "\u{3000}", "½", "Ⅻ", "中文", "e\u{301}", "👩‍👩‍👧",
            "<|endoftext|>", "!!", "\0",
        ]
        var text = ""
        for _ in 0..<Int.random(in: 0...30, using: &generator) {
            if Bool.random(using: &generator) {
                text += parts.randomElement(using: &generator) ?? ""
            } else if let scalar = Unicode.Scalar(UInt32.random(in: 0...0x10FFFF, using: &generator)) {
                text.unicodeScalars.append(scalar)
            }
        }
        return text
    }

    @Test("any bytes, UTF-8 or not, come back whole")
    func bytes() throws {
        for tokenizer in try Self.tokenizers() {
            for seed in 0..<400 as Range<UInt64> {
                var generator = SeededGenerator(seed: seed)
                let narrow = Bool.random(using: &generator)
                let bytes = (0..<Int.random(in: 0...300, using: &generator)).map { _ in
                    narrow
                        ? [0x20, 0x27, 0x73, 0xC3, 0xA9, 0xE2, 0x80, 0x83, 0xFF].randomElement(using: &generator) ?? 0
                        : UInt8.random(in: 0...255, using: &generator)
                }
                var ids: [Int32] = []
                bytes.withUnsafeBytes { tokenizer.encode(utf8: $0, into: &ids) }
                #expect(tokenizer.decodedBytes(ids, skipSpecial: false) == bytes, "seed \(seed)")
                #expect(ids.flatMap { tokenizer.bytes(of: $0) } == bytes, "seed \(seed)")
            }
        }
    }

    @Test("any text comes back whole, and its stream of ids decodes to the same text piece by piece")
    func streams() throws {
        for tokenizer in try Self.tokenizers() {
            for seed in 0..<400 as Range<UInt64> {
                var generator = SeededGenerator(seed: seed)
                let text = Self.randomText(&generator)
                let ids = tokenizer.encode(text)
                // Compared as bytes: Swift's strings are equal when canonically equivalent.
                #expect(Array(tokenizer.decode(ids, skipSpecial: false).utf8) == Array(text.utf8), "seed \(seed)")
                for skipSpecial in [false, true] {
                    var decoder = tokenizer.streamDecoder(skipSpecial: skipSpecial)
                    var streamed = ""
                    for id in ids { streamed += decoder.append(id) }
                    streamed += decoder.finish()
                    #expect(Array(streamed.utf8) == Array(tokenizer.decode(ids, skipSpecial: skipSpecial).utf8), "seed \(seed)")
                }
            }
        }
    }

    @Test("ids in any order stream to the same text as decoding them at once, broken characters included")
    func brokenStreams() throws {
        for tokenizer in try Self.tokenizers() {
            for seed in 0..<2000 as Range<UInt64> {
                var generator = SeededGenerator(seed: seed)
                // Mostly single bytes above 0x7F, which make characters by accident only; some ids do not exist.
                let ids = (0..<20).map { _ in Int32.random(in: -2...Int32(min(tokenizer.vocabularySize + 1, 300)), using: &generator) }
                var decoder = tokenizer.streamDecoder(skipSpecial: false)
                var streamed = ""
                for id in ids { streamed += decoder.append(id) }
                streamed += decoder.finish()
                #expect(Array(streamed.utf8) == Array(tokenizer.decode(ids, skipSpecial: false).utf8), "seed \(seed)")
            }
        }
    }

    @Test("a held-back character appears with its last byte, and an incomplete one at the end is one U+FFFD")
    func heldBack() throws {
        let tokenizer = try Tokenizer.load(path: Fixtures.reference)
        let ids = Array("👧".utf8).map { byte -> Int32 in
            (0..<Int32(tokenizer.vocabularySize)).first { tokenizer.bytes(of: $0) == [byte] && !tokenizer.isSpecial($0) } ?? -1
        }
        var decoder = tokenizer.streamDecoder(skipSpecial: true)
        #expect(ids.map { decoder.append($0) } == ["", "", "", "👧"])
        #expect(decoder.append(ids[0]) + decoder.append(ids[1]) == "")
        #expect(decoder.finish() == "\u{FFFD}")
        #expect(decoder.finish() == "")
    }

    @Test("each maximal ill-formed subsequence becomes one U+FFFD, as Unicode recommends")
    func lossyDecoding() throws {
        let tokenizer = try Tokenizer.load(path: Fixtures.reference)
        // Unicode 16.0, tables 3-8 to 3-11.
        let samples: [([UInt8], String)] = [
            ([0xC0, 0xAF, 0xE0, 0x80, 0xBF, 0xF0, 0x81, 0x82, 0x41], "????????A"),
            ([0xED, 0xA0, 0x80, 0xED, 0xBF, 0xBF, 0xED, 0xAF, 0x41], "????????A"),
            ([0xF4, 0x91, 0x92, 0x93, 0xFF, 0x41, 0x80, 0xBF, 0x42], "?????A??B"), ([0xE1, 0x80, 0xE2, 0xF0, 0x91, 0x92, 0xF1, 0xBF, 0x41], "????A"),
        ]
        for (bytes, expected) in samples {
            var ids: [Int32] = []
            bytes.withUnsafeBytes { tokenizer.encode(utf8: $0, into: &ids) }
            #expect(tokenizer.decode(ids, skipSpecial: true) == expected.replacing("?", with: "\u{FFFD}"))
        }
    }

    @Test("written files give an equal tokenizer, GPT-2's own included")
    func files() throws {
        for tokenizer in try Self.tokenizers() {
            let folder = try TemporaryDirectory()
            try tokenizer.write(toDirectory: folder.path)
            for name in ["", "/tokenizer.json", "/vocab.json", "/merges.txt"] {
                #expect(try Tokenizer.load(path: folder.path + name).digest == tokenizer.digest)
            }
        }
    }

    @Test("one tokenizer serves many threads at once")
    func threads() async throws {
        let tokenizer = try Tokenizer.load(path: Fixtures.reference)
        let text = String(decoding: try Fixtures.bytes("corpus.txt"), as: UTF8.self)
        let expected = tokenizer.encode(text)
        await withTaskGroup(of: Bool.self) { group in
            for _ in 0..<16 { group.addTask { tokenizer.encode(text) == expected } }
            for await isEqual in group { #expect(isEqual) }
        }
    }
}

extension String {
    fileprivate func replacing(_ character: Character, with other: Character) -> String { String(map { $0 == character ? other : $0 }) }
}
