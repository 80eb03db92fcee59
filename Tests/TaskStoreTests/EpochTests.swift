import Foundation
import TaskProtocol
import TaskStore
import Testing

/// A worker has gone to another broker while the one it left still decides over its leases.
@Suite("Epochs of sessions") struct EpochTests {
    private func release(_ grant: Grant, epoch: Int?) -> StoreRequest {
        .release([Release(task: grant.task, lease: grant.lease, attempt: grant.attempt, reason: "undelivered", epoch: epoch)])
    }

    private func registration(_ bench: Bench, epoch: Int) -> SessionRegistration {
        SessionRegistration(
            session: bench.session, broker: .random(), host: "there", pid: 2, version: "0", numerics: [], instructionSet: "plain", threads: 1,
            slots: 8,
            epoch: epoch)
    }

    /// Until so many statements wait for locks.
    private func waiting(_ count: Int, _ bench: Bench) throws {
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        // In a transaction of its own the view would stay as it was first seen.
        let watcher = try StoreConnection(bench.url)
        try eventually { try bench.value(sql, on: watcher) == String(count) }
    }

    @Test("what the database keeps of a session's epoch never goes back, nor does anything else that came with it") func registrations() throws {
        let bench = try Bench()
        try bench.register(bench.session, epoch: 2)
        let before = try bench.value("SELECT epoch || ' ' || counter || ' ' || broker FROM sessions")
        let late = registration(bench, epoch: 1)
        #expect(bench.ask(.registerSession(late)) == .refused(SessionRegistration.outranked))
        #expect(try bench.value("SELECT epoch || ' ' || counter || ' ' || broker FROM sessions") == before)
        try bench.register(bench.session, epoch: 2)
        try bench.register(bench.session, epoch: 7)
        #expect(try bench.value("SELECT epoch FROM sessions") == "7")
    }

    @Test("a session that was ended comes back where its worker lives on, and not by a word from before; the memory of it goes after a day")
    func ended() throws {
        let bench = try Bench()
        try bench.register(bench.session, epoch: 2)
        guard case .swept(let swept) = bench.ask(.endSession(bench.session)), swept.ended == [bench.session] else { return unexpected() }
        var registration = registration(bench, epoch: 1)
        #expect(bench.ask(.registerSession(registration)) == .refused(SessionRegistration.outranked))
        #expect(try bench.value("SELECT count(*) FROM sessions") == "0")
        registration.epoch = 2
        #expect(bench.ask(.registerSession(registration)) == .done)
        #expect(try bench.value("SELECT count(*) FROM sessions") == "1")
        // Of many some, so that nobody's end takes long.
        try bench.connection.execute(
            """
            INSERT INTO ended_sessions (id, epoch) SELECT uuid_v7(), 1 FROM generate_series(1, 149);
            UPDATE ended_sessions SET ended_at = now() - interval '25 hours'
            """)
        for left in [50, 0] {
            let other = SessionID.random()
            try bench.register(other, epoch: 5)
            _ = bench.ask(.endSession(other))
            #expect(try bench.value("SELECT count(*) FROM ended_sessions WHERE ended_at < now() - interval '1 day'") == String(left))
            #expect(try bench.value("SELECT epoch FROM ended_sessions WHERE id = '\(other)'") == "5")
        }
    }

    @Test("a decision that waits for somebody's transaction holds up no beat") func beatBesideADecision() throws {
        let bench = try Bench()
        let grant = try bench.running()
        var submission = bench.generate()
        submission.after = [grant.task]
        let child = try #require(try bench.submit([bench.item(submission)]).first).id
        _ = bench.ask(.cancel([grant.task]))
        try bench.connection.execute("BEGIN; SELECT FROM hot WHERE task = '\(child)' FOR UPDATE")
        let (url, request) = (bench.url, release(grant, epoch: 0))
        let decision = BlockingCall { StoreSession(try Bench.patient(url)).perform(request) }
        try waiting(1, bench)
        let beat = BeatRequest(broker: bench.broker, sessions: [SessionBeat(session: bench.session, draining: false)])
        guard case .beaten(let beaten) = bench.ask(.beat(beat)) else { return unexpected() }
        #expect(beaten.unknown.isEmpty && !decision.isDone)
        try bench.connection.execute("COMMIT")
        guard case .settled(let replies) = try decision.value() else { return unexpected() }
        #expect(replies.map(\.settlement) == [.recorded(.cancelled, nil)])
    }

