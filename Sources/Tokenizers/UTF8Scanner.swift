/// UTF-8 read strictly (Unicode 16.0, table 3-7): no overlong forms, no surrogates, nothing above U+10FFFF.
enum UTF8Scanner {
    /// The character at the start of `text`.
    /// - Returns: its code point and length; or nil and the length of the maximal subpart of an ill-formed sequence, at least 1,
    ///   that a lossy decoder replaces by one U+FFFD (Unicode 16.0, section 3.9.6).
    static func decode(_ text: UnsafePointer<UInt8>, _ count: Int) -> (code: UInt32?, length: Int) {
        let first = text[0]
        if first < 0x80 { return (UInt32(first), 1) }
        let needed = sequenceLength(first)
        guard needed > 1 else { return (nil, 1) }
        guard count > 1, isSecond(text[1], after: first) else { return (nil, 1) }
        var code = (UInt32(first) & (0x7F >> UInt32(needed))) << 6 | UInt32(text[1] & 0x3F)
        var index = 2
        while index < needed {
            guard index < count, text[index] & 0xC0 == 0x80 else { return (nil, index) }
            code = code << 6 | UInt32(text[index] & 0x3F)
            index += 1
        }
        return (code, needed)
    }

    /// How many bytes a sequence has that starts with `first`: 1 … 4, or 0 where none does.
    static func sequenceLength(_ first: UInt8) -> Int {
        switch first {
        case 0..<0x80: 1
        case 0xC2...0xDF: 2
        case 0xE0...0xEF: 3
        case 0xF0...0xF4: 4
        default: 0
        }
    }

    private static func isSecond(_ second: UInt8, after first: UInt8) -> Bool {
        switch first {
        case 0xE0: (0xA0...0xBF).contains(second)
        case 0xED: (0x80...0x9F).contains(second)
        case 0xF0: (0x90...0xBF).contains(second)
        case 0xF4: (0x80...0x8F).contains(second)
        default: second & 0xC0 == 0x80
        }
    }

    /// How many bytes at the end are the beginning of a character that more bytes could complete: 0 … 3.
    static func incompleteSuffix(_ text: UnsafeBufferPointer<UInt8>) -> Int {
        guard let base = text.baseAddress else { return 0 }
        for length in 1...3 where length <= text.count {
            let start = text.count - length
            let byte = text[start]
            if byte & 0xC0 == 0x80 { continue }
            guard sequenceLength(byte) > length else { return 0 }
            // Only a prefix that is well-formed so far can be completed.
            let (code, subpart) = decode(base + start, length)
            return code == nil && subpart == length ? length : 0
        }
        return 0
    }

    /// The text of these bytes; each maximal ill-formed subsequence becomes one U+FFFD.
    static func lossyString(_ bytes: UnsafeBufferPointer<UInt8>) -> String {
        if let exact = String(validating: bytes, as: UTF8.self) { return exact }
        guard let base = bytes.baseAddress else { return "" }
        var repaired: [UInt8] = []
        repaired.reserveCapacity(bytes.count + 16)
        var index = 0
        while index < bytes.count {
            let (code, length) = decode(base + index, bytes.count - index)
            if code == nil {
                repaired += [0xEF, 0xBF, 0xBD]
            } else {
                repaired.append(contentsOf: UnsafeBufferPointer(start: base + index, count: length))
            }
            index += length
        }
        return String(decoding: repaired, as: UTF8.self)
    }

    /// The offset of the first byte that is not well-formed UTF-8, or nil.
    static func firstInvalid(_ bytes: UnsafeBufferPointer<UInt8>) -> Int? {
        guard let base = bytes.baseAddress else { return nil }
        var index = 0
        while index < bytes.count {
            if bytes[index] < 0x80 {
                index += 1
                // Eight ASCII bytes at a time: most text is.
                while index + 8 <= bytes.count,
                    UnsafeRawPointer(base + index).loadUnaligned(as: UInt64.self) & 0x8080_8080_8080_8080 == 0
                {
                    index += 8
                }
                continue
            }
            let (code, length) = decode(base + index, bytes.count - index)
            guard code != nil else { return index }
            index += length
        }
        return nil
    }
}

/// Whether bytes are well-formed UTF-8.
package func isUTF8(_ bytes: UnsafeBufferPointer<UInt8>) -> Bool { UTF8Scanner.firstInvalid(bytes) == nil }
