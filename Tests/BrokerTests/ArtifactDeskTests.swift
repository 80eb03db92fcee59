import Broker
import Encodings
import QueueSimulation
import TaskProtocol
import Testing

/// Artifacts through the broker's logic: whose turn it is, what is refused, and that nothing else waits for them.
@Suite struct ArtifactDeskTests {
    private static let digest = String(repeating: "ab", count: 32)

    private func packed(_ op: String, id: Int64, data: Int = 0) -> [UInt8] {
        var writer = MessagePackWriter()
        writer.beginMap(op == "put" ? 6 : 3)
        writer.member("op", op)
        writer.member("id", id)
        writer.member("sha256", Self.digest)
        if op == "put" {
            writer.member("size", 1 << 30)
            writer.member("offset", 0)
            writer.key("data")
            writer.binary([UInt8](repeating: 7, count: data))
        }
        writer.endMap()
        return writer.bytes
    }

    private func ask(_ bench: inout CoreBench, client: UInt8, _ op: String, id: Int64, data: Int = 0) {
        bench.feed(.clientMessage([[client], packed(op, id: id, data: data)]))
    }

    private func fetch(_ bench: inout CoreBench, worker: UInt8, number: Int64) {
        bench.feed(.workerMessage(from: [worker], .artifact(number: number, .fetch(ArtifactFetch(sha256: Self.digest, offset: number)))))
    }

    private func code(_ reply: Node?) -> String? { reply?["error"]?["code"]?.stringValue }

    @Test("a part goes to the store's threads, and its answer to whoever asked, without a word to the database")
    func there() {
        var bench = CoreBench()
        let asked = bench.store.tasks.count
        ask(&bench, client: 9, "put", id: 5, data: 100)
        #expect(bench.artifacts.count == 1)
        guard case .put(let put)? = bench.artifacts.first?.operation else { return #expect(Bool(false), "no put") }
        #expect(put.data?.count == 100 && put.sha256 == Self.digest)
        bench.feed(.artifactAnswer(ticket: bench.artifacts[0].ticket, .have(100)))
        #expect(bench.replies.last?["re"]?.integerValue == 5 && bench.replies.last?["have"]?.integerValue == 100)
        fetch(&bench, worker: 3, number: 17)
        bench.feed(.artifactAnswer(ticket: bench.artifacts[1].ticket, .data([1, 2], size: 50)))
        #expect(bench.told.last == .artifact(number: 17, .data([1, 2], size: 50)))
        bench.feed(.artifactAnswer(ticket: bench.artifacts[1].ticket, .have(1)))
        #expect(bench.replies.count == 1, "an answer that nobody waits for goes nowhere")
        #expect(bench.store.tasks.count == asked)
        #expect(bench.core.counters.artifactBytesIn == 100 && bench.core.counters.artifactBytesOut == 2)
    }

    @Test("a few are under way at once, each peer in its turn and in its order; the others wait, and beyond that it is busy")
    func turns() {
        var settings = BrokerSettings()
        settings.artifactsUnderWay = 2
        var bench = CoreBench(settings: settings)
        for number in 0..<10 { fetch(&bench, worker: 3, number: Int64(number)) }
        fetch(&bench, worker: 4, number: 100)
        // Two are with the store, eight may wait a peer.
        #expect(bench.artifacts.count == 2)
        #expect(bench.told == [])
        fetch(&bench, worker: 3, number: 10)
        guard case .artifact(10, .refused(let error))? = bench.told.last else { return #expect(Bool(false), "not refused") }
        #expect(error.code == .busy)
        var order: [Int64] = []
        var answered = 0
        while answered < bench.artifacts.count {
            let (ticket, operation) = bench.artifacts[answered]
            if case .fetch(let fetch) = operation { order.append(fetch.offset) }
            #expect(bench.artifacts.count - answered <= 2)
            bench.feed(.artifactAnswer(ticket: ticket, .have(0)))
            answered += 1
        }
        #expect(order == [0, 1, 2, 100, 3, 4, 5, 6, 7, 8, 9])
    }

    @Test("bytes that wait are bounded, and what cannot wait is busy, kept by nobody")
    func bytes() {
        var settings = BrokerSettings()
        settings.artifactsUnderWay = 1
        settings.artifactBytes = 1000
        var bench = CoreBench(settings: settings)
        ask(&bench, client: 1, "put", id: 0, data: 900)
        ask(&bench, client: 2, "put", id: 1, data: 900)
        ask(&bench, client: 3, "put", id: 2, data: 900)
        #expect(code(bench.replies.last) == "busy" && bench.replies.last?["re"]?.integerValue == 2)
        ask(&bench, client: 4, "fetch", id: 3)
        #expect(bench.replies.count == 1, "what brings no bytes may wait")
        for place in 0..<3 { bench.feed(.artifactAnswer(ticket: bench.artifacts[place].ticket, .have(0))) }
        #expect(bench.artifacts.count == 3 && bench.replies.count == 4)
    }

    @Test("artifacts are served while the database is away, and refused by a broker that drains once what is under way is answered")
    func awayAndDrain() {
        var settings = BrokerSettings()
        settings.artifactsUnderWay = 1
        var bench = CoreBench(settings: settings)
        bench.holds = true
        bench.submit()
        let (ticket, _) = bench.held.removeFirst()
        bench.feed(.storeReply(ticket: ticket, .failed(.unavailable("cut"))))
        fetch(&bench, worker: 3, number: 1)
        fetch(&bench, worker: 3, number: 2)
        #expect(bench.artifacts.count == 1)
        bench.feed(.drain)
        guard case .artifact(2, .refused(let waiting))? = bench.told.last else { return #expect(Bool(false), "still waits") }
        #expect(waiting.code == .unavailable)
        fetch(&bench, worker: 3, number: 3)
        guard case .artifact(3, .refused(let late))? = bench.told.last else { return #expect(Bool(false), "taken") }
        #expect(late.code == .unavailable)
        bench.feed(.artifactAnswer(ticket: bench.artifacts[0].ticket, .data([5], size: 1)))
        #expect(bench.told.last == .artifact(number: 1, .data([5], size: 1)))
    }
}
