import Encodings
import FoundationEssentials
import TestSupport
import Testing
import Tokenizers

/// The pieces that the pre-tokenizer cuts, seen from outside: with every byte and piece in the vocabulary and `ignore_merges`, each piece
/// becomes one token.
@Suite("GPT-2's regular expression")
struct PreTokenizerTests {
    /// The token texts of `text` under a tokenizer that has all of `pieces` as entries.
    static func pieces(of text: String, knowing pieces: [String]) throws -> [String] {
        var vocabulary = JSONObject()
        for byte in 0..<256 { vocabulary[spelling([UInt8(byte)])] = .integer(Int64(byte)) }
        for piece in pieces where piece.utf8.count > 1 && vocabulary[spelling(Array(piece.utf8))] == nil {
            vocabulary[spelling(Array(piece.utf8))] = .integer(Int64(vocabulary.count))
        }
        let file: JSONValue = [
            "model": ["type": "BPE", "vocab": .object(vocabulary), "merges": [], "ignore_merges": true],
            "pre_tokenizer": ["type": "ByteLevel", "add_prefix_space": false], "decoder": ["type": "ByteLevel"],
        ]
        let folder = try TemporaryDirectory()
        try Data(file.serialised).write(to: URL(filePath: folder.path + "/tokenizer.json"))
        let tokenizer = try Tokenizer.load(path: folder.path)
        return tokenizer.encode(text).map { String(decoding: tokenizer.bytes(of: $0), as: UTF8.self) }
    }

    /// Bytes in GPT-2's alphabet.
    static func spelling(_ bytes: [UInt8]) -> String {
        var next: UInt32 = 0x100
        var codes: [UInt32] = []
        for byte in 0..<256 as Range<UInt32> {
            if (0x21...0x7E).contains(byte) || (0xA1...0xAC).contains(byte) || byte >= 0xAE {
                codes.append(byte)
            } else {
                codes.append(next)
                next += 1
            }
        }
        return String(String.UnicodeScalarView(bytes.compactMap { Unicode.Scalar(codes[Int($0)]) }))
    }

    @Test(
        "texts are cut as measured on tokenizers 0.23.3",
        arguments: [
            ["I", "'m", " can", "'t", " '", "S", " It", "'", "LL"], ["'t", "is"], ["don", "’", "t"], ["''", "ll"], ["!!'", "re"],
            ["hello", "'s", "world"], ["a", "  ", " b"], ["a", "\n", "\n", "b"], ["a", " \n", " b"], ["\t", "\t", "x"], [" ", "\u{A0}", "x"],
            ["hello", "  "], ["½²Ⅻ"], ["中文", "123"], ["a", "\u{301}"], ["a", "\u{200B}", "b"], ["\u{FEFF}", "a"], [" 👩‍👩‍👧"], ["x", "\u{1C}", "y"],
            ["x", "\u{85}", "y"], ["we", "'ve", " I", "'ll", " he", "'d"], ["'", "v"], ["'"], [" '"], [" "], ["'", "l"], ["a", " ", "\u{3000}", "b"],
        ])
    func measured(pieces: [String]) throws {
        #expect(try Self.pieces(of: pieces.joined(), knowing: pieces) == pieces)
    }
}
