/// The first field of each row of CSV text that arrives line by line.
///
/// Fields are separated by commas, rows end at a line's end (or a lone carriage return) outside quotes. A field that starts with a quote runs
/// to the next single one, line ends and commas included, and two quotes within stand for one. Empty lines are no rows.
/// Source: RFC 4180; what stands between a closing quote and the comma is kept, as Python's `csv` does.
struct CSVFirstColumn {
    struct Failure: Error, Equatable {
        let line: Int
        let problem: String
    }

    private enum State { case rowStart, fieldStart, plain, quoted, quoteInQuoted }

    private var state = State.rowStart
    private var isFirstField = true
    private var field: [UInt8] = []
    private var rowLine = 1

    /// Reads the next line, its end included.
    /// - Parameter row: receives the first field of each row that ends here.
    mutating func feed(_ line: UnsafeBufferPointer<UInt8>, _ number: Int, _ row: ([UInt8]) -> Void) {
        for byte in line {
            switch (state, byte) {
            case (.rowStart, 0x0A), (.rowStart, 0x0D): continue
            case (.quoted, UInt8(ascii: "\"")): state = .quoteInQuoted
            case (.quoted, _): keep(byte)
            case (_, 0x0A), (_, 0x0D): endRow(row)
            case (_, UInt8(ascii: ",")):
                if state == .rowStart { rowLine = number }
                isFirstField = false
                state = .fieldStart
            case (.rowStart, _):
                rowLine = number
                state = byte == UInt8(ascii: "\"") ? .quoted : .plain
                if state == .plain { keep(byte) }
            case (.fieldStart, UInt8(ascii: "\"")): state = .quoted
            case (.quoteInQuoted, UInt8(ascii: "\"")):
                keep(byte)
                state = .quoted
            default:
                keep(byte)
                state = .plain
            }
        }
    }

    /// Ends the last row.
    mutating func finish(_ row: ([UInt8]) -> Void) throws(Failure) {
        if state == .quoted { throw Failure(line: rowLine, problem: "a quoted field is never closed") }
        if state != .rowStart { endRow(row) }
    }

    private mutating func keep(_ byte: UInt8) {
        if isFirstField { field.append(byte) }
    }

    private mutating func endRow(_ row: ([UInt8]) -> Void) {
        row(field)
        field.removeAll(keepingCapacity: true)
        isFirstField = true
        state = .rowStart
    }
}
