import Broker
import Encodings
import QueueSimulation
import TaskProtocol
import Testing

/// What one client, one task or an outage must not do to the others.
@Suite struct OverloadTests {
    private func code(_ reply: Node?) -> String? { reply?["error"]?["code"]?.stringValue }

    @Test("waits and watches have a quota of their own: those that nobody hears any more keep no submit out")
    func waits() throws {
        var settings = BrokerSettings()
        settings.requestsPerClient = 3
        var bench = CoreBench(settings: settings)
        let id = try #require(bench.submit()?["tasks"]).firstElementID
        for _ in 0..<3 { #expect(bench.ask(#""op":"wait","task":"\#(id)","timeout_ms":3600000"#) == nil) }
        #expect(code(bench.ask(#""op":"watch","task":"\#(id)""#)) == "busy")
        #expect(code(bench.ask(#""op":"submit","watch":true,"task":{"kind":"generate","params":{"model":"demo"}}"#)) == "busy")
        #expect(bench.submit()?["ok"]?.boolValue == true)
        #expect(bench.ask(#""op":"get","ids":["\#(id)"]"#)?["ok"]?.boolValue == true)
        #expect(bench.ask(#""op":"cancel","ids":["\#(id)"]"#) != nil)
        // Their task has ended: the waits are answered, and there is room for others.
        #expect(bench.ask(#""op":"wait","task":"\#(id)""#)?["ok"]?.boolValue == true)
    }

    @Test("a worker that joins while the database is away asks again; what it said does not pile up")
    func joining() {
        var bench = CoreBench()
        bench.holds = true
        bench.submit()
        let (ticket, _) = bench.held.removeFirst()
        bench.feed(.storeReply(ticket: ticket, .failed(.unreached("away"))))
        bench.held = []
        for _ in 0..<50 { bench.joinWorker() }
        bench.pass(500)
        #expect(registrations(bench) == 0)
        bench.release()
        bench.pass(5_000)
        for _ in 0..<50 { bench.joinWorker() }
        #expect(bench.told.contains { if case .welcome = $0 { true } else { false } })
    }

    @Test("a worker that says who it is again and again while its row is being made has one made")
    func joiningAgain() {
        var bench = CoreBench()
        bench.holds = true
        for _ in 0..<50 { bench.joinWorker() }
        #expect(registrations(bench) == 1)
        let kept = bench.held
        bench.held = []
        for (ticket, request) in kept { bench.answer(ticket, request) }
        #expect(registrations(bench) <= 1)
        bench.release()
        #expect(bench.told.contains { if case .welcome = $0 { true } else { false } })
    }

    private func registrations(_ bench: CoreBench) -> Int { bench.held.count { if case .registerSession = $0.request { true } else { false } } }

    /// Publishes in SQL.
    private func publish(_ count: UInt64, _ bench: inout CoreBench) -> [TaskID] {
        (1...count).compactMap {
            bench.store.publish(
                ModelStore.Publication(params: Array(#"{"model":"demo"}"#.utf8)), id: UUIDValue(hi: $0 << 16, lo: $0),
                now: CoreBench.epoch + bench.now)
        }
    }

    @Test("one of many published tasks that cannot be checked now keeps the others out of line no longer than it takes to find it")
    func halves() throws {
        var bench = CoreBench()
        let ids = publish(9, &bench)
        bench.holds = true
        bench.feed(.notified)
        var asked = 0
        // What holds the seventh makes each transaction with it busy.
        for _ in 0..<200 where !bench.held.isEmpty {
            let (ticket, request) = bench.held.removeFirst()
            if case .adopt(let adoptions) = request, adoptions.contains(where: { $0.task == ids[6] }) {
                asked += 1
                bench.feed(.storeReply(ticket: ticket, .failed(.busy)))
            } else {
                bench.answer(ticket, request)
            }
        }
        #expect((4...5).contains(asked), "nine, five, three and one; alone once more where a sweep has found it meanwhile")
        let waiting = bench.store.waiting
        #expect(Set(waiting) == Set(ids).subtracting([ids[6]]))
        // Nothing holds it any more: the next sweep brings it.
        bench.release()
        bench.pass(2_000)
        #expect(bench.store.waiting.count == 9)
    }

    @Test("what a worker made is not thrown away for a database that is not as it should be: it is recorded once somebody has mended that")
    func unfit() throws {
        var bench = CoreBench()
        bench.joinWorker()
        bench.submit()
        let grant = try #require(bench.grants.first)
        bench.holds = true
        for _ in 0..<3 {
            bench.feed(.workerMessage(from: [7], .complete(grant.held, generations: [], result: nil, checkpoint: nil)))
            let place = try #require(bench.held.firstIndex { if case .complete = $0.request { true } else { false } })
            bench.feed(.storeReply(ticket: bench.held.remove(at: place).ticket, .failed(.unfit("SQLSTATE XX002"))))
            #expect(!bench.told.contains { if case .recorded = $0 { true } else { false } })
            #expect(!bench.held.contains { if case .fail = $0.request { true } else { false } })
        }
        #expect(bench.store.tasks[grant.task]?.state == .running)
        bench.release()
        bench.feed(.workerMessage(from: [7], .complete(grant.held, generations: [], result: nil, checkpoint: nil)))
        #expect(bench.store.tasks[grant.task]?.state == .succeeded)
        #expect(bench.told.contains(.recorded(lease: grant.lease)))
    }
}

extension Node {
    fileprivate var firstElementID: String {
        var id = ""
        forEachElement { if id.isEmpty { id = $0["id"]?.stringValue ?? "" } }
        return id
    }
}

extension Adoption {
    fileprivate var task: TaskID {
        switch self {
        case .accept(let task, _, _, _, _), .reject(let task, _): task
        }
    }
}
