/// When a schedule ticks: a cron expression, always in UTC.
///
///     try CronExpression("*/15 9-17 * * mon-fri").next(after: now)
///
/// Five fields (minute, hour, day of the month, month, day of the week), each a list of values, ranges `a-b` and steps `*/n`, `a-b/n`, `a/n` (from a
/// on); months and weekdays also by their English names of three letters; Sunday is 0 and 7. Where both day fields are restricted (neither begins with
/// `*`) a day that fits either will do, as in Vixie's cron. Or one word: `@hourly`, `@daily` (`@midnight`), `@weekly`, `@monthly`, `@yearly`
/// (`@annually`). An expression that can never come is refused.
///
/// `scriptorium.cron_fault()` holds the same rules for what is written in SQL; a test compares the two.
package struct CronExpression: Sendable, Equatable {
    /// Sets of values, a bit each.
    private let minutes: UInt64
    private let hours: UInt64
    private let days: UInt64
    private let months: UInt64
    private let weekdays: UInt64
    /// Both day fields are restricted: one that fits is enough.
    private let eitherDay: Bool

    private static let words: [String: String] = [
        "@hourly": "0 * * * *", "@daily": "0 0 * * *", "@midnight": "0 0 * * *", "@weekly": "0 0 * * 0", "@monthly": "0 0 1 * *",
        "@yearly": "0 0 1 1 *", "@annually": "0 0 1 1 *",
    ]

    /// Reads an expression.
    /// - Throws: what is wrong with it, in a sentence.
    package init(_ text: String) throws(CronFault) {
        guard text.utf8.count <= 1_000 else { throw .fields }
        let lower = text.lowercased()
        let trimmed = lower.split { $0 == " " || $0 == "\t" }.joined(separator: " ")
        let fields = (Self.words[trimmed] ?? trimmed).split(separator: " ").map(String.init)
        guard fields.count == 5 else { throw .fields }
        var sets: [UInt64] = []
        for (kind, field) in zip(CronField.allCases, fields) { sets.append(try kind.parse(field)) }
        (minutes, hours, days, months) = (sets[0], sets[1], sets[2], sets[3])
        weekdays = (sets[4] | sets[4] >> 7) & 0x7F
        eitherDay = !fields[2].hasPrefix("*") && !fields[4].hasPrefix("*")
        let longest = (1...12).filter { sets[3] & 1 << UInt64($0) != 0 }.map { $0 == 2 ? 29 : CivilDate.length(ofMonth: $0, year: 2_001) }.max() ?? 0
        guard eitherDay || sets[2].trailingZeroBitCount <= longest else { throw .noSuchDay }
    }

    private func fits(_ date: CivilDate, _ day: Int) -> Bool {
        let fitsDay = days & 1 << UInt64(date.day) != 0
        let fitsWeekday = weekdays & 1 << UInt64(CivilDate.weekday(ofDay: day)) != 0
        return eitherDay ? fitsDay || fitsWeekday : fitsDay && fitsWeekday
    }

    /// The first tick after a time.
    /// - Parameter milliseconds: since 1970.
    /// - Returns: nil only past the end of the calendar (the year 9999).
    package func next(after milliseconds: Int64) -> Int64? {
        let minute = CivilDate.floorDivide(milliseconds, 60_000) + 1
        var day = Int(CivilDate.floorDivide(minute, 1_440))
        var first = Int(minute - Int64(day) * 1_440)
        while day < CivilDate.lastDay {
            let date = CivilDate(day: day)
            if months & 1 << UInt64(date.month) == 0 {
                day += CivilDate.length(ofMonth: date.month, year: date.year) - date.day + 1
                first = 0
                continue
            }
            if fits(date, day), let found = minuteOfDay(from: first) { return Self.milliseconds(day, found) }
            day += 1
            first = 0
        }
        return nil
    }

    /// The last tick at or before a time.
    /// - Returns: nil only before the year 1.
    package func last(atOrBefore milliseconds: Int64) -> Int64? {
        let minute = CivilDate.floorDivide(milliseconds, 60_000)
        var day = Int(CivilDate.floorDivide(minute, 1_440))
        var latest = Int(minute - Int64(day) * 1_440)
        while day > CivilDate.firstDay {
            let date = CivilDate(day: day)
            if months & 1 << UInt64(date.month) == 0 {
                day -= date.day
                latest = 1_439
                continue
            }
            if fits(date, day), let found = minuteOfDay(to: latest) { return Self.milliseconds(day, found) }
            day -= 1
            latest = 1_439
        }
        return nil
    }

    private func minuteOfDay(from first: Int) -> Int? { (first..<1_440).first(where: isSet) }

    private func minuteOfDay(to last: Int) -> Int? { (0...last).last(where: isSet) }

    private func isSet(_ minuteOfDay: Int) -> Bool {
        hours & 1 << UInt64(minuteOfDay / 60) != 0 && minutes & 1 << UInt64(minuteOfDay % 60) != 0
    }

    private static func milliseconds(_ day: Int, _ minuteOfDay: Int) -> Int64 { (Int64(day) * 1_440 + Int64(minuteOfDay)) * 60_000 }
}

