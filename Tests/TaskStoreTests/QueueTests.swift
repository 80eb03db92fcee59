import Foundation
import Synchronization
import TaskProtocol
import TaskStore
import Testing

@Suite("Queues") struct QueueTests {
    private func set(_ bench: Bench, _ change: QueueChange) throws -> QueueRow {
        let reply = bench.ask(.administer(.setQueue(change)))
        guard case .administered(.queue(let row)) = reply else { throw Bench.Surprise(description: "\(reply)") }
        return row
    }

    @Test("settings change one by one, and are listed with what is in each queue") func settings() throws {
        let bench = try Bench()
        try bench.submit((0..<3).map { _ in bench.item() })
        _ = try bench.claim(slots: 1)
        #expect(try set(bench, QueueChange(name: "default", maxRunning: 4)).maxRunning == 4)
        let paused = try set(bench, QueueChange(name: "default", paused: true))
        #expect(paused == QueueRow(name: "default", paused: true, maxRunning: 4, depth: 2, running: 1))
        #expect(try set(bench, QueueChange(name: "default", unlimited: true)).maxRunning == nil)
        _ = try set(bench, QueueChange(name: "a", maxRunning: 0))
        guard case .administered(.queues(let rows)) = bench.ask(.administer(.queues)) else { return unexpected() }
        #expect(rows.map(\.name) == ["a", "default"] && rows[1].paused && rows[0].maxRunning == 0)
    }

    @Test("where the limit ends a claim it says that slots are left: whether a worker is to be kept free it has not seen")
    func ranOut() throws {
        let bench = try Bench()
        var first = bench.generate()
        first.priority = 1
        try bench.submit([bench.item(first), bench.item(bench.finetune(output: "o"))])
        _ = try set(bench, QueueChange(name: "default", maxRunning: 1))
        let limited = try bench.claim(slots: 4)
        #expect(limited.grants.map(\.kind) == [.generate] && limited.ranOut && limited.keptFree == nil)
        _ = try set(bench, QueueChange(name: "default", unlimited: true))
        let offer = PlacementOffer(session: bench.session, freeSlots: 3, idle: false, models: [], numerics: Bench.numerics)
        let request = ClaimRequest(
            broker: bench.broker, queue: "default", offers: [offer], leases: (0..<3).map { _ in .random() }, fromRank: nil, limit: 100)
        guard case .claimed(let reply) = bench.ask(.claim(request)) else { return unexpected() }
        #expect(reply.grants.isEmpty && !reply.ranOut && reply.keptFree == bench.session)
    }

    @Test("the functions in SQL do the same") func inSQL() throws {
        let bench = try Bench()
        try bench.submit([bench.item()])
        try bench.connection.execute("SELECT pause_queue('default')")
        #expect(try bench.claim().heldBack)
        try bench.connection.execute("SELECT resume_queue('default'); SELECT limit_queue('default', 0)")
        #expect(try bench.claim().heldBack)
        try bench.connection.execute("SELECT limit_queue('default', NULL)")
        #expect(try bench.claim().grants.count == 1)
        #expect(throws: StoreError.self) { try bench.connection.execute("SELECT pause_queue('no blanks')") }
    }

    @Test("a task of a paused or limited queue is not leased as it is inserted, also where the setting came a moment before") func atInsert() throws {
        let bench = try Bench()
        #expect(try bench.submit([bench.item(lease: .random())])[0].grant != nil)
        for change in ["SELECT pause_queue('default')", "SELECT resume_queue('default'); SELECT limit_queue('default', 5)"] {
            try bench.connection.execute(change)
            #expect(try bench.submit([bench.item(lease: .random())])[0].grant == nil, "\(change)")
        }
        try bench.connection.execute("DELETE FROM queues")
        // Settings not committed yet: nobody waits for them, and nothing is leased past them.
        let operatorConnection = try Bench.patient(bench.url)
        try operatorConnection.execute("BEGIN; SELECT limit_queue('default', 1)")
        let begun = ContinuousClock.now
        #expect(try bench.submit([bench.item(lease: .random())])[0].grant == nil)
        #expect(try bench.claim().heldBack)
        #expect(ContinuousClock.now - begun < .seconds(3), "they are not waited for")
        try operatorConnection.execute("ROLLBACK")
        #expect(try bench.claim().grants.count == 3)
    }

