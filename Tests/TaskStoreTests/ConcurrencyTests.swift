import Foundation
import Synchronization
import TaskProtocol
import TaskStore
import Testing

@Suite("Many at once") struct ConcurrencyTests {
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

    @Test("two connections claim disjoint tasks, and every task is completed once") func disjoint() async throws {
        let bench = try Bench()
        let count = 600
        try bench.submit((0..<count).map { _ in bench.item() })
        let seen = Mutex<[TaskID]>([])
        let (url, broker) = (bench.url, bench.broker)
        let sessions = [SessionID.random(), SessionID.random()]
        for session in sessions { try bench.register(session) }
        try await onThreads(2) { index in
            let connection = try StoreConnection(url)
            let store = StoreSession(connection)
            while true {
                let offer = PlacementOffer(session: sessions[index], freeSlots: 7, idle: true, models: [], numerics: Bench.numerics)
                let claim = ClaimRequest(
                    broker: broker, queue: "default", offers: [offer], leases: (0..<7).map { _ in .random() }, fromRank: nil, limit: 20)
                guard case .claimed(let reply) = store.perform(.claim(claim)) else { throw Bench.Surprise(description: "no claim") }
                if reply.grants.isEmpty && reply.exhausted { return }
                let completions = reply.grants.map { Completion(task: $0.task, lease: $0.lease, attempt: $0.attempt) }
                guard case .completed(let settled) = store.perform(.complete(completions)) else { throw Bench.Surprise(description: "no completion") }
                let recorded = zip(completions, settled).filter { $0.1.settlement == .recorded(.succeeded, nil) }.map(\.0.task)
                seen.withLock { $0 += recorded }
            }
        }
        let recorded = seen.withLock { $0 }
        #expect(recorded.count == count && Set(recorded).count == count)
        #expect(try bench.value("SELECT count(*) FROM attempts WHERE outcome = 'succeeded'") == String(count))
    }

    @Test("submits, cancels, sweeps and completions of the same tasks at once end each task once") func turmoil() async throws {
        let bench = try Bench()
        let (url, broker) = (bench.url, bench.broker)
        let ids = Mutex<[TaskID]>([])
        let now = bench.now()
        try await onThreads(4) { index in
            let store = StoreSession(try StoreConnection(url))
            for round in 0..<25 {
                let session = SessionID.random()
                let registration = SessionRegistration(
                    session: session, broker: broker, host: "there", pid: 1, version: "0", numerics: [], instructionSet: "plain", threads: 1, slots: 8
                )
                guard store.perform(.registerSession(registration)) == .done else { throw Bench.Surprise(description: "no session") }
                let items = (0..<8).map { _ in
                    SubmitItem(
                        id: UUIDValue.version7(milliseconds: now), submission: Self.submission, seed: 1, seedAssigned: false,
                        grant: GrantOffer(session: session, lease: .random(), broker: broker))
                }
                guard case .submitted(let outcomes) = store.perform(.submit([SubmitGroup(items: items)])), case .accepted(let tasks) = outcomes[0]
                else { throw Bench.Surprise(description: "no submit") }
                ids.withLock { $0 += tasks.map(\.id) }
                let others = ids.withLock { $0.suffix(40) }
                if case .failed(let why) = store.perform(.cancel(Array(others.prefix(3)))) { throw Bench.Surprise(description: "cancel: \(why)") }
                let done = tasks.compactMap(\.grant).map { Completion(task: $0.task, lease: $0.lease, attempt: 1) }
                if case .failed(let why) = store.perform(.complete(Array(done.reversed().prefix(5)))) {
                    throw Bench.Surprise(description: "complete: \(why)")
                }
                if case .failed(let why) = store.perform(round % 2 == 0 ? .endSession(session) : .sweep([DeadSession(session: session, counter: 0)]))
                {
                    throw Bench.Surprise(description: "sweep: \(why)")
                }
            }
        }
        let all = ids.withLock { $0 }
        #expect(all.count == 800)
        let consistent = try bench.value(
            """
            SELECT count(*) FROM task t WHERE (SELECT count(*) FROM hot h WHERE h.task = t.id) + (SELECT count(*) FROM outcome o WHERE o.task = t.id) <> 1
            """)
        #expect(consistent == "0")
        // What somebody held when its session was ended waits for the next look.
        let left = try bench.value("SELECT string_agg(id::text, ' ') FROM sessions WHERE host = 'there' AND id <> '\(bench.session)'") ?? ""
        let dead = left.split(separator: " ").compactMap { SessionID(String($0)) }.map { DeadSession(session: $0, counter: 0) }
        guard case .swept(let swept) = bench.ask(.sweep(dead)) else { return unexpected() }
        #expect(swept.ended.count == dead.count)
        #expect(try bench.value("SELECT count(*) FROM hot WHERE lease IS NOT NULL") == "0", "every session has ended")
        #expect(try bench.value("SELECT count(*) FROM outcome WHERE state = 'succeeded'") != "0")
    }

    @Test("two parents that end at the same time let their child go, without a sweep") func simultaneousEnds() async throws {
        let bench = try Bench()
        let (url, rounds) = (bench.url, 60)
        let parents = try (0..<rounds).map { _ in try [bench.running(), bench.running()] }
        let children = try parents.map { pair in
            var child = bench.generate()
            child.after = pair.map(\.task)
            return try bench.submit([bench.item(child)])[0].id
        }
        let completions = parents.map { $0.map { bench.completion($0) } }
        try await onThreads(2) { index in
            let store = StoreSession(try StoreConnection(url))
            for round in completions {
                guard case .completed = store.perform(.complete([round[index]])) else { throw Bench.Surprise(description: "no completion") }
            }
        }
        guard case .unchecked(let unchecked, _) = bench.ask(.unchecked(limit: 1_000)) else { return unexpected() }
        #expect(Set(unchecked.map(\.id)) == Set(children))
    }

    private static let submission: TaskSubmission = {
        TaskSubmission(parameters: .generate(GenerateParameters(model: "demo")), submittedParams: Array("{\"model\":\"demo\"}".utf8))
    }()

    @Test("the pool answers in other threads, says unavailable at once while the database is away, and closes") func pool() async throws {
        let bench = try Bench()
        let pool = StorePool(url: bench.url, connections: 2)
        let reply = await withCheckedContinuation { continuation in pool.perform(.models) { continuation.resume(returning: $0) } }
        guard case .models(let models) = reply else { return unexpected() }
        #expect(models.map(\.name) == ["demo"])
        // The server ends all sessions: the next request may be lost, a later one succeeds on a new connection.
        try StoreConnection(bench.ownerURL).execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()")
        var recovered = false
        for _ in 0..<200 where !recovered {
            let again = await withCheckedContinuation { continuation in pool.perform(.models) { continuation.resume(returning: $0) } }
            if case .models = again { recovered = true }
            if again.absence != nil { usleep(10_000) }
        }
        #expect(recovered)
        pool.close()
        let nowhere = StorePool(url: "host=127.0.0.1 port=1 dbname=x user=x", connections: 1)
        let failed = await withCheckedContinuation { continuation in nowhere.perform(.models) { continuation.resume(returning: $0) } }
        guard case .failed(.unreached) = failed else { return unexpected() }
        nowhere.close()
    }
}
