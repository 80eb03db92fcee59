import Broker
import Encodings
import QueueSimulation
import TaskProtocol
import Testing

/// Submits whose keys somebody's open transaction holds, and those beside them.
@Suite struct HeldKeyTests {
    private func code(_ reply: Node) -> String? { reply["error"]?["code"]?.stringValue }

    /// Answers all that is asked of the store but what waits patiently for a key.
    /// - Returns: the requests that were answered.
    @discardableResult
    private func answerAllButPatient(_ bench: inout CoreBench) -> [StoreRequest] {
        var answered: [StoreRequest] = []
        while let next = bench.held.firstIndex(where: { if case .submitPatiently = $0.request { false } else { true } }) {
            let (ticket, request) = bench.held.remove(at: next)
            answered.append(request)
            bench.answer(ticket, request)
        }
        return answered
    }

    private func patient(_ bench: CoreBench) -> [String] {
        bench.held.compactMap { if case .submitPatiently(let group, _) = $0.request { group.items.first?.submission.key } else { nil } }
    }

    private func busyBench(_ count: Int, held: Set<String>) -> CoreBench {
        var bench = CoreBench()
        bench.store.heldKeys = held
        bench.holds = true
        for number in 0..<count { bench.submit(#","key":"\#(number)""#) }
        return bench
    }

    @Test("of fifty submits with keys, three of them held, the others are accepted while the three wait apart", arguments: [50, 500])
    func apart(count: Int) {
        var bench = busyBench(count, held: ["3", "17", "40"])
        let asked = answerAllButPatient(&bench)
        #expect(bench.replies.count == count - 3 && bench.replies.allSatisfy { $0["ok"]?.boolValue == true })
        let batches = asked.compactMap { if case .submit(let groups) = $0 { groups.count } else { nil } }
        #expect(batches.count <= 2 + count / 32 + 1 + 3 * 32, "\(batches)")
        #expect(patient(bench) == ["3"], "one waits at a time")
        // Later ones do not wait for it.
        bench.submit(#","key":"late""#)
        answerAllButPatient(&bench)
        #expect(bench.replies.count == count - 2)
        bench.now += 1_000
        bench.release()
        #expect(bench.replies.count { code($0) == "busy" } == 3)
        #expect(bench.store.tasks.count == count - 2)
    }

    @Test("a submit whose key becomes free while it waits is accepted; those behind it have waited no longer than a second together")
    func freed() throws {
        var bench = busyBench(3, held: ["0", "1", "2"])
        answerAllButPatient(&bench)
        guard case .submitPatiently(_, let first)? = bench.held.first?.request else { return #expect(Bool(false), "nobody waits") }
        #expect(first == 1_000)
        bench.now += 990
        let (ticket, request) = bench.held.removeFirst()
        bench.answer(ticket, request)
        guard case .submitPatiently(_, let second)? = bench.held.first?.request else { return #expect(Bool(false), "nobody waits") }
        #expect(second == 10)
        bench.store.heldKeys = []
        bench.release()
        #expect(bench.replies.map { code($0) } == ["busy", nil, nil])
    }

    @Test("more than may wait are busy at once")
    func bounded() {
        var bench = busyBench(300, held: Set((0..<300).map(String.init)))
        answerAllButPatient(&bench)
        // One waits in the store, 200 in line.
        #expect(bench.replies.count { code($0) == "busy" } == 99)
        bench.release()
        #expect(bench.replies.count { code($0) == "busy" } == 300)
    }

    @Test("after a lost answer only the submit that meets a lock stays unanswered, and it is never busy: the lock may be its own")
    func uncertain() {
        var bench = busyBench(4, held: [])
        // The first went alone; the batch of the others is lost on its way.
        let (ticket, request) = bench.held.removeFirst()
        bench.answer(ticket, request)
        let (lost, _) = bench.held.removeFirst()
        bench.feed(.storeReply(ticket: lost, .failed(.unavailable("cut"))))
        bench.store.heldKeys = ["2"]
        bench.now += 300
        bench.feed(.tick)
        answerAllButPatient(&bench)
        #expect(bench.replies.count == 3)
        for _ in 0..<5 {
            bench.now += 1_000
            let (ticket, request) = bench.held.removeFirst()
            bench.answer(ticket, request)
            answerAllButPatient(&bench)
            #expect(patient(bench) == ["2"])
        }
        // Nor is it refused when the database goes away again.
        let (again, _) = bench.held.removeFirst()
        bench.feed(.storeReply(ticket: again, .failed(.unavailable("cut"))))
        #expect(bench.replies.count == 3)
        bench.store.heldKeys = []
        bench.now += 300
        bench.feed(.tick)
        bench.release()
        #expect(bench.replies.count == 4 && bench.replies.allSatisfy { code($0) == nil })
        #expect(bench.store.tasks.count == 4)
    }
}
