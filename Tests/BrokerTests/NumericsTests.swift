import Broker
import Encodings
import TaskProtocol
import Testing

/// A release is rolled out: workers that compute in another version take over.
@Suite struct NumericsTests {
    @Test("the watcher of a task whose version nobody computes in any more is told that it starts anew, and in which")
    func startsAnew() throws {
        var bench = CoreBench()
        bench.joinWorker(numerics: ["float32/1"])
        bench.ask(#""op":"submit","watch":true,"task":{"kind":"generate","params":{"model":"demo"}}"#)
        let first = try #require(bench.grants.first)
        bench.feed(.workerMessage(from: [7], .failed(first.held, error: ContractError(.internalError, "bad luck"), final: false)))
        bench.feed(.workerMessage(from: [7], .goodbye(session: bench.session)))
        bench.session = UUIDValue(hi: 6, lo: 6)
        bench.joinWorker(numerics: ["float32/2"])
        bench.pass(50_000, heartbeats: true)
        #expect(bench.grants.count == 1)
        bench.replies = []
        bench.pass(30_000, heartbeats: true)
        let second = try #require(bench.grants.dropFirst().first)
        #expect(second.task == first.task && second.attempt == 2)
        // This worker never confirms what it is granted: attempts follow each other, and only the first of them starts anew.
        let told = bench.replies.compactMap { $0["event"] }.filter { $0["numerics"] != nil }
        #expect(told.map { $0["event"]?.stringValue } == ["retrying"])
        #expect(told.map { $0["numerics"]?.stringValue } == ["float32/2"])
        #expect(told.map { $0["attempt"]?.integerValue } == [2])
    }

    @Test("a task that is repeated in its own version starts without further word")
    func sameVersion() throws {
        var bench = CoreBench()
        bench.joinWorker(numerics: ["float32/1"])
        bench.ask(#""op":"submit","watch":true,"task":{"kind":"generate","params":{"model":"demo"}}"#)
        let first = try #require(bench.grants.first)
        bench.feed(.workerMessage(from: [7], .failed(first.held, error: ContractError(.internalError, "bad luck"), final: false)))
        bench.replies = []
        bench.pass(5_000, heartbeats: true)
        #expect(bench.grants.contains { $0.attempt == 2 })
        #expect(!bench.replies.contains { $0["event"]?["numerics"] != nil })
    }
}
