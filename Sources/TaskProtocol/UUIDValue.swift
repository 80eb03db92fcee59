import Encodings

/// A UUID as two words: hashing and comparing it costs no allocation, and the order is that of its text and of PostgreSQL's `uuid`.
package struct UUIDValue: Hashable, Sendable, Comparable, CustomStringConvertible {
    /// The first eight bytes; of a version-7 UUID the upper 48 bits are its time.
    package let hi: UInt64
    /// The last eight bytes.
    package let lo: UInt64

    package init(hi: UInt64, lo: UInt64) {
        self.hi = hi
        self.lo = lo
    }

    /// The UUID that 36 characters spell (8-4-4-4-12 hexadecimal digits in either case); nil for any other text.
    package init?(_ text: String) {
        var text = text
        guard let value = text.withUTF8({ UUIDValue(utf8: UnsafeRawBufferPointer($0)) }) else { return nil }
        self = value
    }

    /// ``init(_:)`` of bytes in place.
    package init?(utf8 text: UnsafeRawBufferPointer) {
        guard text.count == 36 else { return nil }
        var words: (hi: UInt64, lo: UInt64) = (0, 0)
        for place in 0..<36 {
            if place == 8 || place == 13 || place == 18 || place == 23 {
                guard text[place] == UInt8(ascii: "-") else { return nil }
                continue
            }
            guard let digit = hexValue(text[place]) else { return nil }
            words.hi = words.hi << 4 | words.lo >> 60
            words.lo = words.lo << 4 | UInt64(digit)
        }
        self.init(hi: words.hi, lo: words.lo)
    }

    /// A version-4 UUID of the system's randomness.
    package static func random() -> UUIDValue {
        var generator = SystemRandomNumberGenerator()
        return random(using: &generator)
    }

    /// A version-4 UUID of the given randomness.
    package static func random(using generator: inout some RandomNumberGenerator) -> UUIDValue {
        UUIDValue(hi: stamp(generator.next(), version: 4), lo: variant(generator.next()))
    }

    /// A version-7 UUID: 48 bits of time, the rest random. Those of different milliseconds sort by time.
    ///
    /// Source: RFC 9562 section 5.7.
    /// - Parameters:
    ///   - milliseconds: since 1970; the lower 48 bits are used.
    ///   - random: where the other 74 bits come from.
    package static func version7(milliseconds: Int64, random: inout some RandomNumberGenerator) -> UUIDValue {
        UUIDValue(hi: stamp(UInt64(bitPattern: milliseconds) << 16 | random.next() & 0xFFFF, version: 7), lo: variant(random.next()))
    }

    /// A version-7 UUID of the system's randomness.
    package static func version7(milliseconds: Int64) -> UUIDValue {
        var generator = SystemRandomNumberGenerator()
        return version7(milliseconds: milliseconds, random: &generator)
    }

    private static func stamp(_ word: UInt64, version: UInt64) -> UInt64 { word & ~0xF000 | version << 12 }
    private static func variant(_ word: UInt64) -> UInt64 { word & ~(3 << 62) | 1 << 63 }

    /// The version that it announces: 4 and 7 are made here.
    package var version: Int { Int(hi >> 12 & 15) }

    /// The time of a version-7 UUID, milliseconds since 1970.
    package var milliseconds: Int64 { Int64(hi >> 16) }

    /// The sixteen bytes, first byte first.
    package var bytes: [UInt8] {
        withUnsafeBytes(of: (hi.bigEndian, lo.bigEndian)) { Array($0) }
    }

    /// 36 characters in lower case.
    package var description: String {
        String(unsafeUninitializedCapacity: 36) { buffer in
            var shift = 128
            for place in 0..<36 {
                if place == 8 || place == 13 || place == 18 || place == 23 {
                    buffer[place] = UInt8(ascii: "-")
                    continue
                }
                shift -= 4
                let digit = UInt8(truncatingIfNeeded: (shift >= 64 ? hi >> (shift - 64) : lo >> shift) & 15)
                buffer[place] = digit < 10 ? 48 + digit : 87 + digit
            }
            return 36
        }
    }

    package static func < (left: UUIDValue, right: UUIDValue) -> Bool { (left.hi, left.lo) < (right.hi, right.lo) }
}

/// Names a task; version 7.
package typealias TaskID = UUIDValue
/// Names one lease: the fencing token of an attempt.
package typealias LeaseID = UUIDValue
/// Names one process start of a worker.
package typealias SessionID = UUIDValue
/// Names one process start of a broker.
package typealias BrokerID = UUIDValue
/// Names a stored checkpoint; version 7.
package typealias CheckpointID = UUIDValue