/// What is wrong with a cron expression.
package enum CronFault: Error, Sendable, Equatable, CustomStringConvertible {
    case fields
    case syntax(String)
    case range(String, Int, Int)
    case order(String)
    case step(String)
    case noSuchDay

    package var description: String {
        switch self {
        case .fields:
            "cron needs five fields (minute, hour, day of the month, month, day of the week) or one of @hourly, @daily, @weekly, @monthly, @yearly"
        case .syntax(let field): "the \(field) field of cron holds something that is no value, range, list or step"
        case .range(let field, let low, let high): "the \(field) field of cron has a value that is not in \(low) … \(high)"
        case .order(let field): "the \(field) field of cron has a range that ends before it begins"
        case .step(let field): "the \(field) field of cron has a step of 0"
        case .noSuchDay: "cron names no day that exists: none of its months has that day"
        }
    }
}

/// The five fields, in their order.
private enum CronField: String, CaseIterable {
    case minute
    case hour
    case day = "day of the month"
    case month
    case weekday = "day of the week"

    private var range: ClosedRange<Int> {
        switch self {
        case .minute: 0...59
        case .hour: 0...23
        case .day: 1...31
        case .month: 1...12
        case .weekday: 0...7
        }
    }

    private static let months = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
    private static let weekdays = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]

    /// The set of values that a field names.
    func parse(_ field: String) throws(CronFault) -> UInt64 {
        var set: UInt64 = 0
        for item in field.split(separator: ",", omittingEmptySubsequences: false) { set |= try parse(item: item) }
        return set
    }

    private func parse(item: Substring) throws(CronFault) -> UInt64 {
        let halves = item.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
        let step = halves.count > 1 ? Self.number(halves[1]) : nil
        guard halves.count == 1 || step != nil else { throw .syntax(rawValue) }
        var (low, high) = (range.lowerBound, range.upperBound)
        if halves[0] != "*" {
            let ends = halves[0].split(separator: "-", omittingEmptySubsequences: false)
            guard ends.count <= 2, let first = value(ends[0]), let last = ends.count > 1 ? value(ends[1]) : step == nil ? first : high else {
                throw .syntax(rawValue)
            }
            (low, high) = (first, last)
            // Sunday ends the week, too.
            if self == .weekday, ends.count > 1, high == 0, low > 0 { high = 7 }
        }
        guard range.contains(low), range.contains(high) else { throw .range(rawValue, range.lowerBound, range.upperBound) }
        guard low <= high else { throw .order(rawValue) }
        guard step != 0 else { throw .step(rawValue) }
        return stride(from: low, through: high, by: step ?? 1).reduce(0) { $0 | 1 << UInt64($1) }
    }

    private func value(_ text: Substring) -> Int? {
        if let number = Self.number(text) { return number }
        switch self {
        case .month: return Self.months.firstIndex(of: String(text)).map { $0 + 1 }
        case .weekday: return Self.weekdays.firstIndex(of: String(text))
        default: return nil
        }
    }

    /// One or two digits.
    private static func number(_ text: Substring) -> Int? {
        guard (1...2).contains(text.utf8.count), text.utf8.allSatisfy({ (48...57).contains($0) }) else { return nil }
        return Int(text)
    }
}
