/// A day of the proleptic Gregorian calendar, told from its number since 1970-01-01 and back.
///
/// Source: Howard Hinnant, "chrono-compatible low-level date algorithms".
struct CivilDate: Equatable {
    let year: Int
    let month: Int
    let day: Int

    /// The numbers of 0001-01-01 and 9999-12-31.
    static let firstDay = number(year: 1, month: 1, day: 1)
    static let lastDay = number(year: 9_999, month: 12, day: 31)

    /// The date of a day's number.
    init(day number: Int) {
        let shifted = number + 719_468
        let era = Int(Self.floorDivide(Int64(shifted), 146_097))
        let dayOfEra = shifted - era * 146_097
        let yearOfEra = (dayOfEra - dayOfEra / 1_460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let monthFromMarch = (5 * dayOfYear + 2) / 153
        month = monthFromMarch < 10 ? monthFromMarch + 3 : monthFromMarch - 9
        year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
        day = dayOfYear - (153 * monthFromMarch + 2) / 5 + 1
    }

    /// The number of a date.
    static func number(year: Int, month: Int, day: Int) -> Int {
        let shifted = month <= 2 ? year - 1 : year
        let era = Int(floorDivide(Int64(shifted), 400))
        let yearOfEra = shifted - era * 400
        let dayOfYear = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1
        return era * 146_097 + yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear - 719_468
    }

    static func length(ofMonth month: Int, year: Int) -> Int {
        switch month {
        case 2: year.isMultiple(of: 4) && (!year.isMultiple(of: 100) || year.isMultiple(of: 400)) ? 29 : 28
        case 4, 6, 9, 11: 30
        default: 31
        }
    }

    /// 0 for Sunday.
    static func weekday(ofDay number: Int) -> Int { ((number + 4) % 7 + 7) % 7 }

    static func floorDivide(_ value: Int64, _ divisor: Int64) -> Int64 {
        value >= 0 ? value / divisor : -((divisor - 1 - value) / divisor)
    }
}
