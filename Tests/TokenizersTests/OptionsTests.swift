import Encodings
import FoundationEssentials
import TestSupport
import Testing
import Tokenizers

/// Expected ids are those of `tokenizers` 0.23.3 on the same files.
@Suite("Options and added tokens")
struct OptionsTests {
    private func load(_ path: String, _ value: JSONValue) throws -> Tokenizer {
        try LoadingTests.load(LoadingTests.sample(path, value).serialised)
    }

    private func added(_ token: JSONObject) throws -> Tokenizer {
        var token = token
        token["id"] = 7
        return try load("added_tokens", [.object(token)])
    }

    @Test("a space is put before text and before what follows an added token, where asked")
    func prefixSpace() throws {
        let tokenizer = try load("pre_tokenizer/add_prefix_space", true)
        #expect(tokenizer.encode("ab<|endoftext|>ab ab") == [6, 4, 0, 6, 4, 6, 4])
        #expect(tokenizer.encode(" ab") == [6, 4])
        #expect(tokenizer.encode("") == [])
    }

    @Test("without the regular expression a whole stretch is one piece")
    func withoutRegex() throws {
        var sample = LoadingTests.sample("pre_tokenizer/use_regex", false)
        guard var object = sample.objectValue, var model = object["model"]?.objectValue, var vocabulary = model["vocab"]?.objectValue else { return }
        vocabulary["bĠ"] = 7
        model["vocab"] = .object(vocabulary)
        model["merges"] = [["b", "Ġ"]]
        object["model"] = .object(model)
        sample = .object(object)
        #expect(try LoadingTests.load(sample.serialised).encode("ab a") == [1, 7, 1])
    }

    @Test("bytes that the vocabulary lacks are dropped, unknown, fused or spelled out")
    func unknown() throws {
        #expect(try LoadingTests.load(LoadingTests.sample().serialised).encode("azzb") == [4])
        #expect(try load("model/unk_token", "c").encode("azzb") == [1, 3, 3, 2])
        var sample = LoadingTests.sample("model/unk_token", "c")
        guard var object = sample.objectValue, var model = object["model"]?.objectValue, var vocabulary = model["vocab"]?.objectValue else { return }
        model["fuse_unk"] = true
        object["model"] = .object(model)
        #expect(try LoadingTests.load(JSONValue.object(object).serialised).encode("azzb") == [1, 3, 2])
        vocabulary["<0x7A>"] = 8
        model["vocab"] = .object(vocabulary)
        model["byte_fallback"] = true
        object["model"] = .object(model)
        sample = .object(object)
        #expect(try LoadingTests.load(sample.serialised).encode("azzb") == [1, 8, 8, 2])
    }

    @Test("added tokens take white space with them, stand alone, or are left in place, as they say")
    func addedTokens() throws {
        #expect(try added(["content": "<x>"]).encode("a <x> a") == [1, 6, 7, 6, 1])
        #expect(try added(["content": "<x>", "lstrip": true]).encode("a \n<x> a") == [1, 7, 6, 1])
        #expect(try added(["content": "<x>", "rstrip": true]).encode("a <x>\u{3000}\ta") == [1, 6, 7, 1])
        let word = try added(["content": "cab", "single_word": true])
        #expect(word.encode("cab cab,acab cab_ cabé") == [7, 6, 7, 1, 3, 4, 6, 3, 4, 6, 3, 4])
        #expect(word.encode("cab") == [7])
    }

    @Test("the longest of the added tokens at the leftmost place wins")
    func leftmostLongest() throws {
        let tokenizer = try load(
            "added_tokens",
            [
                ["id": 7, "content": "<x", "special": true], ["id": 8, "content": "<x>", "special": true],
                ["id": 9, "content": "x>c", "special": true], ["id": 10, "content": "cc", "single_word": true],
            ])
        #expect(tokenizer.encode("a<x>c") == [1, 8, 3])
        #expect(tokenizer.encode("<x<x>") == [7, 8])
        #expect(tokenizer.encode("x>c") == [9])
        #expect(tokenizer.encode("cc acc cc") == [10, 6, 1, 3, 3, 6, 10])
        #expect(tokenizer.encode("x>ca") == [9, 1])
        #expect(tokenizer.encode("x>ca", recogniseSpecial: false) == [3, 1])
    }

