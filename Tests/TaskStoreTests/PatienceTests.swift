import DatabaseTestSupport
import Glibc
import Synchronization
import TaskProtocol
import TaskStore
import TestSupport
import Testing

/// Servers that hang, and connections that died while nobody looked.
@Suite(.serialized, .timeLimit(.minutes(2))) struct PatienceTests {
    private func now() -> Double {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return Double(time.tv_sec) + Double(time.tv_nsec) * 1e-9
    }

    /// The answer of a pool, waited for on this thread.
    private func ask(_ pool: StorePool, _ request: StoreRequest) -> StoreReply {
        let answer = Mutex<StoreReply?>(nil)
        pool.perform(request) { reply in answer.withLock { $0 = reply } }
        let end = now() + 60
        while now() < end {
            if let reply = answer.withLock({ $0 }) { return reply }
            usleep(2_000)
        }
        return .failed(.unavailable("the test waited in vain"))
    }

    @Test("threads that get no connection leave the work to those that have one: nobody is told that the database is away")
    func fewConnections() throws {
        let owner = try TemporaryCluster.shared.database()
        let role = "limited_\(UInt32.random(in: 0 ... .max))"
        let admin = try StoreConnection(owner)
        try admin.execute("CREATE ROLE \(role) LOGIN CONNECTION LIMIT 1 IN ROLE scriptorium_broker")
        let pool = StorePool(url: owner + " user=\(role)", connections: 4)
        #expect(ask(pool, .figures) == .figures([]), "one of them has the connection")
        let replies = Mutex<[StoreReply]>([])
        for _ in 0..<200 { pool.perform(.figures) { reply in replies.withLock { $0.append(reply) } } }
        let end = now() + 60
        while now() < end, replies.withLock({ $0.count }) < 200 { usleep(2_000) }
        pool.close()
        #expect(replies.withLock { $0.count } == 200)
        #expect(replies.withLock { $0.allSatisfy { $0 == .figures([]) } })
    }

    @Test("a statement that takes longer than a connection's patience is given up, and the connection with it")
    func patience() throws {
        let connection = try StoreConnection(TemporaryCluster.shared.database(), patience: StorePatience(seconds: 0.2))
        let error = #expect(throws: StoreError.self) { try connection.execute("SELECT pg_sleep(20)") }
        guard case .connectionLost(let why)? = error else {
            Issue.record("\(String(describing: error))")
            return
        }
        #expect(why.contains("not answered"))
        #expect(!connection.isAlive)
    }

    @Test("a wait without bound is cut short from another thread")
    func interruption() throws {
        let interruption = Interruption()
        let connection = try StoreConnection(TemporaryCluster.shared.database(), patience: StorePatience(seconds: nil, interruption: interruption))
        #expect(!interruption.isRaised)
        interruption.raise()
        #expect(throws: StoreError.self) { try connection.execute("SELECT pg_sleep(20)") }
        #expect(interruption.isRaised, "it stays so: whoever would try again can see that it is of no use")
    }

    @Test("several statements in one text are answered by the last, or by the first that fails")
    func several() throws {
        let connection = try StoreConnection(TemporaryCluster.shared.database())
        try connection.execute("SELECT 1; SELECT 2; SET lock_timeout = 0")
        let error = #expect(throws: StoreError.self) { try connection.execute("SELECT 1; SELECT 1 / 0; SELECT 3") }
        guard case .refused("22012", _, _)? = error else {
            Issue.record("\(String(describing: error))")
            return
        }
        try connection.execute("SELECT 1")
    }

    @Test("a parameter of many megabytes goes out and comes back whole")
    func large() throws {
        let connection = try StoreConnection(TemporaryCluster.shared.database(), patience: StorePatience(seconds: 60))
        let text = String(repeating: "x", count: 20 << 20)
        let rows = try connection.run(Statement("large", "SELECT $1::text || 'y'"), [.text(text)])
        #expect(rows.string(0, 0)?.utf8.count == text.utf8.count + 1)
    }

    @Test("a connection that died unseen costs no request: it is asked again over a new one")
    func stale() throws {
        let url = try TemporaryCluster.shared.database()
        let pool = StorePool(url: url, connections: 1)
        defer { pool.close() }
        guard case .models = ask(pool, .models) else {
            Issue.record("no answer")
            return
        }
        let killer = try StoreConnection(url, setup: .migration)
        try killer.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()")
        guard case .models = ask(pool, .models) else {
            Issue.record("the dead connection was answered as an absent database")
            return
        }
    }

    /// The connection on which the first commit of a task is under way dies in the midst of it: nobody is told what became of it.
    private func dieAtTheFirstCommit(_ owner: StoreConnection) throws {
        try owner.execute(
            """
            CREATE SEQUENCE scriptorium.deaths; GRANT USAGE ON SEQUENCE scriptorium.deaths TO PUBLIC;
            CREATE FUNCTION scriptorium.die() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN
                IF nextval('scriptorium.deaths') = 1 THEN PERFORM pg_terminate_backend(pg_backend_pid()); END IF;
                RETURN NULL;
            END $$;
            CREATE CONSTRAINT TRIGGER dies AFTER INSERT ON scriptorium.task_keys DEFERRABLE INITIALLY DEFERRED
            FOR EACH ROW EXECUTE FUNCTION scriptorium.die()
            """)
    }

    @Test("what was asked twice, and met a lock the second time, is not answered as if nothing could have been done")
    func uncertain() throws {
        let bench = try Bench()
        let owner = try StoreConnection(bench.ownerURL, setup: .migration)
        try dieAtTheFirstCommit(owner)
        // It takes the key as soon as the first sending is gone, and before the second comes: that one waits for it in vain.
        try owner.execute(
            """
            CREATE FUNCTION scriptorium.wait() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN
                IF (SELECT is_called FROM scriptorium.deaths) THEN PERFORM pg_advisory_xact_lock(1); END IF;
                RETURN NULL;
            END $$;
            CREATE TRIGGER waits BEFORE INSERT ON scriptorium.task_keys FOR EACH STATEMENT EXECUTE FUNCTION scriptorium.wait();
            GRANT SELECT ON SEQUENCE scriptorium.deaths TO PUBLIC;
            SELECT pg_advisory_lock(1)
            """)
        let pool = StorePool(url: bench.url, connections: 1)
        defer { pool.close() }
        var submission = bench.generate()
        submission.key = "held"
        let request = StoreRequest.submit([SubmitGroup(items: [bench.item(submission)], client: "test")])
        guard case .models = ask(pool, .models) else { return unexpected() }
        let first = ask(pool, request)
        guard case .failed(.unavailable) = first else {
            Issue.record("\(first)")
            return
        }
        // Nobody doubts what is asked over the new connection.
        #expect(ask(pool, request) == .submitted([.busy]))
        try owner.execute("SELECT pg_advisory_unlock(1)")
        guard case .submitted(let outcomes) = ask(pool, request), case .accepted? = outcomes.first else { return unexpected() }
    }

    @Test("a connection that dies before the commit takes nothing with it that is in doubt: what was asked meets the lock as if for the first time")
    func certain() throws {
        let bench = try Bench()
        let pool = StorePool(url: bench.url, connections: 1)
        defer { pool.close() }
        guard case .models = ask(pool, .models) else { return unexpected() }
        var submission = bench.generate()
        submission.key = "held"
        let request = StoreRequest.submit([SubmitGroup(items: [bench.item(submission)], client: "test")])
        // It may stay in its transaction for as long as this takes.
        let holder = try StoreConnection(bench.ownerURL, setup: .migration)
        try holder.execute("BEGIN; SELECT scriptorium.submit('generate', '{\"model\": \"demo\"}', key => 'held')")
        try endAllOthers(holder)
        #expect(ask(pool, request) == .submitted([.busy]))
        try holder.execute("ROLLBACK")
        guard case .submitted(let outcomes) = ask(pool, request), case .accepted? = outcomes.first else { return unexpected() }
    }

    @Test("where no connection can be made nothing was done; a commit that was under way when the last one died stays in doubt")
    func absence() throws {
        let bench = try Bench()
        let owner = try StoreConnection(bench.ownerURL, setup: .migration)
        let pool = StorePool(url: bench.url, connections: 1)
        defer { pool.close() }
        var submission = bench.generate()
        submission.key = "first"
        let request = StoreRequest.submit([SubmitGroup(items: [bench.item(submission)], client: "test")])
        guard case .models = ask(pool, .models) else { return unexpected() }
        try dieAtTheFirstCommit(owner)
        // From here on new connections are refused.
        try owner.execute("DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET synchronous_commit = off', current_database()); END $$")
        let lost = ask(pool, request)
        guard case .failed(.unavailable(let why)) = lost else {
            Issue.record("\(lost)")
            return
        }
        #expect(why.contains("synchronous_commit"))
        let refused = ask(pool, request)
        guard case .failed(.unreached) = refused else {
            Issue.record("\(refused)")
            return
        }
    }

    private func endAllOthers(_ connection: StoreConnection) throws {
        try connection.execute(
            """
            SELECT pg_terminate_backend(pid, 30000) FROM pg_stat_activity
            WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()
            """)
    }

    @Test("a pool closes within seconds though its server hangs")
    func closing() throws {
        let url = try TemporaryCluster.shared.database()
        let holder = try StoreConnection(url, setup: .migration)
        try holder.execute("BEGIN; LOCK TABLE scriptorium.models IN ACCESS EXCLUSIVE MODE")
        let pool = StorePool(url: url, connections: 1)
        let answered = Atomic(false)
        pool.perform(.models) { _ in answered.store(true, ordering: .releasing) }
        let began = now()
        pool.close()
        #expect(now() - began < 10)
        let wasAnswered = answered.load(ordering: .acquiring)
        #expect(wasAnswered)
        try holder.execute("ROLLBACK")
    }
}
