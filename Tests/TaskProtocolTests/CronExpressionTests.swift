import Foundation
import TaskProtocol
import TestSupport
import Testing

/// A cron expression as its definition reads: every minute is asked whether all fields allow it.
struct NaiveCron {
    let fields: [Set<Int>]
    let eitherDay: Bool
    private static let calendar: Calendar = {
        var calendar = Calendar(identifier: .gregorian)
        calendar.timeZone = TimeZone(secondsFromGMT: 0)!
        return calendar
    }()

    /// Reads fields made of plain numbers only.
    init(_ text: String) {
        let parts = text.split(separator: " ").map(String.init)
        let bounds = [(0, 59), (0, 23), (1, 31), (1, 12), (0, 7)]
        fields = zip(parts, bounds).map { part, bound in
            var set = Set<Int>()
            for item in part.split(separator: ",") {
                let halves = item.split(separator: "/")
                let ends = halves[0].split(separator: "-").map { Int($0) }
                let low = halves[0] == "*" ? bound.0 : ends[0]!
                let high = halves[0] == "*" ? bound.1 : ends.count > 1 ? ends[1]! : halves.count > 1 ? bound.1 : low
                let step = halves.count > 1 ? Int(halves[1])! : 1
                for value in low...high where (value - low) % step == 0 { set.insert(value) }
            }
            return set
        }
        eitherDay = parts[2].first != "*" && parts[4].first != "*"
    }

    func matches(_ minute: Int64) -> Bool {
        let parts = Self.calendar.dateComponents([.minute, .hour, .day, .month, .weekday], from: Date(timeIntervalSince1970: Double(minute) * 60))
        let weekday = parts.weekday! - 1
        let day = fields[2].contains(parts.day!)
        let fitsWeekday = fields[4].contains(weekday) || weekday == 0 && fields[4].contains(7)
        return fields[0].contains(parts.minute!) && fields[1].contains(parts.hour!) && fields[3].contains(parts.month!)
            && (eitherDay ? day || fitsWeekday : day && fitsWeekday)
    }
}

