/// JSON text, written from left to right without spaces.
package struct JSONWriter: PayloadWriter {
    package private(set) var bytes: [UInt8] = []
    private var needsComma = false

    package init() { bytes.reserveCapacity(256) }

    /// The text of one value that writes itself: `JSONWriter.text { write(to: &$0) }`.
    package static func text(_ body: (inout JSONWriter) -> Void) -> [UInt8] {
        var writer = JSONWriter()
        body(&writer)
        return writer.bytes
    }

    private mutating func separate() {
        if needsComma { bytes.append(UInt8(ascii: ",")) }
        needsComma = true
    }

    package mutating func beginMap(_ count: Int) {
        separate()
        bytes.append(UInt8(ascii: "{"))
        needsComma = false
    }

    package mutating func endMap() {
        bytes.append(UInt8(ascii: "}"))
        needsComma = true
    }

    package mutating func beginArray(_ count: Int) {
        separate()
        bytes.append(UInt8(ascii: "["))
        needsComma = false
    }

    package mutating func endArray() {
        bytes.append(UInt8(ascii: "]"))
        needsComma = true
    }

    package mutating func key(_ name: String) {
        string(name)
        bytes.append(UInt8(ascii: ":"))
        needsComma = false
    }

    /// A member's name whose bytes are known to be UTF-8.
    mutating func key(utf8 name: UnsafeRawBufferPointer) {
        string(utf8: name)
        bytes.append(UInt8(ascii: ":"))
        needsComma = false
    }

    package mutating func string(_ value: String) {
        separate()
        var value = value
        value.withUTF8 { appendQuoted(UnsafeRawBufferPointer($0)) }
    }

    package mutating func string(utf8 value: UnsafeRawBufferPointer) {
        separate()
        appendQuoted(value)
    }

    package mutating func int(_ value: Int64) {
        separate()
        appendDecimal(value)
    }

    package mutating func double(_ value: Double) {
        separate()
        guard value.isFinite else { return appendRaw("null") }
        appendECMAScript(value, to: &bytes)
    }

    package mutating func bool(_ value: Bool) {
        separate()
        appendRaw(value ? "true" : "false")
    }

    package mutating func binary(_ value: [UInt8]) { null() }

    package mutating func null() {
        separate()
        appendRaw("null")
    }

    package mutating func raw(json: [UInt8]) {
        separate()
        bytes.append(contentsOf: json)
    }

    /// Text that is not a value: white space of a pretty print.
    mutating func appendRaw(_ text: StaticString) {
        bytes.append(contentsOf: UnsafeBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount))
    }

    /// Text that is not a value, made at run time.
    mutating func appendRaw(_ text: String) { bytes.append(contentsOf: text.utf8) }

    /// The next value stands without a comma, because the caller wrote one.
    mutating func startFresh() { needsComma = false }

    private mutating func appendDecimal(_ value: Int64) {
        var magnitude = value.magnitude
        if magnitude < 10 && value >= 0 { return bytes.append(48 + UInt8(magnitude)) }
        withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 20) { digits in
            var place = 20
            repeat {
                place -= 1
                digits[place] = 48 + UInt8(truncatingIfNeeded: magnitude % 10)
                magnitude /= 10
            } while magnitude > 0
            if value < 0 {
                place -= 1
                digits[place] = UInt8(ascii: "-")
            }
            bytes.append(contentsOf: digits[place...])
        }
    }

    /// Escapes as RFC 8785 does: the two-character forms where JSON has one, `\u00xx` in lower case for other controls, nothing else.
    private mutating func appendQuoted(_ text: UnsafeRawBufferPointer) {
        bytes.append(UInt8(ascii: "\""))
        var start = 0
        for place in 0..<text.count {
            let byte = text[place]
            guard byte < 0x20 || byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "\\") else { continue }
            bytes.append(contentsOf: text[start..<place])
            start = place + 1
            appendEscape(byte)
        }
        bytes.append(contentsOf: text[start...])
        bytes.append(UInt8(ascii: "\""))
    }

    private mutating func appendEscape(_ byte: UInt8) {
        switch byte {
        case 0x08: appendRaw("\\b")
        case 0x09: appendRaw("\\t")
        case 0x0A: appendRaw("\\n")
        case 0x0C: appendRaw("\\f")
        case 0x0D: appendRaw("\\r")
        case UInt8(ascii: "\""): appendRaw("\\\"")
        case UInt8(ascii: "\\"): appendRaw("\\\\")
        default:
            appendRaw("\\u00")
            bytes.append(hexDigit(byte >> 4))
            bytes.append(hexDigit(byte & 15))
        }
    }
}
