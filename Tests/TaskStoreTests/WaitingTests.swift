import TaskProtocol
import TaskStore
import Testing

@Suite("What a task waits for") struct WaitingTests {
    private func waiting(_ bench: Bench, _ id: TaskID) throws -> WaitingReason? { try bench.status(id).waitingFor }

    @Test("a free slot, where a worker has joined that gets new work; a worker, where none has") func workers() throws {
        let bench = try Bench()
        let id = try bench.submit([bench.item()])[0].id
        #expect(try waiting(bench, id) == .slot)
        try bench.connection.execute("UPDATE sessions SET state = 'draining'")
        #expect(try waiting(bench, id) == .worker)
        try bench.connection.execute("DELETE FROM sessions")
        #expect(try waiting(bench, id) == .worker)
    }

    @Test("its model, after a worker gave it back to load it; a worker, after one did not know its parameters") func givenBack() throws {
        let bench = try Bench()
        for (reason, expected) in [("snooze", WaitingReason.model), ("unsupported", .worker), ("draining", .slot)] {
            let grant = try bench.running()
            let delay: Int64 = reason == "draining" ? 0 : 60_000
            let release = Release(task: grant.task, lease: grant.lease, attempt: 1, reason: reason, delayMilliseconds: delay)
            _ = try bench.settle(.release([release]))
            #expect(try waiting(bench, grant.task) == expected, "out of line")
            try bench.connection.execute("UPDATE hot SET blocked = NULL, run_at = now() WHERE blocked = 'r'")
            #expect(try waiting(bench, grant.task) == expected, "in line again")
        }
    }

    @Test("a worker, where none that has joined knows all of its parameters") func parameters() throws {
        let bench = try Bench()
        try bench.connection.execute("DELETE FROM sessions")
        let known = TaskParameters.knownNames
        try bench.register(.random(), parameters: known.filter { $0 != "min_p" })
        let id = try bench.submit([bench.item()])[0].id
        #expect(try waiting(bench, id) == .worker)
        // A task of a later release.
        let later = try bench.submit([bench.item()])[0].id
        try bench.connection.execute("UPDATE task SET resolved = jsonb_set(resolved::jsonb, '{params,later}', '1')::text WHERE id = '\(later)'")
        try bench.register(.random(), parameters: known)
        #expect(try waiting(bench, id) == .slot)
        #expect(try waiting(bench, later) == .worker)
        try bench.register(.random(), parameters: known + ["later"])
        #expect(try waiting(bench, later) == .slot)
        try bench.connection.execute("DELETE FROM sessions")
        try bench.register(.random())
        #expect(try waiting(bench, id) == .slot && waiting(bench, later) == .slot, "one that did not say may know them")
    }

    @Test("a worker, where none that has joined computes in its precision") func precision() throws {
        let bench = try Bench()
        try bench.connection.execute("DELETE FROM sessions")
        let known = TaskParameters.knownNames
        try bench.register(.random(), numerics: ["float32/1"], parameters: known)
        let id = try bench.submit([bench.item()])[0].id
        #expect(try waiting(bench, id) == .slot)
        try bench.connection.execute("UPDATE task SET resolved = jsonb_set(resolved::jsonb, '{params,precision}', '\"int8\"')::text")
        #expect(try waiting(bench, id) == .worker)
        try bench.register(.random(), numerics: ["float32/1", "int8/1"], parameters: known.filter { $0 != "precision" })
        #expect(try waiting(bench, id) == .worker, "one has the precision, the other the parameters")
        try bench.register(.random(), numerics: ["float32/1", "int8/2"], parameters: known)
        #expect(try waiting(bench, id) == .slot)
        let texts = #"[{"proof": {"precision": "bfloat16"}}]"#
        try bench.connection.execute("UPDATE task SET kind = 'verify', resolved = jsonb_set(resolved::jsonb, '{texts}', '\(texts)')::text")
        #expect(try waiting(bench, id) == .worker, "a verify computes in the precision of its texts")
        try bench.register(.random(), numerics: ["float32/1", "bfloat16/1"], parameters: known)
        #expect(try waiting(bench, id) == .slot)
    }

    @Test("its time: the publisher's, or the end of the pause after a failure") func times() throws {
        let bench = try Bench()
        var later = bench.generate()
        later.runAt = bench.now() + 60_000
        let id = try bench.submit([bench.item(later)])[0].id
        #expect(try waiting(bench, id) == .runAt)
        let grant = try bench.running()
        _ = try bench.settle(.fail([bench.failure(grant, delay: 60_000)]))
        #expect(try waiting(bench, grant.task) == .retryAt)
        #expect(try bench.status(grant.task).runAt > bench.now() + 30_000)
    }

    @Test("others, until the last has succeeded") func others() throws {
        let bench = try Bench()
        let parent = try bench.running()
        var child = bench.generate()
        child.after = [parent.task]
        let id = try bench.submit([bench.item(child)])[0].id
        #expect(try waiting(bench, id) == .after)
        _ = try bench.complete([bench.completion(parent)])
        #expect(try waiting(bench, id) == .slot)
    }

    @Test("its queue, which is paused, or runs as many as it may: one with room does not hold it back") func queues() throws {
        let bench = try Bench()
        _ = try bench.running()
        let id = try bench.submit([bench.item()])[0].id
        for (settings, expected) in [("true, NULL", WaitingReason.paused), ("false, 1", .limit), ("false, 0", .limit), ("false, 2", .slot)] {
            try bench.connection.execute(
                """
                INSERT INTO queues (name, paused, max_running) VALUES ('default', \(settings))
                ON CONFLICT (name) DO UPDATE SET paused = excluded.paused, max_running = excluded.max_running
                """)
            #expect(try waiting(bench, id) == expected, "\(settings)")
        }
        var elsewhere = bench.generate()
        elsewhere.queue = "other"
        try bench.connection.execute("UPDATE queues SET max_running = 1")
        let free = try bench.submit([bench.item(elsewhere)])[0].id
        #expect(try waiting(bench, free) == .slot, "another queue's limit is no matter")
    }

    @Test("nothing, while it runs and once it has ended; what was retried waits like any other") func nothing() throws {
        let bench = try Bench()
        let grant = try bench.running()
        #expect(try waiting(bench, grant.task) == nil)
        _ = try bench.settle(.fail([bench.failure(grant, final: true)]))
        #expect(try waiting(bench, grant.task) == nil)
        _ = bench.ask(.retry(try bench.ends([grant.task])))
        #expect(try waiting(bench, grant.task) == .slot)
    }
}
