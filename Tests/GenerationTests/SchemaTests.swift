import Encodings
import Generation
import LanguageModels
import TestSupport
import Testing
import Tokenizers

/// What a schema cuts, stated part by part: prompt and generated tokens are one text, cut where the markers' tokens stand.
@Suite("Schemas")
struct SchemaTests {
    private static let markers = ["<|title|>", "<|body|>", "<|the end|>"]

    /// The parts of a text whose last token alone is generated: all others are banned.
    private func cut(
        _ pieces: [String], then last: String = "!", _ schema: Schema = Schema(tokens: markers), stop: [String] = []
    ) throws -> JSONValue {
        let engine = try Engine()
        let ids = pieces.flatMap { engine.tokenizer.encode($0) }
        let token = engine.tokenizer.encode(last)
        try #require(token.count == 1)
        var request = GenerationRequest.tokens(ids) {
            $0.doSample = false
            $0.maxLength = ids.count + 1
            $0.bannedTokens = (0..<Int32(engine.model.description.vocabularySize)).filter { $0 != token[0] }
            $0.stop = stop
        }
        request.text.schema = schema
        return try JSONValue.parse(try #require(engine.generate(request)[0].schema))
    }

    @Test("a part is what stands behind its marker, up to the next marker or the end; an absent marker gives an empty string")
    func parts() throws {
        #expect(try cut(["xx", "<|title|>", "A river", "<|body|>", "It flows"]) == ["title": "A river", "body": "It flows!", "theend": ""])
        // The markers' order in the text decides, not that of the schema.
        #expect(try cut(["<|body|>", "It flows\n", "<|title|>", " A river "]) == ["title": " A river !", "body": "It flows\n", "theend": ""])
        // Two markers in a row, and no marker at all.
        #expect(try cut(["<|title|>", "<|body|>", "b"]) == ["title": "", "body": "b!", "theend": ""])
        #expect(try cut(["no marker"]) == ["title": "", "body": "", "theend": ""])
        // The first of equal markers counts; the second belongs to the part.
        #expect(try cut(["<|title|>", "a", "<|title|>", "b"]) == ["title": "a<|title|>b!", "body": "", "theend": ""])
    }

    @Test("a part ends before a stop string, where the text does")
    func stops() throws {
        #expect(try cut(["<|title|>", "a"], stop: ["!"]) == ["title": "a", "body": "", "theend": ""])
    }

    @Test("special tokens leave no trace in a part")
    func special() throws {
        #expect(try cut(["<|title|>", "a", "<|endoftext|>", "b"]) == ["title": "ab!", "body": "", "theend": ""])
    }

    @Test("a key is its marker's letters and digits, or the marker as it stands")
    func keys() throws {
        let odd = Schema(tokens: ["<|ti-tle 2|>"])
        #expect(try cut(["<|ti-tle 2|>", "a"], odd) == ["title2": "a!"])
        #expect(try cut(["<|ti-tle 2|>", "a"], Schema(tokens: odd.tokens, normalizesKeys: false)) == ["<|ti-tle 2|>": "a!"])
    }

    @Test("schema_return keeps some keys, and a single one gives its bare text")
    func returned() throws {
        let text = ["<|title|>", "A river", "<|body|>", "It flows"]
        #expect(try cut(text, Schema(tokens: Self.markers, returned: ["body"])) == "It flows!")
        #expect(try cut(text, Schema(tokens: Self.markers, returned: ["theend"])) == "")
        #expect(try cut(text, Schema(tokens: Self.markers, returned: ["theend", "title"])) == ["theend": "", "title": "A river"])
        #expect(try cut(text, Schema(tokens: Self.markers, returned: [])) == ["title": "A river", "body": "It flows!", "theend": ""])
        for (schema, field) in [(Schema(tokens: Self.markers, returned: ["none"]), "schema_return"), (Schema(tokens: []), "schema_tokens")] {
            do {
                _ = try cut(text, schema)
                Issue.record("\(field) was accepted")
            } catch GenerationError.invalidParameter(let named, _) { #expect(named == field) }
        }
    }

    @Test("a model's config names markers and keys")
    func config() {
        #expect(Schema(config: [:]) == nil)
        #expect(Schema(config: ["schema_tokens": []]) == nil)
        #expect(Schema(config: ["schema_tokens": "x"]) == nil)
        #expect(Schema(config: ["schema_tokens": ["<a>", "<b>"]]) == Schema(tokens: ["<a>", "<b>"]))
        #expect(Schema(config: ["schema_tokens": ["<a>"], "schema_return": "a"]) == Schema(tokens: ["<a>"], returned: ["a"]))
        let two = Schema(config: ["schema_tokens": ["<a>", "<b>"], "schema_return": ["b", "a"]])
        #expect(two == Schema(tokens: ["<a>", "<b>"], returned: ["b", "a"]))
    }
}
