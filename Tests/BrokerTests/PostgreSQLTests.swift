import DatabaseTestSupport
import Broker
import Encodings
import Messaging
import TaskProtocol
import TaskStore
import Testing

/// The whole broker on real sockets before a real PostgreSQL; only the worker computes nothing.
@Suite(.serialized) struct PostgreSQLTests {
    private static let task = #"{"kind":"generate","params":{"model":"demo","prompt":"In the"}}"#
    private static let model =
        #"{"name":"demo","sha256":"\#(String(repeating: "cd", count: 32))","checkpoint_sha256":"\#(String(repeating: "ab", count: 32))","#
        + #""architecture":"gpt2","parameters":1000,"context_length":64,"bytes":4000,"config":{"n_layer":1}}"#

    private func ids(_ reply: Node) -> [String] {
        var ids: [String] = []
        reply["tasks"]?.forEachElement { ids.append($0["id"]?.stringValue ?? "") }
        return ids
    }

    @Test("tasks published over ZeroMQ and in SQL are run, also when their worker dies", .timeLimit(.minutes(2)))
    func wholePath() throws {
        let url = try TemporaryCluster.shared.database()
        let (broker, endpoints) = try makeBroker(PostgreSQLGateway(url: TemporaryCluster.url(url, as: .broker)))
        defer {
            broker.stop()
            broker.waitUntilEnded()
        }
        let context = try ZMQContext()
        var client = try TestClient(context, endpoints.tasks)
        let registered = try client.ask(#""op":"register","model":\#(Self.model)"#)
        #expect(registered["model"]?["name"]?.stringValue == "demo")

        let first = try TestWorker(context, endpoints.workers)
        let many = try client.ask(#""op":"submit","tasks":[\#([String](repeating: Self.task, count: 200).joined(separator: ","))]"#)
        for id in ids(many) {
            #expect(try client.ask(#""op":"wait","task":"\#(id)""#)["task"]?["state"]?.stringValue == "succeeded")
        }

        let connection = try StoreConnection(url)
        let published = try connection.run(
            Statement("publish", "SELECT scriptorium.submit('generate', '{\"model\": \"demo\", \"prompt\": \"In the\"}')"))
        let id = try #require(published.uuid(0, 0))
        #expect(try client.ask(#""op":"wait","task":"\#(id)""#)["task"]?["state"]?.stringValue == "succeeded")
        let wrong = try connection.run(Statement("publish2", "SELECT scriptorium.submit('generate', '{\"model\": \"demo\", \"top_p\": 7}')"))
        let wrongID = try #require(wrong.uuid(0, 0))
        let refused = try client.ask(#""op":"wait","task":"\#(wrongID)""#)
        #expect(refused["task"]?["error"]?["field"]?.stringValue == "params.top_p")

        first.kill()
        let orphan = try client.ask(#""op":"submit","task":\#(Self.task)"#)
        let second = try TestWorker(context, endpoints.workers)
        let done = try client.ask(#""op":"wait","task":"\#(ids(orphan)[0])""#)
        #expect(done["task"]?["state"]?.stringValue == "succeeded")
        second.kill()
        // A snapshot is renewed several times a second.
        let deadline = ContinuousClock.now + .seconds(20)
        while broker.snapshot.counters.recorded < 202, ContinuousClock.now < deadline { _ = try client.ask(#""op":"ping""#) }
        #expect(broker.snapshot.counters.recorded == 202)
        #expect(broker.snapshot.durability?.synchronousCommit != nil)
    }

    @Test("a notification alone tells an idle broker of a task in SQL, also over a connection that was made anew", .timeLimit(.minutes(2)))
    func notification() throws {
        let url = try TemporaryCluster.shared.database()
        var settings = BrokerSettings()
        (settings.sweepInterval, settings.idleSweepInterval) = (3_600_000, 3_600_000)
        let (broker, endpoints) = try makeBroker(PostgreSQLGateway(url: TemporaryCluster.url(url, as: .broker)), settings: settings)
        defer {
            broker.stop()
            broker.waitUntilEnded()
        }
        let context = try ZMQContext()
        var client = try TestClient(context, endpoints.tasks)
        _ = try client.ask(#""op":"register","model":\#(Self.model)"#)
        let worker = try TestWorker(context, endpoints.workers)
        defer { worker.kill() }
        let connection = try StoreConnection(url)
        let publish = "SELECT scriptorium.submit('generate', '{\"model\": \"demo\", \"prompt\": \"In the\"}')"
        let kill = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = current_database() AND query = 'LISTEN scriptorium'"
        func end(of published: StatementRows) throws -> String? {
            let id = try #require(published.uuid(0, 0))
            return try client.ask(#""op":"wait","task":"\#(id)","timeout_ms":15000"#)["task"]?["state"]?.stringValue
        }
        let deadline = ContinuousClock.now + .seconds(20)
        while try connection.run(Statement("idle", "SELECT count(*) FROM brokers WHERE idle")).int(0, 0) != 1, ContinuousClock.now < deadline {
            _ = try client.ask(#""op":"ping""#)
        }
        // The first may be found by the look that follows the mark; nothing looks for the second.
        for _ in 1...2 { #expect(try end(of: connection.run(Statement("publish", publish))) == "succeeded") }

        // What is notified to nobody is looked for once there is a connection again; over that one the next is told.
        let unheard = try connection.run(Statement("publish_and_kill", "\(publish), (\(kill))"))
        #expect(unheard.int(0, 1) == 1)
        #expect(try end(of: unheard) == "succeeded")
        #expect(try end(of: connection.run(Statement("publish", publish))) == "succeeded")
    }
}