    /// Runs bodies on threads of their own and waits for all.
    private func onThreads(_ count: Int, _ body: @escaping @Sendable (Int) throws -> Void) async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            for index in 0..<count {
                group.addTask {
                    try await withCheckedThrowingContinuation { (continuation: CheckedContinuation<Void, any Error>) in
                        Thread.detachNewThread { continuation.resume(with: Result { try body(index) }) }
                    }
                }
            }
            try await group.waitForAll()
        }
    }

    @Test("several brokers never run more of a limited queue than it allows, and run all of it") func limitUnderLoad() async throws {
        let bench = try Bench()
        let (total, limit) = (120, 5)
        _ = try set(bench, QueueChange(name: "default", maxRunning: limit))
        try bench.submit((0..<total).map { _ in bench.item() })
        let (url, broker, deadline) = (bench.url, bench.broker, ContinuousClock.now + .seconds(400))
        let running = Atomic(4)
        let worst = Mutex(0)
        try await onThreads(5) { index in
            let connection = try StoreConnection(url)
            let store = StoreSession(connection)
            guard index < 4 else {
                let count = Statement("running", "SELECT count(*) FROM hot WHERE session IS NOT NULL")
                while running.load(ordering: .relaxed) > 0 {
                    let now = Int(try connection.run(count).requireInt(0, 0))
                    worst.withLock { $0 = max($0, now) }
                }
                return
            }
            defer { running.subtract(1, ordering: .relaxed) }
            let session = SessionID.random()
            let registration = SessionRegistration(
                session: session, broker: broker, host: "there", pid: 1, version: "0", numerics: [], instructionSet: "plain", threads: 1, slots: 8)
            guard store.perform(.registerSession(registration)) == .done else { throw Bench.Surprise(description: "no session") }
            let waiting = Statement("waiting", "SELECT count(*) FROM hot")
            while try connection.run(waiting).requireInt(0, 0) > 0 {
                guard ContinuousClock.now < deadline else { throw Bench.Surprise(description: "it takes too long") }
                let offer = PlacementOffer(session: session, freeSlots: 20, idle: true, models: [], numerics: Bench.numerics)
                let claim = ClaimRequest(
                    broker: broker, queue: "default", offers: [offer], leases: (0..<20).map { _ in .random() }, fromRank: nil, limit: 100)
                guard case .claimed(let reply) = store.perform(.claim(claim)) else { throw Bench.Surprise(description: "no claim") }
                let completions = reply.grants.map { Completion(task: $0.task, lease: $0.lease, attempt: $0.attempt) }
                guard !completions.isEmpty else {
                    // Others have all that the limit allows: they are let go on.
                    usleep(1_000)
                    continue
                }
                guard case .completed = store.perform(.complete(completions)) else { throw Bench.Surprise(description: "no completion") }
            }
        }
        #expect(worst.withLock { $0 } <= limit)
        #expect(try bench.value("SELECT count(*) FROM attempts WHERE outcome = 'succeeded'") == "\(total)")
    }

    @Test("a limit set while tasks are leased as they are inserted holds from its commit on") func limitDuringInserts() async throws {
        let bench = try Bench()
        let (url, broker, session) = (bench.url, bench.broker, bench.session)
        let isOver = Atomic(false)
        let submission = bench.generate()
        let counts = Mutex<(atCommit: Int, later: Int)>((0, 0))
        try await onThreads(4) { index in
            let connection = try StoreConnection(url)
            guard index < 3 else {
                let count = Statement("running", "SELECT count(*) FROM hot WHERE session IS NOT NULL")
                while try connection.run(count).requireInt(0, 0) < 100 {}
                try connection.execute("SELECT limit_queue('default', 0)")
                let atCommit = Int(try connection.run(count).requireInt(0, 0))
                let waiting = Statement("unleased", "SELECT count(*) FROM hot WHERE session IS NULL")
                while try connection.run(waiting).requireInt(0, 0) < 100 {}
                let later = Int(try connection.run(count).requireInt(0, 0))
                counts.withLock { $0 = (atCommit, later) }
                isOver.store(true, ordering: .relaxed)
                return
            }
            let store = StoreSession(connection)
            while !isOver.load(ordering: .relaxed) {
                let now = try connection.run(Statement("now", "SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint")).requireInt(0, 0)
                let item = SubmitItem(
                    id: UUIDValue.version7(milliseconds: now), submission: submission, seed: 1, seedAssigned: false,
                    grant: GrantOffer(session: session, lease: .random(), broker: broker))
                guard case .submitted = store.perform(.submit([SubmitGroup(items: [item])])) else { throw Bench.Surprise(description: "no submit") }
                let offer = PlacementOffer(session: session, freeSlots: 1, idle: true, models: [], numerics: Bench.numerics)
                let claim = ClaimRequest(broker: broker, queue: "default", offers: [offer], leases: [.random()], fromRank: nil, limit: 10)
                guard case .claimed = store.perform(.claim(claim)) else { throw Bench.Surprise(description: "no claim") }
            }
        }
        let (atCommit, later) = counts.withLock { $0 }
        #expect(atCommit >= 100 && later == atCommit)
    }
}
