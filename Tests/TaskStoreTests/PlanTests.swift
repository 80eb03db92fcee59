import Foundation
import TaskProtocol
import TaskStore
import Testing

@Suite("Plans") struct PlanTests {
    private func plan(_ connection: StoreConnection, _ sql: String) throws -> String {
        let rows = try connection.run(Statement("plan\(sql.hashValue)", "EXPLAIN (COSTS OFF) " + sql))
        return rows.indices.compactMap { rows.string($0, 0) }.joined(separator: "\n")
    }

    /// As the product runs it: prepared, with a generic plan.
    private func plan(_ connection: StoreConnection, of statement: Statement, _ parameters: String) throws -> String {
        try connection.execute("PREPARE plan_of AS \(statement.sql)")
        defer { try? connection.execute("DEALLOCATE plan_of") }
        return try plan(connection, "EXECUTE plan_of(\(parameters))")
    }

    @Test("the claim goes through its index in its order, whether the queue is empty or long, and probes a task by its key") func claim() throws {
        let bench = try Bench()
        for rows in [0, 50_000] {
            try wait(rows, bench)
            for analysed in [false, true] {
                if analysed { try bench.connection.execute("ANALYZE hot; ANALYZE task") }
                try checkClaim(bench, "\(rows) rows, analysed \(analysed)")
            }
        }
        #expect(try bench.claim(limit: 100).grants.count == 8)
    }

    /// How many finished tasks lie behind: they take some seconds to make. `PLAN_FINISHED` chooses another number.
    private static let finished = ProcessInfo.processInfo.environment["PLAN_FINISHED"].flatMap(Int.init) ?? 1_000_000

    @Test("finished tasks in any number do not lead the claim away from its index, analysed or not") func claimWithHistory() throws {
        let bench = try Bench()
        try finish(Self.finished, bench)
        try wait(50_000, bench)
        for analysed in [false, true] {
            if analysed { try bench.connection.execute("ANALYZE hot; ANALYZE task; ANALYZE outcome") }
            try checkClaim(bench, "\(Self.finished) finished, analysed \(analysed)")
        }
        let count = try #require(Int(try bench.value("SELECT count(*) FROM outcome") ?? ""))
        #expect(count == Self.finished)
        #expect(try bench.claim(limit: 100).grants.count == 8)
        try bench.connection.execute("DELETE FROM hot; ANALYZE hot")
        try checkClaim(bench, "\(Self.finished) finished, none waits")
    }

    /// Puts tasks in line.
    private func wait(_ rows: Int, _ bench: Bench) throws {
        try bench.connection.execute(
            """
            WITH t AS (
                INSERT INTO task (id, created_at, kind, queue, priority, max_attempts, seed_assigned, run_at, client, params, resolved)
                SELECT uuid_v7(), now(), 'generate', 'default', 0, 3, false, now(), '', '{}', '{}' FROM generate_series(1, \(rows))
                RETURNING id, created_at, run_at, queue
            )
            INSERT INTO hot (task, created_at, run_at, rank, queue, client) SELECT id, created_at, run_at, 0, queue, '' FROM t
            """)
    }

    /// Makes tasks that have succeeded. Their ids are numbered: drawing each would take longer than the rest.
    private func finish(_ rows: Int, _ bench: Bench) throws {
        let id = "(left(uuid_floor(now())::text, 14) || '7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid"
        try bench.connection.execute(
            """
            INSERT INTO task (id, created_at, kind, queue, priority, max_attempts, seed_assigned, run_at, client, params, resolved)
            SELECT \(id), now(), 'generate', 'default', 0, 3, false, now(), '', '{}', '{}' FROM generate_series(1, \(rows)) n;
            INSERT INTO outcome (task, created_at, finished_at, started_at, attempt, failures, losses, state, ending)
            SELECT id, created_at, now(), now(), 1, 0, 0, 'succeeded', 'succeeded' FROM task
            """)
    }

    private func checkClaim(_ bench: Bench, _ what: String) throws {
        let scan = try plan(bench.connection, of: StoreSession.claimScan, "'default', 0, 100, false, NULL")
        #expect(scan.contains("Index Scan using hot_ready on hot"), "\(what):\n\(scan)")
        #expect(!scan.contains("Seq Scan") && !scan.contains("Sort"), "\(what):\n\(scan)")
        let lock = try plan(bench.connection, of: StoreSession.claimLock, "ARRAY['\(UUIDValue.random())'::uuid]")
        #expect(lock.contains("Index Scan using hot_pkey on hot"), "\(what):\n\(lock)")
        #expect(lock.contains(/Index Scan using task_\d+_\d+_pkey on task_/), "\(what):\n\(lock)")
        #expect(!lock.contains("Seq Scan"), "\(what):\n\(lock)")
    }

    @Test("ending a session looks for its leases through their index, however many tasks wait") func sessions() throws {
        let bench = try Bench()
        let rows = try plan(bench.connection, "SELECT 1 FROM ONLY hot x WHERE x.session = '\(bench.session)' FOR KEY SHARE OF x")
        #expect(rows.contains("Index Scan using hot_leased"), "\(rows)")
    }

    @Test("finding that nothing runs, the latest tasks and one id take no scan of history") func views() throws {
        let bench = try Bench()
        try bench.connection.execute(
            """
            INSERT INTO task (id, created_at, kind, queue, priority, max_attempts, seed_assigned, run_at, client, params, resolved)
            SELECT uuid_v7(), now(), 'generate', 'default', 0, 3, false, now(), '', '{}', '{}' FROM generate_series(1, 20000);
            INSERT INTO outcome (task, created_at, finished_at, attempt, failures, losses, state)
            SELECT id, created_at, now(), 0, 0, 0, 'succeeded' FROM task;
            ANALYZE
            """)
        let reader = try StoreConnection(bench.ownerURL, setup: .migration)
        try reader.execute("SET search_path = scriptorium")
        // The months ahead are empty: scanning them is no scan.
        let (tasks, outcomes) = try (
            bench.value("SELECT tableoid::regclass FROM task LIMIT 1"), bench.value("SELECT tableoid::regclass FROM outcome LIMIT 1")
        )
        for query in [
            "SELECT * FROM tasks WHERE state = 'running'", "SELECT * FROM tasks WHERE state = 'failed' ORDER BY created_at DESC LIMIT 50",
            "SELECT * FROM tasks ORDER BY created_at DESC LIMIT 50", "SELECT * FROM tasks WHERE id = '\(UUIDValue.random())'",
        ] {
            let plan = try plan(reader, query)
            for full in [tasks, outcomes] { #expect(!plan.contains("Seq Scan on \(full ?? "none")"), "\(query)\n\(plan)") }
        }
    }
}