@Suite("Cron expressions") struct CronExpressionTests {
    private func time(_ text: String) throws -> Int64 { try #require(Timestamp.milliseconds(text)) }

    @Test(
        "the next tick is the first minute that fits",
        arguments: [
            ("0 3 * * *", "2026-11-24T02:59:59.999Z", "2026-11-24T03:00:00Z"), ("0 3 * * *", "2026-11-24T03:00:00Z", "2026-11-25T03:00:00Z"),
            ("*/15 * * * *", "2026-11-24T23:46:00Z", "2026-11-25T00:00:00Z"),
            ("30 9-17/4 * * mon-fri", "2026-11-27T17:30:00Z", "2026-11-30T09:30:00Z"),
            ("0 0 29 2 *", "2026-01-01T00:00:00Z", "2028-02-29T00:00:00Z"), ("0 0 29 2 *", "2096-03-01T00:00:00Z", "2104-02-29T00:00:00Z"),
            ("0 0 31 * *", "2026-03-31T00:00:00Z", "2026-05-31T00:00:00Z"), ("0 12 13 * fri", "2026-11-24T00:00:00Z", "2026-11-27T12:00:00Z"),
            ("@hourly", "2026-12-31T23:00:00Z", "2027-01-01T00:00:00Z"), ("@weekly", "2026-11-24T00:00:00Z", "2026-11-29T00:00:00Z"),
            ("@yearly", "2026-11-24T00:00:00Z", "2027-01-01T00:00:00Z"), ("5/20 8,20 1 JAN,jul *", "2026-01-01T08:45:00Z", "2026-01-01T20:05:00Z"),
            ("0 0 * * sat-sun", "2026-11-27T12:00:00Z", "2026-11-28T00:00:00Z"), ("0 0 * * 7", "2026-11-28T00:00:00Z", "2026-11-29T00:00:00Z"),
        ]) func examples(_ cron: String, _ after: String, _ expected: String) throws
    {
        let next = try CronExpression(cron).next(after: time(after))
        #expect(next.map(Timestamp.text(milliseconds:)) == Timestamp.text(milliseconds: try time(expected)))
    }

    @Test(
        "what is wrong is said with the field's name",
        arguments: [
            ("", CronFault.fields), ("* * * *", .fields), ("* * * * * *", .fields), ("@noon", .fields), ("60 * * * *", .range("minute", 0, 59)),
            ("* 24 * * *", .range("hour", 0, 23)), ("* * 0 * *", .range("day of the month", 1, 31)), ("* * * 13 *", .range("month", 1, 12)),
            ("* * * * 8", .range("day of the week", 0, 7)), ("5-1 * * * *", .order("minute")), ("*/0 * * * *", .step("minute")),
            ("a * * * *", .syntax("minute")), ("1, * * * *", .syntax("minute")), ("1-2-3 * * * *", .syntax("minute")),
            ("1/ * * * *", .syntax("minute")),
            ("*/x * * * *", .syntax("minute")), ("* * * foo *", .syntax("month")), ("* * * * 1#2", .syntax("day of the week")),
            ("* * L * *", .syntax("day of the month")), ("-1 * * * *", .syntax("minute")), ("0 0 30 2 *", .noSuchDay),
            ("0 0 31 4,6,9,11 */2", .noSuchDay),
        ]) func faults(_ cron: String, _ expected: CronFault)
    {
        #expect(throws: expected) { try CronExpression(cron) }
    }

    @Test("a day that fits one of two restricted day fields will do, even one that no month has") func eitherDay() throws {
        let next = try CronExpression("0 0 31 2 mon").next(after: time("2026-01-01T00:00:00Z"))
        #expect(next == (try time("2026-02-02T00:00:00Z")))
    }

    /// One field of plain numbers.
    private func field(_ low: Int, _ high: Int, _ random: inout SeededGenerator) -> String {
        let count = Int.random(in: 1...3, using: &random)
        return (0..<count).map { _ in
            let first = Int.random(in: low...high, using: &random)
            switch Int.random(in: 0..<5, using: &random) {
            case 0: return "*/\(Int.random(in: 1...20, using: &random))"
            case 1: return "\(first)-\(Int.random(in: first...high, using: &random))"
            case 2: return "\(first)-\(Int.random(in: first...high, using: &random))/\(Int.random(in: 1...7, using: &random))"
            case 3: return "\(first)/\(Int.random(in: 1...9, using: &random))"
            default: return "\(first)"
            }
        }.joined(separator: ",")
    }

    @Test("next and last agree with asking every minute", arguments: 0..<60) func property(_ seed: Int) throws {
        var random = SeededGenerator(seed: UInt64(seed))
        let bounds = [(0, 59), (0, 23), (1, 31), (1, 12), (0, 7)]
        let text = bounds.map { low, high in Bool.random(using: &random) ? "*" : field(low, high, &random) }.joined(separator: " ")
        let cron: CronExpression
        do throws(CronFault) { cron = try CronExpression(text) } catch { return #expect(error == .noSuchDay, "\(text)") }
        let naive = NaiveCron(text)
        var minute = Int64.random(in: 0..<80_000_000, using: &random)
        // A window of three weeks, each tick of it compared in both directions.
        let end = minute + 30_000
        var expected = minute * 60_000
        while minute < end {
            minute += 1
            guard naive.matches(minute) else { continue }
            let next = cron.next(after: expected)
            guard next == minute * 60_000 else { return #expect(next == minute * 60_000, "\(text) after \(expected)") }
            #expect(cron.last(atOrBefore: minute * 60_000 + 59_999) == minute * 60_000, "\(text)")
            expected = minute * 60_000
        }
        let beyond = try #require(cron.next(after: expected))
        #expect(beyond > end * 60_000 && naive.matches(beyond / 60_000), "\(text)")
        #expect(cron.last(atOrBefore: beyond - 1) ?? -1 <= end * 60_000, "\(text)")
    }
}

@Suite("Schedules") struct SchedulePlanTests {
    private let daily: CronExpression
    private let minutely: CronExpression
    private let day: Int64 = 86_400_000
    /// 03:00 on some day.
    private let tick: Int64 = 20_000 * 86_400_000 + 10_800_000

    init() throws {
        daily = try CronExpression("0 3 * * *")
        minutely = try CronExpression("* * * * *")
    }

    @Test("a new schedule makes no task; its next time is noted") func fresh() {
        let plan = SchedulePlan(daily, misfire: .all, next: nil, now: tick + 5)
        #expect(plan.ticks.isEmpty && plan.next == tick + day)
    }

    @Test("before its time nothing happens; at its time there is one task, whatever it does about misfires", arguments: Misfire.allCases)
    func due(_ misfire: Misfire) {
        #expect(SchedulePlan(daily, misfire: misfire, next: tick, now: tick - 1).ticks.isEmpty)
        for late: Int64 in [0, 900, 59_000] {
            let plan = SchedulePlan(daily, misfire: misfire, next: tick, now: tick + late)
            #expect(plan.ticks == [tick] && plan.next == tick + day)
        }
    }

    @Test("after an outage one makes a task for the last tick, skip none, all one each") func outage() {
        let now = tick + 3 * day + 7_200_000
        #expect(SchedulePlan(daily, misfire: .one, next: tick, now: now).ticks == [tick + 3 * day])
        #expect(SchedulePlan(daily, misfire: .skip, next: tick, now: now).ticks == [])
        #expect(SchedulePlan(daily, misfire: .all, next: tick, now: now).ticks == (0...3).map { tick + $0 * day })
        for misfire in Misfire.allCases { #expect(SchedulePlan(daily, misfire: misfire, next: tick, now: now).next == tick + 4 * day) }
    }

    @Test("skip still takes the tick that is due right now") func skipTakesThePresent() {
        let plan = SchedulePlan(minutely, misfire: .skip, next: tick, now: tick + 600_500)
        #expect(plan.ticks == [tick + 600_000] && plan.next == tick + 660_000)
    }

    @Test("a long outage is made up for a thousand ticks at a time, none left out") func longOutage() {
        let now = tick + 2_500 * 60_000
        var (ticks, next): ([Int64], Int64?) = ([], tick)
        for _ in 0..<3 {
            let plan = SchedulePlan(minutely, misfire: .all, next: next, now: now)
            ticks += plan.ticks
            next = plan.next
        }
        #expect(ticks == (0...2_500).map { tick + Int64($0) * 60_000 } && next == now + 60_000)
    }

    @Test("a clock set back makes no tick twice: the noted time is ahead") func clockSetBack() {
        #expect(SchedulePlan(minutely, misfire: .all, next: tick, now: tick - 3_600_000).ticks.isEmpty)
    }
}
