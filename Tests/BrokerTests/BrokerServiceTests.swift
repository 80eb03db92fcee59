import Broker
import Encodings
import Messaging
import TaskProtocol
import Testing

/// The reactor on real sockets, before a model of the store.
@Suite(.serialized) struct BrokerServiceTests {
    private static let task = #"{"kind":"generate","params":{"model":"demo","prompt":"In the"}}"#

    @Test("a client publishes, a worker works, and the client hears of the end")
    func wholePath() throws {
        let (broker, endpoints) = try makeBroker(ModelGateway())
        let context = try ZMQContext()
        var client = try TestClient(context, endpoints.tasks)
        let worker = try TestWorker(context, endpoints.workers)
        let submitted = try client.ask(#""op":"submit","task":\#(Self.task)"#)
        #expect(submitted["ok"]?.boolValue == true)
        var id = ""
        submitted["tasks"]?.forEachElement { id = $0["id"]?.stringValue ?? "" }
        let waited = try client.ask(#""op":"wait","task":"\#(id)""#)
        #expect(waited["task"]?["state"]?.stringValue == "succeeded")
        let again = try client.ask(#""op":"submit","watch":true,"task":\#(Self.task)"#)
        #expect(again["ok"]?.boolValue == true)
        var names: [String] = []
        while names.last != "succeeded" { names.append(try client.next()["event"]?["event"]?.stringValue ?? "?") }
        #expect(names.first == "queued")
        #expect(names.filter { $0 == "succeeded" }.count == 1)
        worker.kill()
        broker.stop()
        broker.waitUntilEnded()
        #expect(broker.hasEnded)
    }

    @Test("a REQ client gets one answer, in the encoding that it spoke")
    func requestSocket() throws {
        let (broker, endpoints) = try makeBroker(ModelGateway())
        defer { broker.stop() }
        var client = try TestClient(try ZMQContext(), endpoints.tasks, .request)
        #expect(try client.ask(#""op":"ping""#)["protocol"]?.integerValue == 1)
        // {"op": "ping", "id": "m"} in MessagePack.
        try client.send([[0x82, 0xA2, 0x6F, 0x70, 0xA4, 0x70, 0x69, 0x6E, 0x67, 0xA2, 0x69, 0x64, 0xA1, 0x6D]])
        let reply = try client.next()
        let firstByte = client.firstByte
        #expect(0x80...0x8F ~= firstByte)
        #expect(reply["re"]?.stringValue == "m")
        #expect(try client.ask(#""op":"watch","task":"00000000-0000-7000-8000-000000000000""#)["error"]?["code"]?.stringValue == "bad_request")
    }

    @Test("garbage, empty and giant frames on every socket harm nobody")
    func garbage() throws {
        let (broker, endpoints) = try makeBroker(ModelGateway())
        defer { broker.stop() }
        let context = try ZMQContext()
        let giant = [UInt8](repeating: 0x80, count: 100 << 20)
        for endpoint in [endpoints.tasks, endpoints.workers] {
            let rude = try TestClient(context, endpoint)
            for frames in [[[]], [[], []], [[0xFF]], [[0x80]], [[1, 2], [3]], [[UInt8]](repeating: [1], count: 100), [giant]] {
                try rude.send(frames)
            }
        }
        for endpoint in [endpoints.events, endpoints.peers] {
            let socket = try Socket(context, .subscriber)
            try socket.connect(endpoint)
            try socket.subscribe([UInt8](repeating: 7, count: 1_000))
            let rude = try TestClient(context, endpoint)
            for frames in [[[]], [[9]], [giant]] { try rude.send(frames) }
        }
        var client = try TestClient(context, endpoints.tasks)
        #expect(try client.ask(#""op":"ping""#)["ok"]?.boolValue == true)
        let worker = try TestWorker(context, endpoints.workers)
        let reply = try client.ask(#""op":"submit","task":\#(Self.task)"#)
        var id = ""
        reply["tasks"]?.forEachElement { id = $0["id"]?.stringValue ?? "" }
        #expect(try client.ask(#""op":"wait","task":"\#(id)""#)["task"]?["state"]?.stringValue == "succeeded")
        worker.kill()
    }

    @Test("what is wrong is named by its path")
    func errors() throws {
        let (broker, endpoints) = try makeBroker(ModelGateway())
        defer { broker.stop() }
        var client = try TestClient(try ZMQContext(), endpoints.tasks)
        let wrong = try client.ask(#""op":"submit","task":{"kind":"generate","params":{"model":"demo","top_p":7}}"#)
        #expect(wrong["error"]?["field"]?.stringValue == "task.params.top_p")
        let unknown = try client.ask(#""op":"submit","tasks":[\#(Self.task),{"kind":"generate","params":{"model":"nobody"}}]"#)
        #expect(unknown["error"]?["code"]?.stringValue == "not_found")
        #expect(unknown["error"]?["field"]?.stringValue == "tasks[1].params.model")
        #expect(try client.ask(#""op":"dance""#)["error"]?["code"]?.stringValue == "bad_request")
        let nobody = try client.ask(#""op":"wait","task":"00000000-0000-7000-8000-000000000000""#)
        #expect(nobody["error"]?["field"]?.stringValue == "task")
        try client.send([Array("not json".utf8)])
        #expect(try client.next()["error"]?["code"]?.stringValue == "bad_request")
        try client.send([[1], [2], [3]])
        #expect(try client.next()["error"]?["code"]?.stringValue == "bad_request")
    }

    @Test("without its database a broker says unavailable, answers pings, and serves again when it is back")
    func away() throws {
        let gateway = ModelGateway()
        let (broker, endpoints) = try makeBroker(gateway)
        defer { broker.stop() }
        var client = try TestClient(try ZMQContext(), endpoints.tasks)
        _ = try client.ask(#""op":"models""#)
        gateway.isAway = true
        for _ in 0..<400 where try client.ask(#""op":"models""#)["ok"]?.boolValue == true {}
        #expect(try client.ask(#""op":"submit","task":\#(Self.task)"#)["error"]?["code"]?.stringValue == "unavailable")
        #expect(try client.ask(#""op":"ping""#)["ok"]?.boolValue == true)
        gateway.isAway = false
        #expect(try client.askOnceBack(#""op":"submit","task":\#(Self.task)"#)["ok"]?.boolValue == true)
    }

    @Test("a broker has started when it takes requests, however slow its database is to say its first words")
    func slowStart() throws {
        let gateway = ModelGateway()
        // What a broker asks before it serves: its row, and the database's time.
        gateway.hold(until: 2)
        let (broker, endpoints) = try makeBroker(gateway)
        defer { broker.stop() }
        #expect(broker.snapshot.isReady)
        var client = try TestClient(try ZMQContext(), endpoints.tasks)
        #expect(try client.ask(#""op":"submit","task":\#(Self.task)"#)["ok"]?.boolValue == true)
    }

    @Test("a database that says nothing keeps no broker from starting: it is away, until it speaks")
    func silentStart() throws {
        let gateway = ModelGateway()
        gateway.hold()
        var settings = BrokerSettings()
        settings.beatsOverdue = 50
        let (broker, endpoints) = try makeBroker(gateway, settings: settings)
        defer { broker.stop() }
        #expect(broker.snapshot.isDatabaseAway)
        var client = try TestClient(try ZMQContext(), endpoints.tasks)
        let refused = try client.ask(#""op":"submit","task":\#(Self.task)"#)
        #expect(refused["error"]?["message"]?.stringValue == "the database is away: nothing was accepted, try again")
        gateway.release()
        #expect(try client.askOnceBack(#""op":"submit","task":\#(Self.task)"#)["ok"]?.boolValue == true)
    }

    @Test("a drained broker ends by itself and refuses meanwhile")
    func drain() throws {
        let (broker, endpoints) = try makeBroker(ModelGateway())
        var client = try TestClient(try ZMQContext(), endpoints.tasks)
        _ = try client.ask(#""op":"models""#)
        broker.drain()
        broker.waitUntilEnded()
        #expect(broker.hasEnded)
    }

    @Test("listening beyond loopback without keys is refused")
    func loopback() throws {
        var options = BrokerOptions()
        options.tasksEndpoint = "tcp://*:0"
        #expect(throws: MessagingError.notLoopback(endpoint: "tcp://*:0")) { try options.check() }
        options.allowsInsecure = true
        try options.check()
    }
}
