import DatabaseTestSupport
import Encodings
import Foundation
import TaskProtocol
import TaskStore
import TestSupport
import Testing

@Suite("Periodic tasks") struct ScheduleTests {
    private func administer(_ bench: Bench, _ request: Administration) throws -> AdministrationReply {
        let reply = bench.ask(.administer(request))
        guard case .administered(let answer) = reply else { throw Bench.Surprise(description: "\(reply)") }
        return answer
    }

    private func add(_ bench: Bench, _ name: String, _ cron: String = "* * * * *", misfire: Misfire? = nil, params: String = #"{"model":"demo"}"#)
        throws
    {
        _ = try administer(
            bench,
            .setSchedule(ScheduleChange(name: name, cron: cron, kind: .generate, params: Array(params.utf8), misfire: misfire)))
    }

    /// As if the schedule had been due so many minutes ago, and nobody had looked since.
    private func miss(_ bench: Bench, _ name: String, minutes: Int) throws {
        _ = try bench.due()
        try bench.connection.execute(
            "UPDATE schedules SET next_run_at = date_trunc('minute', now()) - interval '\(minutes) minutes' WHERE name = '\(name)'")
    }

    private func count(_ bench: Bench, _ name: String) throws -> Int {
        Int(try bench.value("SELECT count(*) FROM tasks WHERE tags ->> 'schedule' = '\(name)'") ?? "") ?? -1
    }

    @Test("a new schedule makes no task before its time, which the next sweep notes") func fresh() throws {
        let bench = try Bench()
        try add(bench, "hourly", "@hourly")
        let due = try bench.due()
        #expect(try count(bench, "hourly") == 0)
        #expect(try bench.value("SELECT next_run_at = date_trunc('hour', now()) + interval '1 hour' FROM schedules") == "true")
        #expect(due.nextDueMilliseconds.map { $0 % 3_600_000 == 0 && $0 > due.databaseMilliseconds } == true, "the broker wakes for it")
    }

    @Test("a tick makes one task, named and tagged by its nominal time, which then runs like any other") func tick() throws {
        let bench = try Bench()
        // Yearly, so that no second tick comes while the test runs.
        try add(bench, "yearly", "@yearly")
        try miss(bench, "yearly", minutes: 0)
        #expect(try bench.due().unchecked == 1)
        #expect(try count(bench, "yearly") == 1)
        let agrees = try bench.value(
            """
            SELECT t.tags ->> 'tick' = to_char(s.last_run_at, 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AND s.next_run_at > now()
                AND t.kind = 'generate' AND t.client = 'schedule'
            FROM tasks t, schedules s
            """)
        #expect(agrees == "true")
        #expect(try bench.due().unchecked == 1)
        #expect(try count(bench, "yearly") == 1, "not again before its next time")
    }

    @Test("missed ticks make one task, none, or one each", arguments: [(Misfire.one, 1), (.skip, 1), (.all, 31)])
    func misfire(_ misfire: Misfire, _ expected: Int) throws {
        let bench = try Bench()
        try add(bench, "missed", misfire: misfire)
        try miss(bench, "missed", minutes: 30)
        let before = bench.now()
        _ = try bench.due()
        // The tick of the present minute is not missed, whatever is done about the others.
        let made = try count(bench, "missed")
        #expect(made == expected || misfire == .all && made == expected + 1, "a minute may pass meanwhile")
        #expect(try bench.value("SELECT next_run_at > to_timestamp(\(before) / 1000.0) AND last_run_at <= now() FROM schedules") == "true")
        try add(bench, "daily", "0 0 1 1 *", misfire: misfire)
        _ = try bench.due()
        try bench.connection.execute("UPDATE schedules SET next_run_at = date_trunc('year', now()) - interval '1 year' WHERE name = 'daily'")
        _ = try bench.due()
        #expect(try count(bench, "daily") == (misfire == .skip ? 0 : misfire == .one ? 1 : 2))
    }

    @Test("however many brokers sweep, a tick makes one task, also where the noted time is set back") func once() async throws {
        let bench = try Bench()
        for index in 0..<20 { try add(bench, "s\(index)", misfire: .all) }
        _ = try bench.due()
        try bench.connection.execute("UPDATE schedules SET next_run_at = date_trunc('minute', now()) - interval '9 minutes'")
        let url = bench.url
        func sweepOnThreads() async throws {
            try await withThrowingTaskGroup(of: Void.self) { group in
                for _ in 0..<4 {
                    group.addTask {
                        try await withCheckedThrowingContinuation { continuation in
                            Thread.detachNewThread {
                                continuation.resume(
                                    with: Result {
                                        guard case .due = StoreSession(try StoreConnection(url)).perform(.dueSweep()) else {
                                            throw Bench.Surprise(description: "no sweep")
                                        }
                                    })
                            }
                        }
                    }
                }
                try await group.waitForAll()
            }
        }
        try await sweepOnThreads()
        // A minute may have passed meanwhile: what counts is that no tick has two tasks, and none of the ten is missing.
        #expect(try bench.value("SELECT count(*) >= 200 AND count(*) = count(DISTINCT (schedule, tick)) FROM schedule_ticks") == "true")
        let tasks = try bench.value("SELECT count(*) FROM tasks")
        #expect(try tasks == bench.value("SELECT count(*) FROM schedule_ticks"))
        try bench.connection.execute("UPDATE schedules SET next_run_at = date_trunc('minute', now()) - interval '9 minutes'")
        try await sweepOnThreads()
        #expect(try bench.value("SELECT count(*) = count(DISTINCT (tags ->> 'schedule', tags ->> 'tick')) FROM tasks") == "true")
    }

    @Test("a schedule whose params are wrong goes on: each of its tasks ends with the error") func badParams() throws {
        let bench = try Bench()
        try bench.connection.execute(
            "INSERT INTO schedules (name, cron, kind, params, options) VALUES ('bad', '* * * * *', 'generate', '{\"top_p\": 7}', '{\"priority\": 500}')"
        )
        for round in 1...2 {
            try miss(bench, "bad", minutes: 0)
            try bench.connection.execute("DELETE FROM schedule_ticks")
            _ = try bench.due()
            guard case .unchecked(let tasks, _) = bench.ask(.unchecked(limit: 10)) else { return unexpected() }
            #expect(tasks.count == 1, "round \(round)")
            for task in tasks { #expect(throws: ContractError.self) { try task.checked() } }
            let reject = Adoption.reject(task: try #require(tasks.first).id, error: ContractError(.invalidArgument, "no", field: "params.top_p"))
            guard case .adopted(let reply) = bench.ask(.adopt([reject])) else { return unexpected() }
            #expect(reply.ended.count == 1)
        }
        #expect(try bench.value("SELECT count(*) FROM tasks WHERE state = 'failed'") == "2")
    }

    @Test("a row that the database cannot take a tick from is named, and stops neither the other schedules nor the sweep") func refusedRow() throws {
        let bench = try Bench()
        for name in ["before", "endless", "large", "never", "well"] { try add(bench, name, "* * * * *") }
        _ = try bench.due()
        try bench.connection.execute(
            """
            UPDATE schedules SET next_run_at = CASE name WHEN 'before' THEN '-infinity' WHEN 'never' THEN 'infinity' ELSE now() - interval '1 minute' END,
                params = CASE name WHEN 'large' THEN jsonb_build_object('model', repeat('x', 15000000)) ELSE params END,
                options = CASE name WHEN 'large' THEN jsonb_build_object('note', repeat('y', 5000000)) ELSE options END
            """)
        let due = try bench.due()
        #expect(due.unreadableSchedules.contains("before") && due.unreadableSchedules.contains("large"))
        #expect(!due.unreadableSchedules.contains("well") && !due.unreadableSchedules.contains("never"))
        #expect(try count(bench, "well") == 1 && count(bench, "endless") == 1 && count(bench, "large") == 0)
        guard case .schedules(let rows) = try administer(bench, .schedules) else { return unexpected() }
        #expect(rows.count == 5)
    }

    @Test("a disabled schedule makes nothing, and does not make up for that time when it is enabled again") func disabled() throws {
        let bench = try Bench()
        try add(bench, "s", misfire: .all)
        try miss(bench, "s", minutes: 0)
        _ = try administer(bench, .setSchedule(ScheduleChange(name: "s", enabled: false)))
        try bench.connection.execute("UPDATE schedules SET next_run_at = now() - interval '1 hour'")
        _ = try bench.due()
        #expect(try count(bench, "s") == 0)
        _ = try administer(bench, .setSchedule(ScheduleChange(name: "s", enabled: true)))
        _ = try bench.due()
        #expect(try count(bench, "s") == 0)
        #expect(try bench.value("SELECT next_run_at > now() FROM schedules") == "true")
    }

    @Test("schedules are made, changed, listed and removed; a new one must be whole") func settings() throws {
        let bench = try Bench()
        let refused = bench.ask(.administer(.setSchedule(ScheduleChange(name: "s", enabled: true))))
        #expect(refused == .refused(ContractError(.invalidArgument, "a new schedule needs its cron", field: "schedule.cron")))
        try add(bench, "s", "0 3 * * *")
        let change = ScheduleChange(name: "s", queue: "night", misfire: .skip, options: Array(#"{"priority":5}"#.utf8))
        guard case .schedule(let row) = try administer(bench, .setSchedule(change)) else { return unexpected() }
        #expect(row.cron == "0 3 * * *" && row.queue == "night" && row.misfire == "skip" && row.enabled && row.nextRunAt == nil)
        #expect(try JSONValue.parse(row.options)["priority"]?.intValue == 5)
        #expect(try administer(bench, .schedules) == .schedules([row]))
        #expect(try administer(bench, .removeSchedule(name: "s")) == .done)
        guard case .refused(let error) = bench.ask(.administer(.removeSchedule(name: "s"))) else { return unexpected() }
        #expect(error.code == .notFound)
    }

    @Test("a cron expression that cannot be read is refused when it is written, with what is wrong") func badCron() throws {
        let bench = try Bench()
        let write = "INSERT INTO schedules (name, cron, kind, params) VALUES ('s', '61 * * * *', 'generate', '{}')"
        let error = #expect(throws: StoreError.self) { try bench.connection.execute(write) }
        guard case .refused("22023", _, _)? = error else { return unexpected() }
        #expect(try bench.value("SELECT count(*) FROM schedules") == "0")
    }

    /// Expressions from pieces that are right, nearly right and wrong.
    private func expression(_ random: inout SeededGenerator) -> String {
        let values = [
            "*", "0", "5", "05", "59", "60", "7", "12", "13", "23", "24", "29", "30", "31", "32", "jan", "FEB", "sun", "Sat", "abc", "", "x1", "100",
            "*5",
        ]
        func item() -> String {
            var text = values.randomElement(using: &random) ?? ""
            if Int.random(in: 0..<4, using: &random) == 0 { text += "-" + (values.randomElement(using: &random) ?? "") }
            if Int.random(in: 0..<4, using: &random) == 0 {
                text += "/" + (["1", "2", "0", "15", "99", "100", "", "x"].randomElement(using: &random) ?? "")
            }
            return text
        }
        func field() -> String {
            if Int.random(in: 0..<2, using: &random) == 0 { return "*" }
            return (0..<Int.random(in: 1...2, using: &random)).map { _ in item() }.joined(separator: ",")
        }
        if Int.random(in: 0..<20, using: &random) == 0 {
            return ["@daily", " @HOURLY ", "@never", "", "@ daily"].randomElement(using: &random) ?? ""
        }
        let count = Int.random(in: 0..<12, using: &random) == 0 ? 4 : 5
        return (0..<count).map { _ in field() }.joined(separator: Int.random(in: 0..<5, using: &random) == 0 ? "  \t" : " ")
    }

    @Test("SQL and the program read cron expressions alike, and say the same of those they refuse") func sameRules() throws {
        let bench = try Bench()
        let statement = Statement("faults", "SELECT cron_fault(v.cron) FROM unnest($1::text[]) WITH ORDINALITY AS v (cron, place) ORDER BY v.place")
        var random = SeededGenerator(seed: 20_261_124)
        let fixed = [
            "0 0 31 2 *", "0 0 31 2 1", "0 0 30 2 */2", "0 0 31 4/2 *", "0 0 29 2 *", "0 0 * * sat-sun", "0 0 * * mon-sun", "0 0 * * 0-0",
            "0 0 * * 5-0",
        ]
        let expressions = fixed + (0..<20_000).map { _ in expression(&random) }
        let rows = try bench.connection.run(statement, [.texts(expressions)])
        var valid = 0
        for (row, text) in expressions.enumerated() {
            var fault: String?
            do throws(CronFault) { _ = try CronExpression(text) } catch { fault = error.description }
            valid += fault == nil ? 1 : 0
            guard rows.string(row, 0) == fault else { return #expect(rows.string(row, 0) == fault, "\(text)") }
        }
        #expect(valid > 1_000 && valid < 15_000, "\(valid) of them were right")
    }
}
