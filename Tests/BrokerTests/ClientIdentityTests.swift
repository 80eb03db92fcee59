import Broker
import Encodings
import QueueSimulation
import TaskProtocol
import Testing

/// Who asks, as the broker's logic sees it: the holder of a proved key over all connections, else the connection.
@Suite struct ClientIdentityTests {
    private func code(_ reply: Node?) -> String? { reply?["error"]?["code"]?.stringValue }

    private func submit(_ bench: inout CoreBench, connection: UInt8, key: String?) -> String? {
        let before = bench.replies.count
        let payload = Array(#"{"id":1,"op":"submit","task":{"kind":"generate","params":{"model":"demo"}}}"#.utf8)
        bench.feed(.clientMessage([[connection], payload], key: key))
        return bench.replies.count > before ? code(bench.replies[before]) ?? "accepted" : nil
    }

    private func bench(perClient: Int) -> CoreBench {
        var settings = BrokerSettings()
        settings.requestsPerClient = perClient
        return CoreBench(settings: settings)
    }

    @Test("a key's requests in flight are counted over all of its connections, and hinder no other key")
    func quotaByKey() {
        var bench = bench(perClient: 2)
        bench.holds = true
        #expect(submit(&bench, connection: 1, key: "K") == nil)
        #expect(submit(&bench, connection: 2, key: "K") == nil)
        #expect(submit(&bench, connection: 3, key: "K") == "busy")
        #expect(submit(&bench, connection: 1, key: "L") == nil)
        #expect(submit(&bench, connection: 1, key: nil) == nil)
        bench.release()
        #expect(submit(&bench, connection: 3, key: "K") == "accepted")
        #expect(bench.core.snapshot.requestsInFlight == 0)
    }

    @Test("without keys a quota belongs to a connection")
    func quotaByConnection() {
        var bench = bench(perClient: 1)
        bench.holds = true
        #expect(submit(&bench, connection: 1, key: nil) == nil)
        #expect(submit(&bench, connection: 1, key: nil) == "busy")
        #expect(submit(&bench, connection: 2, key: nil) == nil)
    }

    @Test("a watch counts for its key until it ends, among watches")
    func watches() {
        var bench = bench(perClient: 1)
        let watch = #"{"id":7,"op":"submit","watch":true,"task":{"kind":"generate","params":{"model":"demo"}}}"#
        bench.feed(.clientMessage([[1], Array(watch.utf8)], key: "K"))
        func code() -> String? { bench.replies.last?["error"]?["code"]?.stringValue }
        bench.feed(.clientMessage([[2], Array(watch.utf8)], key: "K"))
        #expect(code() == "busy")
        #expect(submit(&bench, connection: 2, key: "K") == "accepted")
        bench.feed(.clientMessage([[1], Array(#"{"id":8,"op":"unwatch","watch":7}"#.utf8)], key: "K"))
        bench.feed(.clientMessage([[2], Array(watch.utf8)], key: "K"))
        #expect(code() == nil)
    }

    @Test("a task remembers the key that published it, and nobody where there are no keys")
    func publisher() {
        var bench = CoreBench()
        bench.holds = true
        _ = submit(&bench, connection: 1, key: "K")
        _ = submit(&bench, connection: 1, key: nil)
        guard case .submit(let first)? = bench.held.first?.request else { return #expect(Bool(false), "no submit was asked for") }
        #expect(first.map(\.client) == ["K"])
        let (ticket, request) = bench.held.removeFirst()
        bench.answer(ticket, request)
        guard case .submit(let second)? = bench.held.first?.request else { return #expect(Bool(false), "no second submit was asked for") }
        #expect(second.map(\.client) == [""])
    }

    @Test("a message that was not read whole is refused, though its beginning be a request")
    func truncated() {
        var bench = CoreBench()
        bench.feed(.clientMessage([[1], [], Array(#"{"id":1,"op":"models"}"#.utf8)], isTruncated: true))
        #expect(code(bench.replies.last) == "too_large")
        #expect(bench.core.counters.malformedRequests == 1)
    }

    @Test("a request over the limit is refused by its size, before it is read")
    func oversized() {
        var settings = BrokerSettings()
        settings.maximumRequestBytes = 100
        var bench = CoreBench(settings: settings)
        bench.feed(.clientMessage([[1], [UInt8](repeating: UInt8(ascii: "?"), count: 101)]))
        #expect(code(bench.replies.last) == "too_large")
        bench.feed(.clientMessage([[1], [UInt8](repeating: UInt8(ascii: "?"), count: 100)]))
        #expect(code(bench.replies.last) == "bad_request")
    }
}