    @Test("special tokens are left out of the text where asked, others never")
    func skipping() throws {
        let tokenizer = try load("added_tokens", [["id": 7, "content": "<x>", "special": true], ["id": 8, "content": "<y>"]])
        #expect(tokenizer.decode([1, 7, 8, 2, 50, -1], skipSpecial: true) == "a<y>b")
        #expect(tokenizer.decode([1, 7, 8, 2], skipSpecial: false) == "a<x><y>b")
    }

    @Test("what a tokenizer does changes its digest; what it does not change leaves it")
    func digests() throws {
        let plain = try LoadingTests.load(LoadingTests.sample().serialised).digest
        for (path, value) in [
            ("pre_tokenizer/add_prefix_space", true), ("pre_tokenizer/use_regex", false), ("model/ignore_merges", true),
            ("model/byte_fallback", true),
            ("model/unk_token", "a"), ("model/merges", [["a", "b"]]), ("added_tokens", []), ("model/vocab/d", 7),
            ("added_tokens", [["id": 0, "content": "<|endoftext|>", "special": false]]),
        ] as [(String, JSONValue)] {
            #expect(try load(path, value).digest != plain, "\(path)")
        }
        let normalized: JSONValue = [["id": 0, "content": "<|endoftext|>", "special": true, "normalized": true]]
        #expect(try load("added_tokens", normalized).digest == plain)
        // Frozen: stored records and datasets name tokenizers by it.
        #expect(plain == "014126a7216943db0dda4e04319a61470274fd72585128f5e7057d3c156ff98d")
    }

    @Test("a megabyte without a space takes well under a second per megabyte, whatever it holds")
    func adversarial() throws {
        let tokenizer = try Tokenizer.load(path: Fixtures.reference)
        for unit in ["a", "the", "ab", "lantern", "é"] {
            let text = String(repeating: unit, count: 1_000_000 / unit.utf8.count)
            let clock = ContinuousClock()
            var ids: [Int32] = []
            let time = clock.measure { ids = tokenizer.encode(text) }
            #expect(tokenizer.decode(ids, skipSpecial: false) == text)
            // Quadratic merging would take minutes; the bound only tells the two apart on a busy machine.
            #expect(time < .seconds(5), "\(unit): \(time)")
        }
    }

    @Test("long pieces merge as short ones do: a piece's ids do not depend on how it is searched")
    func longPieces() throws {
        let tokenizer = try Tokenizer.load(path: Fixtures.reference)
        for seed in 0..<200 as Range<UInt64> {
            var generator = SeededGenerator(seed: seed)
            let letters = Array("lanterncompassridgesthe")
            let word = String((0..<Int.random(in: 40...120, using: &generator)).map { _ in letters.randomElement(using: &generator) ?? "a" })
            #expect(tokenizer.encode(word) == naive(word, tokenizer), "seed \(seed)")
        }
    }

    /// Merging by the definition: again and again the lowest-ranked pair, leftmost first. Ranks are the order of merges.txt.
    private func naive(_ word: String, _ tokenizer: Tokenizer) -> [Int32] {
        guard let text = try? String(decoding: Fixtures.bytes("merges.txt"), as: UTF8.self) else { return [] }
        let merges = text.split(separator: "\n").filter { !$0.hasPrefix("#version") }.map { $0.split(separator: " ").map(String.init) }
        var parts = word.map { String($0) }
        for merge in merges {
            var index = 0
            while index + 1 < parts.count {
                if parts[index] == merge[0] && parts[index + 1] == merge[1] { parts.replaceSubrange(index...index + 1, with: [merge[0] + merge[1]]) }
                index += 1
            }
        }
        return parts.compactMap { tokenizer.id(ofToken: $0) }
    }
}
