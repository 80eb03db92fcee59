package import TaskProtocol

/// One parameter of a statement in PostgreSQL's binary format.
///
/// Scalars are big-endian; an array is its dimension count, a flag for nulls, the element type's OID, length and lower bound, then each
/// element with its length (-1: null). Source: PostgreSQL 15, `src/backend/utils/adt/arrayfuncs.c`, `array_recv`.
package struct StatementParameter: Sendable {
    /// The bytes; nil is SQL's null.
    let bytes: [UInt8]?

    package static let null = StatementParameter(bytes: nil)

    package static func text(_ value: String?) -> StatementParameter { StatementParameter(bytes: value.map { Array($0.utf8) }) }
    package static func bytes(_ value: [UInt8]?) -> StatementParameter { StatementParameter(bytes: value) }
    package static func bool(_ value: Bool) -> StatementParameter { StatementParameter(bytes: [value ? 1 : 0]) }
    package static func int(_ value: Int64?) -> StatementParameter { StatementParameter(bytes: value.map { bigEndian(UInt64(bitPattern: $0)) }) }
    package static func int32(_ value: Int?) -> StatementParameter {
        StatementParameter(bytes: value.map { bigEndian(UInt32(bitPattern: Int32(clamping: $0))) })
    }
    package static func double(_ value: Double?) -> StatementParameter { StatementParameter(bytes: value.map { bigEndian($0.bitPattern) }) }
    package static func uuid(_ value: UUIDValue?) -> StatementParameter { StatementParameter(bytes: value.map(uuidBytes)) }

    package static func uuids(_ values: some Collection<UUIDValue?>) -> StatementParameter {
        array(of: 2950, values) { out, value in
            append(bigEndian: value.hi, to: &out)
            append(bigEndian: value.lo, to: &out)
        }
    }
    package static func ints(_ values: some Collection<Int64?>) -> StatementParameter {
        array(of: 20, values) { out, value in append(bigEndian: UInt64(bitPattern: value), to: &out) }
    }
    package static func int32s(_ values: some Collection<Int?>) -> StatementParameter {
        array(of: 23, values) { out, value in append(bigEndian: UInt32(bitPattern: Int32(clamping: value)), to: &out) }
    }
    package static func doubles(_ values: some Collection<Double?>) -> StatementParameter {
        array(of: 701, values) { out, value in append(bigEndian: value.bitPattern, to: &out) }
    }
    package static func bools(_ values: some Collection<Bool?>) -> StatementParameter {
        array(of: 16, values) { out, value in out.append(value ? 1 : 0) }
    }
    package static func texts(_ values: some Collection<String?>) -> StatementParameter {
        array(of: 25, values) { out, value in out.append(contentsOf: value.utf8) }
    }
    /// Bytes that are text: JSON to be cast in the statement.
    package static func textBytes(_ values: some Collection<[UInt8]?>) -> StatementParameter {
        array(of: 25, values) { out, value in out.append(contentsOf: value) }
    }

    private static func array<Element>(
        of oid: UInt32, _ values: some Collection<Element?>, _ write: (inout [UInt8], Element) -> Void
    ) -> StatementParameter {
        var out: [UInt8] = []
        out.reserveCapacity(20 + values.count * 20)
        append(bigEndian: UInt32(values.isEmpty ? 0 : 1), to: &out)
        append(bigEndian: UInt32(values.contains { $0 == nil } ? 1 : 0), to: &out)
        append(bigEndian: oid, to: &out)
        guard !values.isEmpty else { return StatementParameter(bytes: out) }
        append(bigEndian: UInt32(values.count), to: &out)
        append(bigEndian: UInt32(1), to: &out)
        for value in values {
            guard let value else {
                append(bigEndian: UInt32.max, to: &out)
                continue
            }
            let lengthAt = out.count
            append(bigEndian: UInt32(0), to: &out)
            write(&out, value)
            let length = UInt32(out.count - lengthAt - 4)
            for index in 0..<4 { out[lengthAt + index] = UInt8(truncatingIfNeeded: length >> UInt32(24 - 8 * index)) }
        }
        return StatementParameter(bytes: out)
    }

    private static func append<Number: FixedWidthInteger>(bigEndian value: Number, to out: inout [UInt8]) {
        withUnsafeBytes(of: value.bigEndian) { out.append(contentsOf: $0) }
    }

    private static func bigEndian<Number: FixedWidthInteger>(_ value: Number) -> [UInt8] {
        withUnsafeBytes(of: value.bigEndian) { Array($0) }
    }

    private static func uuidBytes(_ value: UUIDValue) -> [UInt8] { bigEndian(value.hi) + bigEndian(value.lo) }
}
