/// Bytes as lower-case hexadecimal digits, two a byte.
package func hexString(_ bytes: [UInt8]) -> String {
    String(unsafeUninitializedCapacity: bytes.count * 2) { buffer in
        for (place, byte) in bytes.enumerated() {
            buffer[place * 2] = hexDigit(byte >> 4)
            buffer[place * 2 + 1] = hexDigit(byte & 15)
        }
        return bytes.count * 2
    }
}

/// The bytes that hexadecimal digits spell, in either case; nil where the text is anything else.
package func bytes(fromHex text: String) -> [UInt8]? {
    let digits = Array(text.utf8)
    guard digits.count.isMultiple(of: 2) else { return nil }
    var result: [UInt8] = []
    result.reserveCapacity(digits.count / 2)
    for place in stride(from: 0, to: digits.count, by: 2) {
        guard let high = hexValue(digits[place]), let low = hexValue(digits[place + 1]) else { return nil }
        result.append(high << 4 | low)
    }
    return result
}

/// The digit of a value below 16.
func hexDigit(_ value: UInt8) -> UInt8 { value < 10 ? 48 + value : 87 + value }

/// The value of one hexadecimal digit in either case.
package func hexValue(_ digit: UInt8) -> UInt8? {
    switch digit {
    case 48...57: digit - 48
    case 65...70: digit - 55
    case 97...102: digit - 87
    default: nil
    }
}
