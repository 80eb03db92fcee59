import Encodings
import FoundationEssentials
import TestSupport
import Testing
import Tokenizers

@Suite("Reading tokenizer files")
struct LoadingTests {
    /// A small valid tokenizer.json as a value to change.
    static func sample() -> JSONValue {
        [
            "version": "1.0", "truncation": nil, "padding": nil,
            "added_tokens": [["id": 0, "content": "<|endoftext|>", "special": true]], "normalizer": nil,
            "pre_tokenizer": ["type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true], "post_processor": nil,
            "decoder": ["type": "ByteLevel"],
            "model": [
                "type": "BPE", "vocab": ["<|endoftext|>": 0, "a": 1, "b": 2, "c": 3, "ab": 4, "abc": 5, "Ġ": 6],
                "merges": [["a", "b"], ["ab", "c"]],
            ],
        ]
    }

    /// The sample with members replaced: the path's last name is set to the value, or removed.
    static func sample(_ path: String, _ value: JSONValue?) -> JSONValue {
        func change(_ node: JSONValue, _ names: ArraySlice<Substring>) -> JSONValue {
            guard let name = names.first else { return value ?? .null }
            var object = node.objectValue ?? JSONObject()
            object[String(name)] = names.count == 1 ? value : change(object[String(name)] ?? .object(JSONObject()), names.dropFirst())
            return .object(object)
        }
        return change(sample(), path.split(separator: "/")[...])
    }

    static func load(_ bytes: [UInt8], name: String = "tokenizer.json") throws -> Tokenizer {
        let folder = try TemporaryDirectory()
        try Data(bytes).write(to: URL(filePath: folder.path + "/" + name))
        return try Tokenizer.load(path: folder.path + "/" + name)
    }

    /// A folder with `vocab.json`, `merges.txt` and these files.
    private static func load(beside files: [String: String]) throws -> Tokenizer {
        let folder = try TemporaryDirectory()
        let pair = ["vocab.json": #"{"a":0,"b":1,"ab":2,"<":3,">":4,"t":5,"<|endoftext|>":6,"<t>":7}"#, "merges.txt": "a b\n"]
        for (name, text) in pair.merging(files, uniquingKeysWith: { $1 }) {
            try Data(text.utf8).write(to: URL(filePath: folder.path + "/" + name))
        }
        return try Tokenizer.load(path: folder.path)
    }

    @Test("added_tokens.json and its companions beside vocab.json add tokens: encoded whole, decoded, special ones left out")
    func addedTokenFiles() throws {
        let plain = try Self.load(beside: [:])
        #expect(plain.encode("ab<t>ab") == [2, 3, 5, 4, 2])
        let added = try Self.load(beside: [
            "added_tokens.json": #"{"<b>":9,"<a>":8}"#,
            "special_tokens_map.json": #"{"eos_token":"<|endoftext|>","additional_special_tokens":["<a>"]}"#,
        ])
        #expect(added.encode("ab<a>ab<b><t><|endoftext|>") == [2, 8, 2, 9, 3, 5, 4, 6])
        #expect(added.decode([2, 8, 2, 9, 6], skipSpecial: false) == "ab<a>ab<b><|endoftext|>")
        #expect(added.decode([2, 8, 2, 9, 6], skipSpecial: true) == "abab<b>")
        #expect(added.vocabularySize == 10 && added.digest != plain.digest && added.endOfTextID == 6)
        // What is special may stand in the vocabulary too, and as an object; one without an id stays text.
        let known = try Self.load(beside: ["special_tokens_map.json": #"{"pad_token":{"content":"<t>","lstrip":false},"mask_token":"<a>"}"#])
        #expect(known.encode("<t>ab") == [7, 2] && known.vocabularySize == 8)
        // The newer file says more, and comes first.
        let newer = try Self.load(beside: [
            "tokenizer_config.json":
                #"{"added_tokens_decoder":{"6":{"content":"<|endoftext|>"},"8":{"content":"<a>","special":true,"rstrip":true}}}"#,
            "added_tokens.json": #"{"<a>":8}"#,
        ])
        #expect(newer.encode("<a> ab") == [8, 2] && newer.addedTokens.map(\.stripsRight) == [false, true])
        #expect(newer.addedTokens.map(\.isSpecial) == [true, true])
    }

    @Test(
        "a wrong file beside vocab.json is named",
        arguments: [
            ("added_tokens.json", "[]"), ("added_tokens.json", #"{"<a>":"x"}"#), ("added_tokens.json", #"{"<a>":0}"#),
            ("added_tokens.json", #"{"<t>":9}"#), ("added_tokens.json", "{"), ("special_tokens_map.json", "3"),
            ("tokenizer_config.json", #"{"added_tokens_decoder":{"x":{"content":"<a>"}}}"#),
            ("tokenizer_config.json", #"{"added_tokens_decoder":{"8":{}}}"#),
        ])
    func wrongAddedTokenFile(name: String, text: String) throws {
        guard case .malformed(let file, _)? = Self.error({ try Self.load(beside: [name: text]) }) else {
            Issue.record("\(text) was read")
            return
        }
        #expect(file.hasSuffix("/" + name))
    }

    static func error(_ body: () throws -> Tokenizer) -> TokenizerError? {
        do {
            _ = try body()
            return nil
        } catch { return error as? TokenizerError }
    }

    @Test("the sample itself is read, with merges as pairs or as strings, and options of no effect passed over")
    func valid() throws {
        let tokenizer = try Self.load(Self.sample().serialised)
        #expect(tokenizer.encode("abcab a<|endoftext|>") == [5, 4, 6, 1, 0])
        #expect(tokenizer.vocabularySize == 7)
        for changed in [
            Self.sample("model/merges", ["a b", "ab c"]), Self.sample("truncation", ["max_length": 5]), Self.sample("padding", ["length": 3]),
            Self.sample("model/type", nil), Self.sample("post_processor", ["type": "ByteLevel"]), Self.sample("model/dropout", 0.0),
            Self.sample("pre_tokenizer", ["type": "Sequence", "pretokenizers": [["type": "ByteLevel", "add_prefix_space": false]]]),
            Self.sample("normalizer", ["type": "Sequence", "normalizers": []]),
            Self.sample("post_processor", ["type": "TemplateProcessing", "single": [["Sequence": ["id": "A"]]]]),
        ] {
            #expect(try Self.load(changed.serialised).digest == tokenizer.digest)
        }
    }

    @Test(
        "what is wrong in a tokenizer.json is named",
        arguments: [
            ("model", nil, "no object \"model\""), ("model", [], "no object \"model\""), ("model/vocab", nil, "model.vocab"),
            ("model/vocab", ["a"], "model.vocab"), ("model/merges", nil, "model.merges"), ("model/merges", "a b", "model.merges"),
            ("model/merges", ["ab"], "merge 1 is neither"), ("model/merges", ["a b c"], "merge 1 is neither"),
            ("model/merges", [["a", "b"], ["a"]], "merge 2 is neither"), ("model/merges", [["a", 1]], "merge 1 is neither"),
            ("model/merges", [nil], "merge 1 is neither"), ("model/merges", [["a", "x"]], "merge 1: \"x\" is not in the vocabulary"),
            ("model/merges", [["x", "a"]], "merge 1: \"x\" is not in the vocabulary"), ("model/merges", [["b", "a"]], "its result \"ba\""),
            ("model/vocab/a", -1, "the id of token \"a\""), ("model/vocab/a", 1.5, "the id of token \"a\""),
            ("model/vocab/a", "1", "the id of token \"a\""),
            ("model/vocab/a", 4_294_967_296, "the id of token \"a\""), ("model/vocab/a", 4_194_304, "the id of token \"a\""),
            ("model/vocab/b", 1, "id 1 stands for two tokens"),
            ("model/vocab", [:], "merge 1"), ("added_tokens", "x", "added_tokens is not a list"),
            ("added_tokens", [1], "added_tokens[0] has no content"),
            ("added_tokens", [["id": 9]], "added_tokens[0] has no content"), ("added_tokens", [["content": "x"]], "added_tokens[0].id"),
            ("added_tokens", [["id": 9, "content": ""]], "added token 9 is empty"),
            ("added_tokens", [["id": 1, "content": "x"]], "stands for another token"),
            ("added_tokens", [["id": 9, "content": "a"]], "but 1 in the vocabulary"),
            ("added_tokens", [["id": -1, "content": "x"]], "the id of added token"),
            ("added_tokens", [["id": 9, "content": "x"], ["id": 10, "content": "x"]], "listed twice"),
            ("added_tokens", [["id": 9, "content": "x", "lstrip": 1]], "added_tokens[0].lstrip is neither"),
            ("added_tokens", [["id": 9, "content": "x", "special": "yes"]], "added_tokens[0].special is neither"),
            ("model/unk_token", "x", "unk_token \"x\""), ("model/unk_token", 1, "model.unk_token is not a string"),
            ("model/fuse_unk", "no", "model.fuse_unk is neither"),
            ("model/continuing_subword_prefix", 1, "continuing_subword_prefix is not a string"),
            ("pre_tokenizer/use_regex", "yes", "pre_tokenizer.use_regex is neither"),
            ("pre_tokenizer", "ByteLevel", "pre_tokenizer is not an object"),
            ("pre_tokenizer", ["type": "Sequence"], "pre_tokenizer.pretokenizers is not a list"),
        ] as [(String, JSONValue?, String)])
    func malformed(path: String, value: JSONValue?, problem: String) {
        let error = Self.error { try Self.load(Self.sample(path, value).serialised) }
        guard case .malformed(let file, let told)? = error else {
            Issue.record("\(path): \(String(describing: error))")
            return
        }
        #expect(file.hasSuffix("/tokenizer.json"))
        #expect(told.contains(problem), "\(told)")
    }

    @Test(
        "what would change ids and is not built here is refused by name",
        arguments: [
            ("model/type", "WordPiece", "WordPiece"), ("model/dropout", 0.1, "dropout"), ("normalizer", ["type": "NFC"], "NFC"),
            ("normalizer", ["type": "Sequence", "normalizers": [["type": "Lowercase"]]], "normalizer"), ("pre_tokenizer", nil, "pre_tokenizer"),
            ("pre_tokenizer", ["type": "Metaspace"], "Metaspace"),
            ("pre_tokenizer", ["type": "Sequence", "pretokenizers": [["type": "Digits"], ["type": "ByteLevel"]]], "Digits"),
            ("decoder", nil, "decoder"), ("decoder", ["type": "WordPiece"], "WordPiece"),
            (
                "post_processor", ["type": "TemplateProcessing", "single": [["SpecialToken": ["id": "x"]], ["Sequence": ["id": "A"]]]],
                "TemplateProcessing"
            ),
            ("post_processor", ["type": "BertProcessing"], "BertProcessing"),
        ] as [(String, JSONValue?, String)])
    func unsupported(path: String, value: JSONValue?, problem: String) {
        let error = Self.error { try Self.load(Self.sample(path, value).serialised) }
        guard case .unsupported(_, let told)? = error else {
            Issue.record("\(path): \(String(describing: error))")
            return
        }
        #expect(told.contains(problem), "\(told)")
    }

    @Test("files that are no JSON, or not the right JSON, are errors that name the file")
    func noJSON() throws {
        let whole = Self.sample().serialised
        var samples: [[UInt8]] = [[], [0xFF, 0xFE], Array("null".utf8), Array("[]".utf8), Array("\"x\"".utf8), Array("{\"model\":{}}{".utf8)]
        samples.append(Array("{\"model\": {\"vocab\": {\"a\": 0, \"a\": 1}, \"merges\": []}}".utf8))
        samples.append([UInt8](repeating: UInt8(ascii: "["), count: 100_000))
        for length in stride(from: 1, to: whole.count, by: 7) { samples.append(Array(whole[..<length])) }
        for bytes in samples {
            guard case .malformed(let file, _)? = Self.error({ try Self.load(bytes) }) else {
                Issue.record("\(String(decoding: bytes.prefix(100), as: UTF8.self))")
                continue
            }
            #expect(file.hasSuffix("/tokenizer.json"))
        }
    }

    @Test("a tokenizer.json with any byte changed is read or refused, never a crash")
    func changedBytes() throws {
        let whole = Self.sample().serialised
        for place in whole.indices {
            var damaged = whole
            damaged[place] = UInt8(ascii: "9")
            if let tokenizer = try? Self.load(damaged) { _ = tokenizer.decode(tokenizer.encode("abc ab<|endoftext|>"), skipSpecial: true) }
        }
    }

    @Test("merges.txt is read strictly, and errors name its line")
    func mergesText() throws {
        let vocabulary = Array("{\"a\":0,\"b\":1,\"ab\":2,\"#\":3,\"##\":4}".utf8)
        func load(_ merges: String) throws -> Tokenizer {
            let folder = try TemporaryDirectory()
            try Data(vocabulary).write(to: URL(filePath: folder.path + "/x-vocab.json"))
            try Data(merges.utf8).write(to: URL(filePath: folder.path + "/x-merges.txt"))
            return try Tokenizer.load(path: folder.path + "/x-merges.txt")
        }
        #expect(try load("#version: 0.2\na b\n# #\n").encode("ab##") == [2, 4])
        #expect(try load("a b\r\n\n").encode("ab") == [2])
        #expect(try load("a b\n").endOfTextID == nil)
        for (merges, problem) in [
            ("#version: 0.2\na b\nab\n", "line 3 is not two tokens"), ("a  b\n", "line 1 is not two tokens"), ("a b c\n", "line 1 is not two tokens"),
            ("\na x\n", "line 2, merge 1: \"x\" is not in the vocabulary"), ("b a\n", "its result \"ba\""),
        ] {
            guard case .malformed(let file, let told)? = Self.error({ try load(merges) }) else {
                Issue.record("\(merges)")
                continue
            }
            #expect(file.hasSuffix("x-merges.txt") && told.contains(problem), "\(told)")
        }
    }

    @Test("a path that leads nowhere, a folder without a tokenizer and a missing partner are named")
    func paths() throws {
        let folder = try TemporaryDirectory()
        #expect(
            Self.error { try Tokenizer.load(path: folder.path + "/none") }
                == .unreadable(file: folder.path + "/none", reason: "there is no such file or folder"))
        #expect(Self.error { try Tokenizer.load(path: folder.path) }.map { "\($0)".contains("holds neither tokenizer.json") } == true)
        try Data("{\"a\":0}".utf8).write(to: URL(filePath: folder.path + "/vocab.json"))
        #expect(
            Self.error { try Tokenizer.load(path: folder.path) }
                == .unreadable(file: folder.path + "/merges.txt", reason: "No such file or directory"))
        let tokenizer = try Self.load(Self.sample().serialised)
        do {
            try tokenizer.write(toDirectory: folder.path + "/none")
            Issue.record("wrote into a folder that is not there")
        } catch { #expect(error == .unwritable(file: folder.path + "/none/tokenizer.json", reason: "No such file or directory")) }
    }
}
