import Encodings
import FoundationEssentials
import TestSupport
import Testing
import Tokenizers

/// The classes of all of Unicode, counted from outside: behind a letter, a number or a sign, a character joins its piece only where it
/// is of the same class, and only within a piece can the first bytes merge.
@Suite("Unicode's classes in the pre-tokenizer")
struct CharacterClassTests {
    private static let leads: [(class: String, character: String)] = [("letter", "a"), ("number", "1"), ("other", "!")]

    /// Bytes alone, and a merge of each lead with each byte that can begin a character.
    private static func tokenizer() throws -> (Tokenizer, firstMerged: Int32) {
        var vocabulary = JSONObject()
        var merges: [JSONValue] = []
        for byte in 0..<256 { vocabulary[PreTokenizerTests.spelling([UInt8(byte)])] = .integer(Int64(byte)) }
        for lead in leads {
            for byte in 0..<256 where byte < 0x80 || byte >= 0xC2 {
                let next = PreTokenizerTests.spelling([UInt8(byte)])
                vocabulary[lead.character + next] = .integer(Int64(vocabulary.count))
                merges.append([.string(lead.character), .string(next)])
            }
        }
        let file: JSONValue = [
            "model": ["type": "BPE", "vocab": .object(vocabulary), "merges": .array(merges)],
            "pre_tokenizer": ["type": "ByteLevel", "add_prefix_space": false], "decoder": ["type": "ByteLevel"],
        ]
        return (try LoadingTests.load(file.serialised), 256)
    }

    @Test("141,028 letters in 677 ranges, 1,911 numbers in 144 ranges, 25 spaces, and the rest")
    func counts() throws {
        let (tokenizer, firstMerged) = try Self.tokenizer()
        var (counts, ranges) = ([0, 0, 0, 0], [0, 0, 0, 0])
        var spaces: [UInt32] = []
        var before = -1
        for code in UInt32(0)...0x10FFFF {
            guard let scalar = Unicode.Scalar(code) else { continue }
            let joined = Self.leads.indices.filter { index in
                guard let first = tokenizer.encode(Self.leads[index].character + String(Character(scalar))).first else { return false }
                return first >= firstMerged
            }
            try #require(joined.count <= 1, "U+\(String(code, radix: 16)) is of several classes")
            let kind = joined.first ?? 3
            counts[kind] += 1
            if kind == 3 { spaces.append(code) }
            // Ranges are runs of neighbours; the surrogates between 0xD7FF and 0xE000 part two of them.
            if kind != before || code == 0xE000 { ranges[kind] += 1 }
            before = kind
        }
        #expect(counts[0] == 141_028 && ranges[0] == 677)
        #expect(counts[1] == 1_911 && ranges[1] == 144)
        let low: [UInt32] = [0x09, 0x0A, 0x0B, 0x0C, 0x0D, 0x20, 0x85, 0xA0, 0x1680]
        #expect(spaces == low + Array(0x2000...0x200A) + [0x2028, 0x2029, 0x202F, 0x205F, 0x3000])
        #expect(counts[2] == 0x11_0000 - 2048 - 141_028 - 1_911 - 25)
    }
}
