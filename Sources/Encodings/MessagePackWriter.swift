/// MessagePack, each value in its shortest form.
///
/// Source: the MessagePack specification (msgpack/msgpack, spec.md). Written by hand: packing a header is a line, and a call into C for
/// each small value would cost more than the value.
package struct MessagePackWriter: PayloadWriter {
    package private(set) var bytes: [UInt8] = []

    package init() { bytes.reserveCapacity(256) }

    package mutating func beginMap(_ count: Int) { appendContainer(count, short: 0x80, wide: 0xDE) }
    package mutating func endMap() {}
    package mutating func beginArray(_ count: Int) { appendContainer(count, short: 0x90, wide: 0xDC) }
    package mutating func endArray() {}
    package mutating func key(_ name: String) { string(name) }

    package mutating func string(_ value: String) {
        var value = value
        value.withUTF8 { string(utf8: UnsafeRawBufferPointer($0)) }
    }

    package mutating func string(utf8 value: UnsafeRawBufferPointer) {
        switch value.count {
        case ..<32: bytes.append(0xA0 | UInt8(value.count))
        case ..<0x100:
            bytes.append(0xD9)
            bytes.append(UInt8(value.count))
        case ..<0x1_0000:
            bytes.append(0xDA)
            append(UInt16(value.count))
        default:
            bytes.append(0xDB)
            append(UInt32(truncatingIfNeeded: value.count))
        }
        bytes.append(contentsOf: value)
    }

    /// Bytes that are no text.
    package mutating func binary(_ value: [UInt8]) {
        switch value.count {
        case ..<0x100:
            bytes.append(0xC4)
            bytes.append(UInt8(value.count))
        case ..<0x1_0000:
            bytes.append(0xC5)
            append(UInt16(value.count))
        default:
            bytes.append(0xC6)
            append(UInt32(truncatingIfNeeded: value.count))
        }
        bytes.append(contentsOf: value)
    }

    package mutating func int(_ value: Int64) {
        switch value {
        case 0..<128: bytes.append(UInt8(value))
        case -32..<0: bytes.append(UInt8(bitPattern: Int8(value)))
        case 128..<0x100:
            bytes.append(0xCC)
            bytes.append(UInt8(value))
        case 0x100..<0x1_0000:
            bytes.append(0xCD)
            append(UInt16(value))
        case 0x1_0000..<0x1_0000_0000:
            bytes.append(0xCE)
            append(UInt32(value))
        case 0x1_0000_0000...:
            bytes.append(0xCF)
            append(UInt64(value))
        case -0x80..<0:
            bytes.append(0xD0)
            bytes.append(UInt8(bitPattern: Int8(value)))
        case -0x8000..<0:
            bytes.append(0xD1)
            append(UInt16(bitPattern: Int16(value)))
        case -0x8000_0000..<0:
            bytes.append(0xD2)
            append(UInt32(bitPattern: Int32(value)))
        default:
            bytes.append(0xD3)
            append(UInt64(bitPattern: value))
        }
    }

    package mutating func double(_ value: Double) {
        guard value.isFinite else { return null() }
        bytes.append(0xCB)
        append(value.bitPattern)
    }

    package mutating func bool(_ value: Bool) { bytes.append(value ? 0xC3 : 0xC2) }
    package mutating func null() { bytes.append(0xC0) }

    package mutating func raw(json: [UInt8]) {
        // What is handed in was written by us or by PostgreSQL; were it broken after all, null is the honest answer.
        guard let document = try? Document.parse(json: json, maximumDepth: 64, allowNUL: true) else { return null() }
        document.root.write(to: &self)
    }

    private mutating func appendContainer(_ count: Int, short: UInt8, wide: UInt8) {
        switch count {
        case ..<16: bytes.append(short | UInt8(count))
        case ..<0x1_0000:
            bytes.append(wide)
            append(UInt16(count))
        default:
            bytes.append(wide + 1)
            append(UInt32(truncatingIfNeeded: count))
        }
    }

    private mutating func append(_ value: some FixedWidthInteger) {
        withUnsafeBytes(of: value.bigEndian) { bytes.append(contentsOf: $0) }
    }
}
