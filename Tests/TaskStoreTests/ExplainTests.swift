import Encodings
import TaskProtocol
import TaskStore
import Testing

@Suite("Explaining") struct ExplainTests {
    private func explain(_ bench: Bench, _ id: TaskID) throws -> TaskExplanation {
        let reply = bench.ask(.explain(id))
        guard case .explained(let explanation) = reply else { throw Bench.Surprise(description: "\(reply)") }
        return explanation
    }

    @Test("a life is told whole: publisher, what was pinned, every attempt with who ran it and how it ended") func life() throws {
        let bench = try Bench()
        var submission = bench.generate()
        (submission.priority, submission.key, submission.maxAttempts) = (7, "k", 5)
        let id = try bench.submit([bench.item(submission)])[0].id
        let waiting = try explain(bench, id)
        #expect(waiting.attempts.isEmpty && waiting.line == TaskExplanation.Line(ahead: 0, isAtLeast: false))
        let gone = SessionID.random()
        try bench.register(gone)
        _ = try bench.claim(session: gone)
        _ = bench.ask(.sweep([DeadSession(session: gone, counter: 0)]))
        let second = try #require(try bench.claim().grants.first)
        _ = try bench.settle(.fail([bench.failure(second)]))
        let third = try #require(try bench.claim().grants.first)
        let resume = Array("{\"step\":5}".utf8)
        _ = try bench.settle(.release([Release(task: id, lease: third.lease, attempt: 3, reason: "draining", resume: resume)]))
        _ = try bench.claim()
        _ = bench.ask(.cancel([id]))
        let told = try explain(bench, id)
        #expect(told.status.priority == 7 && told.status.key == "k" && told.status.state == .running && told.publisher == "test")
        #expect(told.maxAttempts == 5 && told.failures == 1 && told.losses == 1 && told.cancelRequested && told.line == nil)
        #expect(told.attempts.map(\.outcome) == ["lost", "failed", "released", nil] && told.earlierAttempts == 0)
        #expect(told.attempts[0].worker == TaskExplanation.Process(id: gone, host: nil, pid: nil))
        #expect(told.attempts[1].worker == TaskExplanation.Process(id: bench.session, host: "there", pid: 2))
        #expect(told.attempts[1].broker == TaskExplanation.Process(id: bench.broker, host: "here", pid: 1))
        #expect(told.attempts[1].error.flatMap { ContractError(json: $0) }?.code == .modelError)
        #expect(try JSONValue.parse(try #require(told.attempts[2].error))["reason"]?.stringValue == "draining")
        #expect(told.attempts.allSatisfy { ($0.finishedAt ?? .max) >= $0.startedAt } && told.attempts[3].finishedAt == nil)
        let pinned = try #require(told.pinned)
        #expect(pinned.seed == 12_345_678 && pinned.seedAssigned)
        #expect(try JSONValue.parse(try #require(pinned.model))["sha256"]?.stringValue == Bench.digest)
        #expect(try #require(told.resumeSavedAt) > bench.now() - 60_000)
        #expect(told.queue == QueueRow(name: "default", paused: false, maxRunning: nil, depth: 0, running: 1))
    }

    @Test("an ended task tells its last attempt, one that never ran none; a long life its last hundred attempts") func ends() throws {
        let bench = try Bench()
        let grant = try bench.running()
        _ = try bench.complete([bench.completion(grant)])
        let done = try explain(bench, grant.task)
        #expect(done.attempts.map(\.outcome) == ["succeeded"] && done.status.finishedAt != nil && done.status.result == nil)
        let never = try bench.submit([bench.item()])[0].id
        _ = bench.ask(.cancel([never]))
        #expect(try explain(bench, never).attempts.isEmpty)
        try bench.connection.execute(
            """
            INSERT INTO tries (task, attempt, lease, started_at, finished_at, outcome)
            SELECT '\(never)', n, gen_random_uuid(), now(), now(), 'released' FROM generate_series(1, 250) n
            """)
        let long = try explain(bench, never)
        #expect(long.attempts.map(\.number) == Array(151...250) && long.earlierAttempts == 150)
        guard case .refused(let error) = bench.ask(.explain(.random())) else { return unexpected() }
        #expect(error.code == .notFound && error.field == "task")
    }

    @Test("what was published in SQL names its role, and is not pinned until a broker has looked; what it waits for is told with states")
    func after() throws {
        let bench = try Bench()
        let parent = try bench.running()
        let other = try bench.submit([bench.item()])[0].id
        let id = try #require(
            try bench.value(
                "SELECT submit('generate', '{\"model\": \"demo\"}', after => ARRAY['\(parent.task)', '\(other)', '\(UUIDValue(hi: 1, lo: 1))']::uuid[])"
            ).flatMap(UUIDValue.init(_:)))
        let told = try explain(bench, id)
        #expect(told.pinned == nil && told.publisher == "postgres" && told.line == nil)
        #expect(told.after.map(\.id) == [parent.task, other, UUIDValue(hi: 1, lo: 1)] && told.after.map(\.state) == [.running, .queued, nil])
    }

    @Test("its place in line is counted within its queue, up to ten thousand") func line() throws {
        let bench = try Bench()
        let tasks = try bench.submit((0..<10_000).map { _ in bench.item() }).sorted { ($0.rank, $0.id) < ($1.rank, $1.id) }
        var urgent = bench.generate()
        urgent.priority = 100
        let first = try bench.submit([bench.item(urgent)])[0].id
        var late = bench.generate()
        late.priority = -100
        let last = try bench.submit([bench.item(late)])[0].id
        var elsewhere = bench.generate()
        (elsewhere.queue, elsewhere.priority) = ("other", -100)
        let alone = try bench.submit([bench.item(elsewhere)])[0].id
        #expect(try explain(bench, first).line == TaskExplanation.Line(ahead: 0, isAtLeast: false))
        #expect(try explain(bench, tasks[41].id).line == TaskExplanation.Line(ahead: 42, isAtLeast: false))
        #expect(try explain(bench, last).line == TaskExplanation.Line(ahead: 10_000, isAtLeast: true))
        #expect(try explain(bench, alone).line == TaskExplanation.Line(ahead: 0, isAtLeast: false))
    }
}
