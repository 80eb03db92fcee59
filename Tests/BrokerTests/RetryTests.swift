import Broker
import Encodings
import QueueSimulation
import TaskProtocol
import Testing

/// What a client asks to be tried again.
@Suite struct RetryTests {
    private func cancelled(_ bench: inout CoreBench) throws -> TaskID {
        bench.submit()
        let id = try #require(bench.store.tasks.keys.first)
        bench.ask(#""op":"cancel","ids":["\#(id)"]"#)
        #expect(bench.store.tasks[id]?.state == .cancelled)
        return id
    }

    /// The state that a reply tells of its last task.
    private func state(_ reply: Node?) -> String? {
        var state: String?
        reply?["tasks"]?.forEachElement { state = $0["state"]?.stringValue }
        return state
    }

    @Test("a retry whose answer was lost is sent again and changes nothing where its task has ended since")
    func lostAnswer() throws {
        var bench = CoreBench()
        let id = try cancelled(&bench)
        bench.holds = true
        bench.ask(#""op":"retry","ids":["\#(id)"]"#)
        let (look, states) = bench.held.removeFirst()
        #expect(states == .states([id]))
        bench.answer(look, states)
        let (ticket, request) = bench.held.removeFirst()
        let before = bench.replies.count
        _ = bench.store.perform(request, now: CoreBench.epoch)
        bench.feed(.storeReply(ticket: ticket, .failed(.unavailable("cut"))))
        #expect(bench.store.tasks[id]?.state == .queued && bench.replies.count == before)
        _ = bench.store.perform(.cancel([id]), now: CoreBench.epoch)
        bench.now += 300
        bench.feed(.tick)
        #expect(bench.held.contains { $0.request == request })
        bench.release()
        #expect(bench.store.tasks[id]?.state == .cancelled && bench.store.tasks[id]?.retries == 1)
        #expect(bench.replies.count == before + 1)
        #expect(state(bench.replies.last) == "cancelled")
    }

    @Test("a look whose answer is lost leaves the retry undone, and says so")
    func lostLook() throws {
        var bench = CoreBench()
        let id = try cancelled(&bench)
        bench.holds = true
        bench.ask(#""op":"retry","ids":["\#(id)"]"#)
        bench.feed(.storeReply(ticket: bench.held.removeFirst().ticket, .failed(.unavailable("cut"))))
        #expect(bench.replies.last?["error"]?["code"]?.stringValue == "unavailable")
        #expect(bench.store.tasks[id]?.retries == 0)
    }

    @Test("what is unknown, waits, runs or succeeded is refused by its place, and nothing is retried")
    func refused() throws {
        var bench = CoreBench()
        let id = try cancelled(&bench)
        bench.submit()
        let waiting = try #require(bench.store.tasks.values.first { $0.state == .queued }?.id)
        let conflict = bench.ask(#""op":"retry","ids":["\#(id)","\#(waiting)"]"#)
        #expect(conflict?["error"]?["code"]?.stringValue == "conflict" && conflict?["error"]?["field"]?.stringValue == "ids[1]")
        let unknown = bench.ask(#""op":"retry","ids":["\#(id)","\#(UUIDValue(hi: 9, lo: 9))"]"#)
        #expect(unknown?["error"]?["code"]?.stringValue == "not_found" && unknown?["error"]?["field"]?.stringValue == "ids[1]")
        #expect(bench.store.tasks[id]?.state == .cancelled)
        #expect(state(bench.ask(#""op":"retry","ids":["\#(id)"]"#)) == "queued")
    }
}
