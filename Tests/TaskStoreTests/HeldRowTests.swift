import DatabaseTestSupport
import Encodings
import TaskProtocol
import TaskStore
import Testing

/// Somebody publishes after a task, or cancels one, in SQL, and leaves his transaction open: the task's row is locked for as long as he likes.
@Suite("Rows held by open transactions", .timeLimit(.minutes(3))) struct HeldRowTests {
    private func holder(_ bench: Bench, _ task: TaskID, _ statement: String = "SELECT scriptorium.cancel('%')") throws -> StoreConnection {
        let connection = try Bench.patient(bench.ownerURL)
        try connection.execute("BEGIN")
        try connection.execute(statement.replacing("%", with: task.description))
        return connection
    }

    @Test("a result that meets one is busy within seconds, changes nothing, and is recorded when the transaction ends") func result() throws {
        let bench = try Bench()
        let grants = [try bench.running(), try bench.running()]
        let holder = try holder(bench, grants[0].task, "SELECT scriptorium.submit('generate', '{\"model\": \"demo\"}', after => ARRAY['%'::uuid])")
        #expect(bench.ask(.complete(grants.map { bench.completion($0) })) == .failed(.busy))
        #expect(try bench.complete([bench.completion(grants[1])]) == [.recorded(.succeeded, nil)])
        #expect(bench.ask(.complete([bench.completion(grants[0])])) == .failed(.busy))
        try holder.execute("COMMIT")
        #expect(try bench.complete([bench.completion(grants[0])]) == [.recorded(.succeeded, nil)])
    }

    @Test("the sweep of dead workers passes over the one whose task is held") func sweep() throws {
        let bench = try Bench()
        let sessions = (0..<3).map { _ in SessionID.random() }.sorted()
        for session in sessions { try bench.register(session) }
        let grants = try sessions.map { try bench.running(session: $0) }
        let holder = try holder(bench, grants[1].task)
        let dead = sessions.map { DeadSession(session: $0, counter: 0) }
        guard case .swept(let swept) = bench.ask(.sweep(dead)) else { return unexpected() }
        #expect(swept.ended.sorted() == [sessions[0], sessions[2]])
        #expect(try bench.state(grants[1].task) == .running)
        try holder.execute("ROLLBACK")
        guard case .swept(let later) = bench.ask(.sweep(dead)) else { return unexpected() }
        #expect(later.ended == [sessions[1]])
    }

    @Test("of a dead worker's tasks only the one that is held waits: the others are in line at once") func sweepOfMany() throws {
        let bench = try Bench()
        let session = SessionID.random()
        try bench.register(session)
        let grants = try (0..<3).map { _ in try bench.running(session: session) }
        let holder = try holder(bench, grants[1].task)
        let dead = [DeadSession(session: session, counter: 0)]
        guard case .swept(let swept) = bench.ask(.sweep(dead)) else { return unexpected() }
        #expect(swept.ended.isEmpty, "the session stands while one of its leases does")
        #expect(Set(swept.settled.map(\.reference.task)) == [grants[0].task, grants[2].task])
        #expect(try grants.map { try bench.state($0.task) } == [.queued, .running, .queued])
        try holder.execute("ROLLBACK")
        guard case .swept(let later) = bench.ask(.sweep(dead)) else { return unexpected() }
        #expect(later.ended == [session] && later.settled.map(\.reference.task) == [grants[1].task])
        #expect(try bench.state(grants[1].task) == .queued)
    }

    /// Publishes in SQL, in a transaction of its own.
    private func publish(_ bench: Bench, after: TaskID? = nil) throws -> TaskID {
        let parent = after.map { ", after => ARRAY['\($0)'::uuid]" } ?? ""
        let id = try bench.value("scriptorium.submit('generate', '{\"model\": \"demo\"}'\(parent))")
        return try #require(id.flatMap(TaskID.init(_:)))
    }

    private func adopt(_ bench: Bench) throws -> AdoptReply {
        guard case .unchecked(let tasks, _) = bench.ask(.unchecked(limit: 1_000)) else { throw Bench.Surprise(description: "no list") }
        let adoptions = try tasks.map { task in
            let checked = try task.checked()
            return Adoption.accept(task: task.id, parameters: checked.parameters, after: checked.after, seed: 1, seedAssigned: true)
        }
        guard case .adopted(let reply) = bench.ask(.adopt(adoptions)) else { throw Bench.Surprise(description: "not adopted") }
        return reply
    }

    @Test("of what was published in SQL only the task that is held, and those that wait for one, are left for later") func adoption() throws {
        let bench = try Bench()
        let parent = try bench.running()
        let (held, child, free) = (try publish(bench), try publish(bench, after: parent.task), try publish(bench))
        let holders = [try holder(bench, held), try holder(bench, parent.task)]
        #expect(try adopt(bench).ready.map(\.task) == [free])
        guard case .unchecked(let left, _) = bench.ask(.unchecked(limit: 10)) else { return unexpected() }
        #expect(Set(left.map(\.id)) == [held, child])
        for holder in holders { try holder.execute("ROLLBACK") }
        #expect(try adopt(bench).ready.map(\.task) == [held])
        #expect(try bench.complete([bench.completion(parent)]) == [.recorded(.succeeded, nil)])
        #expect(try adopt(bench).ready.map(\.task) == [child])
    }

    @Test("a check that has to end what is held is busy in moments") func adoptionOfEnd() throws {
        let bench = try Bench()
        let (rejected, child) = try (publish(bench), bench.running().task)
        try bench.connection.execute(
            """
            UPDATE scriptorium.hot SET lease = NULL, session = NULL, broker = NULL, started_at = NULL, blocked = 'a' WHERE task = '\(child)';
            INSERT INTO scriptorium.task_after (parent, child) VALUES ('\(rejected)', '\(child)')
            """)
        let holder = try holder(bench, child)
        let begun = ContinuousClock.now
        let reject = Adoption.reject(task: rejected, error: ContractError(.invalidArgument, "no", field: "params"))
        #expect(bench.ask(.adopt([reject])) == .failed(.busy))
        // Not a measurement: a sweep's lock timeout is two seconds, and every check waits behind this one.
        #expect(ContinuousClock.now - begun < .seconds(1))
        try holder.execute("ROLLBACK")
        guard case .adopted(let reply) = bench.ask(.adopt([reject])) else { return unexpected() }
        #expect(Set(reply.ended.map(\.task)) == [rejected, child])
    }

    @Test("a schedule whose task has to wait for one that is held keeps the sweep for a moment only") func schedule() throws {
        let bench = try Bench()
        let parent = try bench.running()
        for name in ["a", "b", "c"] {
            try bench.connection.execute(
                """
                INSERT INTO scriptorium.schedules (name, cron, kind, params, options, next_run_at)
                VALUES ('\(name)', '* * * * *', 'generate', '{"model": "demo"}', '{"after": ["\(parent.task)"]}', now() - interval '1 minute')
                """)
        }
        let holder = try holder(bench, parent.task)
        let begun = ContinuousClock.now
        #expect(try bench.due().unreadableSchedules.isEmpty)
        #expect(ContinuousClock.now - begun < .seconds(2))
        #expect(try bench.value("SELECT count(*) FROM schedule_ticks") == "0")
        try holder.execute("ROLLBACK")
        _ = try bench.due()
        #expect(try bench.value("SELECT count(*) FROM schedule_ticks") == "3")
    }

    @Test("a goodbye that meets one says that the session stands, and ends it later, with nothing counted as lost") func goodbye() throws {
        let bench = try Bench()
        let grant = try bench.running()
        let holder = try holder(bench, grant.task)
        guard case .swept(let first) = bench.ask(.endSession(bench.session)) else { return unexpected() }
        #expect(first.ended.isEmpty && first.standing == [bench.session])
        try holder.execute("ROLLBACK")
        guard case .swept(let second) = bench.ask(.endSession(bench.session)) else { return unexpected() }
        #expect(second.ended == [bench.session] && second.standing.isEmpty)
        #expect(try bench.value("SELECT outcome FROM attempts WHERE task_id = '\(grant.task)'") == "released")
        guard case .swept(let third) = bench.ask(.endSession(bench.session)) else { return unexpected() }
        #expect(third.ended.isEmpty && third.standing.isEmpty)
    }

    @Test("a submit that waits for a held task is busy in moments; others in the same request's batch are not kept") func submit() throws {
        let bench = try Bench()
        let parent = try bench.running()
        let holder = try holder(bench, parent.task)
        var submission = bench.generate()
        submission.after = [parent.task]
        let outcomes = try bench.outcomes([SubmitGroup(items: [bench.item(submission)])])
        #expect(outcomes == [.busy])
        #expect(try bench.submit([bench.item()]).count == 1)
        try holder.execute("COMMIT")
        guard case .accepted = try bench.outcomes([SubmitGroup(items: [bench.item(submission)])])[0] else { return unexpected() }
    }

    @Test("a broker's beat tells whether its row says idle") func idleMark() throws {
        let bench = try Bench()
        func isIdle() throws -> Bool? {
            guard case .beaten(let beat) = bench.ask(.beat(BeatRequest(broker: bench.broker, sessions: []))) else {
                throw Bench.Surprise(description: "no beat")
            }
            return beat.brokers.first { $0.id == bench.broker }?.isIdle
        }
        #expect(try isIdle() == false)
        #expect(bench.ask(.markIdle(broker: bench.broker, idle: true)) == .done)
        #expect(try isIdle() == true)
        try bench.connection.execute("UPDATE scriptorium.brokers SET seen_at = now() - interval '30 seconds'")
        _ = try bench.due()
        #expect(try isIdle() == false)
    }

    @Test("a statement that took too long is no sign that the database is away") func slow() throws {
        let connection = try StoreConnection(TemporaryCluster.shared.database())
        try connection.execute("SET statement_timeout = '20ms'")
        let error = #expect(throws: StoreError.self) { try connection.execute("SELECT pg_sleep(20)", name: "slow") }
        #expect(error == .statementTimeout(statement: "slow"))
        #expect(connection.isAlive)
    }
}
