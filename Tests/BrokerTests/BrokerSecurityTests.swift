import Broker
import Encodings
import FoundationEssentials
import Messaging
import TaskProtocol
import TestSupport
import Testing

/// A broker with keys, on real sockets before a model of the store.
@Suite(.serialized, .timeLimit(.minutes(1))) struct BrokerSecurityTests {
    private static let task = #"{"kind":"generate","params":{"model":"demo","prompt":"In the"}}"#
    private let server: CurveKeyPair
    private let client: CurveKeyPair
    private let worker: CurveKeyPair
    private let folder: TemporaryDirectory

    init() throws {
        (server, client, worker) = (try .generate(), try .generate(), try .generate())
        folder = try TemporaryDirectory()
        try write(client, to: "clients.keys")
        try write(worker, to: "workers.keys")
    }

    private func write(_ pair: CurveKeyPair?, to name: String) throws {
        try Data((pair.map { $0.publicKey.text + " name\n" } ?? "").utf8).write(to: URL(filePath: folder.path + "/" + name))
    }

    private func security() throws -> BrokerSecurity {
        try BrokerSecurity(keys: server, clients: [folder.path + "/clients.keys"], workers: [folder.path + "/workers.keys"])
    }

    private func shown(_ pair: CurveKeyPair) -> SocketSecurity { .client(pair, server: server.publicKey) }

    @Test("clients and workers with listed keys are served; their tasks carry the client's key, the broker's row its own")
    func served() throws {
        let gateway = ModelGateway()
        let (broker, endpoints) = try makeBroker(gateway, security: try security())
        defer {
            broker.stop()
            broker.waitUntilEnded()
        }
        let context = try ZMQContext()
        var asking = try TestClient(context, endpoints.tasks, security: shown(client))
        let working = try TestWorker(context, endpoints.workers, security: shown(worker))
        defer { working.kill() }
        let reply = try asking.ask(#""op":"submit","task":\#(Self.task)"#)
        var id = ""
        reply["tasks"]?.forEachElement { id = $0["id"]?.stringValue ?? "" }
        #expect(try asking.ask(#""op":"wait","task":"\#(id)""#)["task"]?["state"]?.stringValue == "succeeded")
        #expect(gateway.submitters == [client.publicKey.text])
        #expect(gateway.registeredKey == server.publicKey.text)
    }

    @Test("a key that goes from the list is not answered any more over the connection that it has")
    func revoked() throws {
        let (broker, endpoints) = try makeBroker(ModelGateway(), security: try security())
        defer {
            broker.stop()
            broker.waitUntilEnded()
        }
        let context = try ZMQContext()
        var asking = try TestClient(context, endpoints.tasks, security: shown(client))
        #expect(try asking.ask(#""op":"ping""#)["ok"]?.boolValue == true)
        try write(nil, to: "clients.keys")
        broker.reloadKeys()
        // Pings are answered until the list is taken; then silence, which is waited for with a bound.
        // One late answer is no silence.
        var end = ContinuousClock.now + .seconds(20)
        var silences = 0
        while ContinuousClock.now < end, silences < 3 {
            silences = try asking.isAnswered(#""op":"ping""#, withinMilliseconds: 500) ? 0 : silences + 1
        }
        #expect(silences == 3)
        try write(client, to: "clients.keys")
        broker.reloadKeys()
        end = ContinuousClock.now + .seconds(20)
        while ContinuousClock.now < end, try !asking.isAnswered(#""op":"ping""#, withinMilliseconds: 500) {}
        let isBack = try asking.isAnswered(#""op":"ping""#, withinMilliseconds: 500)
        #expect(isBack)
    }

    private func subscriber(_ context: ZMQContext, _ endpoint: String, _ pair: CurveKeyPair) throws -> Socket {
        var options = SocketOptions()
        options.security = shown(pair)
        let socket = try Socket(context, .subscriber, options)
        try socket.connect(endpoint)
        try socket.subscribe(Array("task.".utf8))
        return socket
    }

    /// Whether an event comes within a time; all that came is read.
    private func hears(_ socket: borrowing Socket, milliseconds: Int) throws -> Bool {
        var poller = Poller()
        poller.add(socket)
        try poller.wait(milliseconds: milliseconds)
        var count = 0
        while try socket.receive() != nil { count += 1 }
        return count > 0
    }

    @Test("who only listens to events is cut off with his key, others hear on")
    func cutSubscribers() throws {
        let other = try CurveKeyPair.generate()
        let both = "\(client.publicKey.text) a\n\(other.publicKey.text) b\n"
        try Data(both.utf8).write(to: URL(filePath: folder.path + "/clients.keys"))
        let (broker, endpoints) = try makeBroker(ModelGateway(), security: try security())
        defer {
            broker.stop()
            broker.waitUntilEnded()
        }
        let context = try ZMQContext()
        var asking = try TestClient(context, endpoints.tasks, security: shown(other))
        let revoked = try subscriber(context, endpoints.events, client)
        let kept = try subscriber(context, endpoints.events, other)
        let submit = #""op":"submit","task":\#(Self.task)"#
        _ = try asking.ask(submit)
        let end = ContinuousClock.now + .seconds(20)
        var (first, second) = (false, false)
        while ContinuousClock.now < end, !(first && second) {
            _ = try asking.ask(submit)
            if try hears(revoked, milliseconds: 100) { first = true }
            if try hears(kept, milliseconds: 100) { second = true }
        }
        #expect(first && second)
        try write(other, to: "clients.keys")
        broker.reloadKeys()
        // Until the list is taken both hear; then one is back within moments, and the other never.
        var inARow = 0
        while ContinuousClock.now < end, inARow < 5 {
            _ = try asking.ask(submit)
            let isHeard = try hears(kept, milliseconds: 200)
            let isLeaking = try hears(revoked, milliseconds: 50)
            inARow = isHeard && !isLeaking ? inARow + 1 : 0
        }
        #expect(inARow == 5)
    }

    @Test("keys allow listening beyond loopback")
    func listening() throws {
        var options = BrokerOptions()
        options.workersEndpoint = "tcp://0.0.0.0:0"
        #expect(throws: MessagingError.notLoopback(endpoint: "tcp://0.0.0.0:0")) { try options.check() }
        options.security = try security()
        try options.check()
    }

    @Test("the link to a peer shows the own pair, and expects the key of the peer's row")
    func link() throws {
        guard case .client(server, client.publicKey) = try security().link(toPeerWith: client.publicKey) else {
            return #expect(Bool(false), "another security than a client's")
        }
        #expect(try security().access.policy.allowed["peers"] == [server.publicKey])
    }
}
