/// GPT-2's spelling of bytes as visible characters, so that a vocabulary is plain text.
///
/// The printable bytes 21–7E, A1–AC and AE–FF stand for themselves as code points, the other 68 for U+0100 upward in byte order:
/// a space is `Ġ`, a newline `Ċ`.
enum ByteAlphabet {
    /// The code point of each byte.
    static let codes: [UInt32] = {
        var next: UInt32 = 0x100
        return (0..<256).map { byte in
            switch byte {
            case 0x21...0x7E, 0xA1...0xAC, 0xAE...0xFF: return UInt32(byte)
            default:
                defer { next += 1 }
                return next
            }
        }
    }()

    /// The byte of each code point below U+0144, or -1.
    static let byteOfCode: [Int16] = {
        var table = [Int16](repeating: -1, count: 0x144)
        for (byte, code) in codes.enumerated() { table[Int(code)] = Int16(byte) }
        return table
    }()

    /// The spelling of a byte, as UTF-8 (one or two bytes).
    static func appendSpelling(of byte: UInt8, to spelling: inout [UInt8]) {
        let code = codes[Int(byte)]
        if code < 0x80 {
            spelling.append(UInt8(code))
        } else {
            spelling.append(UInt8(0xC0 | code >> 6))
            spelling.append(UInt8(0x80 | code & 0x3F))
        }
    }

    /// The bytes a token stands for; a token with a character outside the alphabet stands for its own UTF-8.
    static func bytes(ofSpelling spelling: UnsafeBufferPointer<UInt8>) -> [UInt8] {
        guard let base = spelling.baseAddress else { return [] }
        var result: [UInt8] = []
        var index = 0
        while index < spelling.count {
            let (code, length) = UTF8Scanner.decode(base + index, spelling.count - index)
            guard let code, code < 0x144, byteOfCode[Int(code)] >= 0 else { return Array(spelling) }
            result.append(UInt8(byteOfCode[Int(code)]))
            index += length
        }
        return result
    }
}
