internal import CPostgreSQL
package import TaskProtocol

/// The rows of one statement, in PostgreSQL's binary format; freed with the last reference.
package final class StatementRows {
    private let result: OpaquePointer
    private let statement: String
    /// How many rows there are.
    package let count: Int
    /// How many rows a change touched.
    package let affected: Int

    init(_ result: OpaquePointer, statement: String) {
        self.result = result
        self.statement = statement
        count = Int(PQntuples(result))
        affected = Int(String(cString: PQcmdTuples(result))) ?? 0
    }

    deinit { PQclear(result) }

    package var indices: Range<Int> { 0..<count }

    package func isNull(_ row: Int, _ column: Int) -> Bool { PQgetisnull(result, Int32(row), Int32(column)) != 0 }

    private func raw(_ row: Int, _ column: Int) -> UnsafeRawBufferPointer? {
        guard !isNull(row, column), let start = PQgetvalue(result, Int32(row), Int32(column)) else { return nil }
        return UnsafeRawBufferPointer(start: start, count: Int(PQgetlength(result, Int32(row), Int32(column))))
    }

    private func present<Value>(_ value: Value?, _ column: Int) throws(StoreError) -> Value {
        guard let value else { throw .unexpectedRow(statement: statement, column: column) }
        return value
    }

    package func bytes(_ row: Int, _ column: Int) -> [UInt8]? { raw(row, column).map { [UInt8]($0) } }
    package func requireBytes(_ row: Int, _ column: Int) throws(StoreError) -> [UInt8] { try present(bytes(row, column), column) }

    package func string(_ row: Int, _ column: Int) -> String? { raw(row, column).map { String(decoding: $0, as: UTF8.self) } }
    package func requireString(_ row: Int, _ column: Int) throws(StoreError) -> String { try present(string(row, column), column) }

    /// smallint, integer or bigint.
    package func int(_ row: Int, _ column: Int) -> Int64? {
        guard let raw = raw(row, column), raw.count == 2 || raw.count == 4 || raw.count == 8 else { return nil }
        let value = raw.reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
        switch raw.count {
        case 2: return Int64(Int16(truncatingIfNeeded: value))
        case 4: return Int64(Int32(truncatingIfNeeded: value))
        default: return Int64(bitPattern: value)
        }
    }
    package func requireInt(_ row: Int, _ column: Int) throws(StoreError) -> Int64 { try present(int(row, column), column) }

    /// double precision.
    package func double(_ row: Int, _ column: Int) -> Double? {
        guard let raw = raw(row, column), raw.count == 8 else { return nil }
        return Double(bitPattern: raw.reduce(UInt64(0)) { $0 << 8 | UInt64($1) })
    }

    package func bool(_ row: Int, _ column: Int) throws(StoreError) -> Bool {
        try present(raw(row, column)?.first.map { $0 != 0 }, column)
    }

    package func uuid(_ row: Int, _ column: Int) -> UUIDValue? {
        guard let raw = raw(row, column), raw.count == 16 else { return nil }
        let hi = raw[0..<8].reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
        let lo = raw[8..<16].reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
        return UUIDValue(hi: hi, lo: lo)
    }
    package func requireUUID(_ row: Int, _ column: Int) throws(StoreError) -> UUIDValue { try present(uuid(row, column), column) }
}
