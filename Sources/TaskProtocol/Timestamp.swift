/// Times of the contract: RFC 3339 text outside, milliseconds since 1970 inside.
package enum Timestamp {
    /// `2026-11-24T02:10:46.123Z`: always UTC, always three decimals.
    package static func text(milliseconds: Int64) -> String {
        let days = CivilDate.floorDivide(milliseconds, 86_400_000)
        let rest = Int(milliseconds - days * 86_400_000)
        let date = CivilDate(day: Int(days))
        return "\(padded(date.year, 4))-\(padded(date.month, 2))-\(padded(date.day, 2))T"
            + "\(padded(rest / 3_600_000, 2)):\(padded(rest / 60_000 % 60, 2)):\(padded(rest / 1000 % 60, 2)).\(padded(rest % 1000, 3))Z"
    }

    /// The time that RFC 3339 text names, rounded down to milliseconds; nil for any other text (also without an offset, which would leave
    /// the time open).
    package static func milliseconds(_ text: String) -> Int64? {
        var reader = DigitReader(Array(text.utf8))
        guard let year = reader.number(4), reader.take("-"), let month = reader.number(2), reader.take("-"), let day = reader.number(2),
            reader.take("Tt "), let hour = reader.number(2), reader.take(":"), let minute = reader.number(2), reader.take(":"),
            let second = reader.number(2), let fraction = reader.fraction(), let offset = reader.offset(), reader.isAtEnd
        else { return nil }
        guard (1...12).contains(month), (1...CivilDate.length(ofMonth: month, year: year)).contains(day), hour < 24, minute < 60, second <= 60 else {
            return nil
        }
        let seconds = Int64(CivilDate.number(year: year, month: month, day: day)) * 86_400 + Int64(hour * 3600 + minute * 60 + second - offset * 60)
        return seconds * 1000 + Int64(fraction)
    }

    private static func padded(_ value: Int, _ width: Int) -> String {
        let digits = String(value)
        return String(repeating: "0", count: max(0, width - digits.count)) + digits
    }
}

/// Takes the parts of a time from the front of its text.
private struct DigitReader {
    private let text: [UInt8]
    private var place = 0

    init(_ text: [UInt8]) { self.text = text }

    var isAtEnd: Bool { place == text.count }

    mutating func number(_ width: Int) -> Int? {
        guard place + width <= text.count else { return nil }
        var value = 0
        for byte in text[place..<place + width] {
            guard (48...57).contains(byte) else { return nil }
            value = value * 10 + Int(byte - 48)
        }
        place += width
        return value
    }

    mutating func take(_ allowed: String) -> Bool {
        guard place < text.count, allowed.utf8.contains(text[place]) else { return false }
        place += 1
        return true
    }

    /// Milliseconds after an optional point; nil where the point has no digit behind it.
    mutating func fraction() -> Int? {
        guard take(".") else { return 0 }
        var value = 0
        var digits = 0
        while let digit = number(1) {
            if digits < 3 { value = value * 10 + digit }
            digits += 1
        }
        guard digits > 0 else { return nil }
        for _ in min(digits, 3)..<3 { value *= 10 }
        return value
    }

    /// Minutes east of UTC.
    mutating func offset() -> Int? {
        if take("Zz") { return 0 }
        let negative = place < text.count && text[place] == UInt8(ascii: "-")
        guard take("+-"), let hours = number(2), take(":"), let minutes = number(2), hours < 24, minutes < 60 else { return nil }
        return (hours * 60 + minutes) * (negative ? -1 : 1)
    }
}