    @Test("a word from before that meets the end of its session waits for it, and does not bring it back") func meetsTheEnd() throws {
        let bench = try Bench()
        try bench.register(bench.session, epoch: 2)
        _ = try bench.running()
        // Somebody holds what the end of the lease writes, so that the session's end is under way when the word comes.
        try bench.connection.execute("BEGIN; LOCK TABLE tries IN EXCLUSIVE MODE")
        let (url, session) = (bench.url, bench.session)
        let ending = BlockingCall { StoreSession(try Bench.patient(url)).perform(.endSession(session)) }
        try waiting(1, bench)
        let registration = registration(bench, epoch: 1)
        let late = BlockingCall { StoreSession(try Bench.patient(url)).perform(.registerSession(registration)) }
        try waiting(2, bench)
        try bench.connection.execute("COMMIT")
        guard case .swept(let swept) = try ending.value(), swept.ended == [session] else { return unexpected() }
        #expect(try late.value() == .refused(SessionRegistration.outranked))
        #expect(try bench.value("SELECT count(*) FROM sessions") == "0")
    }

    @Test("in one batch each decision is judged by the epoch of its own session") func batch() throws {
        let bench = try Bench()
        let other = SessionID.random()
        try bench.register(other)
        let (moved, stayed) = (try bench.running(), try bench.running(session: other))
        try bench.register(bench.session, epoch: 3)
        let failures = [moved, stayed].map { grant in
            var failure = bench.failure(grant, final: true, cause: .timedOut)
            failure.epoch = 2
            return failure
        }
        #expect(try bench.settle(.fail(failures)).map(\.settlement) == [.fenced, .recorded(.failed, failures[1].error)])
        #expect(try bench.state(moved.task) == .running && bench.state(stayed.task) == .failed)
        #expect(try bench.complete([bench.completion(moved)]) == [.recorded(.succeeded, nil)])
    }

    @Test("a decision that meets a worker's way to another broker waits to see where it is") func race() throws {
        let bench = try Bench()
        let grant = try bench.running()
        // Somebody holds what the joining reads last.
        try bench.connection.execute("BEGIN; LOCK TABLE ended_sessions IN ACCESS EXCLUSIVE MODE")
        let (url, registration) = (bench.url, registration(bench, epoch: 5))
        let joining = BlockingCall { StoreSession(try Bench.patient(url)).perform(.registerSession(registration)) }
        try waiting(1, bench)
        let request = release(grant, epoch: 4)
        let decision = BlockingCall { StoreSession(try Bench.patient(url)).perform(request) }
        try waiting(2, bench)
        try bench.connection.execute("COMMIT")
        #expect(try joining.value() == .done)
        #expect(try decision.value() == .settled([SettlementReply(settlement: .fenced)]))
        #expect(try bench.state(grant.task) == .running)
    }

    @Test("a worker's way to another broker that meets a decision sees what was decided") func reverse() throws {
        let bench = try Bench()
        let grant = try bench.running()
        // Somebody holds what the end of a decision writes, so that it is under way when the worker joins.
        try bench.connection.execute("BEGIN; LOCK TABLE tries IN EXCLUSIVE MODE")
        let (url, request) = (bench.url, release(grant, epoch: 0))
        let decision = BlockingCall { StoreSession(try Bench.patient(url)).perform(request) }
        try waiting(1, bench)
        let (session, registration) = (bench.session, registration(bench, epoch: 1))
        let joining = BlockingCall {
            let store = StoreSession(try Bench.patient(url))
            return [store.perform(.registerSession(registration)), store.perform(.leases([session]))]
        }
        try waiting(2, bench)
        try bench.connection.execute("COMMIT")
        guard case .settled(let replies) = try decision.value(), case .requeued? = replies.first?.settlement else { return unexpected() }
        #expect(try joining.value() == [.done, .leases([])])
    }
}
