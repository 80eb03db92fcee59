/// Appends a finite real as ECMAScript's Number::toString prints it: the shortest digits that read back as the same double, in plain
/// notation from 1e-6 up to below 1e21 and with an exponent else; no `.0`, and zero without sign.
///
/// Source: RFC 8785 section 3.2.2.3; ECMA-262, Number::toString.
func appendECMAScript(_ value: Double, to bytes: inout [UInt8]) {
    if value == 0 { return bytes.append(UInt8(ascii: "0")) }
    if value < 0 { bytes.append(UInt8(ascii: "-")) }
    let (digits, point) = shortestDigits(value.magnitude)
    switch point {
    case 1...21 where digits.count <= point:
        bytes.append(contentsOf: digits)
        bytes.append(contentsOf: repeatElement(UInt8(ascii: "0"), count: point - digits.count))
    case 1...21:
        bytes.append(contentsOf: digits[..<point])
        bytes.append(UInt8(ascii: "."))
        bytes.append(contentsOf: digits[point...])
    case -5...0:
        bytes.append(contentsOf: "0.".utf8)
        bytes.append(contentsOf: repeatElement(UInt8(ascii: "0"), count: -point))
        bytes.append(contentsOf: digits)
    default:
        bytes.append(digits[0])
        if digits.count > 1 {
            bytes.append(UInt8(ascii: "."))
            bytes.append(contentsOf: digits[1...])
        }
        bytes.append(UInt8(ascii: "e"))
        bytes.append(UInt8(ascii: point > 0 ? "+" : "-"))
        bytes.append(contentsOf: String((point - 1).magnitude).utf8)
    }
}

/// The significant digits of a positive real, without zeros at either end, and where the decimal point stands: value = 0.DIGITS × 10^point.
/// Swift's own description already holds the shortest digits; only its notation differs.
private func shortestDigits(_ value: Double) -> (digits: [UInt8], point: Int) {
    var digits: [UInt8] = []
    digits.reserveCapacity(24)
    var point = 0
    var exponent = 0
    var seenPoint = false
    var description = value.description
    description.withUTF8 { text in
        var place = 0
        while place < text.count {
            let byte = text[place]
            place += 1
            switch byte {
            case UInt8(ascii: "."): seenPoint = true
            case UInt8(ascii: "e"): (exponent, place) = (readExponent(text, from: place), text.count)
            default:
                if digits.isEmpty && byte == 48 {
                    if seenPoint { point -= 1 }
                    continue
                }
                digits.append(byte)
                if !seenPoint { point += 1 }
            }
        }
    }
    while digits.last == 48 { digits.removeLast() }
    return (digits, point + exponent)
}

private func readExponent(_ text: UnsafeBufferPointer<UInt8>, from start: Int) -> Int {
    var value = 0
    for byte in text[start...] where byte >= 48 { value = value * 10 + Int(byte - 48) }
    return start < text.count && text[start] == UInt8(ascii: "-") ? -value : value
}
