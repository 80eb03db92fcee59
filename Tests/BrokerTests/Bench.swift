import Broker
import Encodings
import Logging
import Messaging
import QueueSimulation
import Synchronization
import TaskProtocol

struct Surprise: Error, CustomStringConvertible { let description: String }

/// The model store behind the gateway, for tests of the reactor that need no PostgreSQL.
final class ModelGateway: StoreGateway {
    private let store = Mutex(ModelStore())
    private let away = Atomic(false)
    private let held = Mutex<(bound: Int, works: [@Sendable () -> Void])?>(nil)
    private let seen = Mutex<(submitters: [String], key: String?)>(([], nil))

    /// Who published, by the groups of all submits.
    var submitters: [String] { seen.withLock { $0.submitters } }
    /// The public key in the broker's row.
    var registeredKey: String? { seen.withLock { $0.key } }

    /// From now on nothing is answered, until so much has been asked, or until ``release()``.
    func hold(until count: Int = .max) { held.withLock { $0 = (count, []) } }

    /// Does what was asked meanwhile, and answers.
    func release() {
        let late = held.withLock { held in
            defer { held = nil }
            return held?.works ?? []
        }
        for answer in late { answer() }
    }

    var isAway: Bool {
        get { away.load(ordering: .acquiring) }
        set { away.store(newValue, ordering: .releasing) }
    }

    func open(notified: @escaping @Sendable () -> Void) {}
    func close() {}
    func listenAnew() {}

    func perform(_ request: StoreRequest, lane: StoreLane, reply: @escaping @Sendable (StoreReply) -> Void) {
        let (isHeld, isEnough) = held.withLock { held in
            held?.works.append { self.perform(request, reply) }
            return (held != nil, held.map { $0.works.count >= $0.bound } ?? false)
        }
        if !isHeld { perform(request, reply) }
        if isEnough { release() }
    }

    private func perform(_ request: StoreRequest, _ reply: @escaping @Sendable (StoreReply) -> Void) {
        guard !isAway else { return reply(.failed(.unavailable("the test says so"))) }
        switch request {
        case .submit(let groups): seen.withLock { $0.submitters += groups.map(\.client) }
        case .registerBroker(let broker): seen.withLock { $0.key = broker.publicKey }
        default: break
        }
        reply(store.withLock { $0.perform(request, now: 1_700_000_000_000) })
    }
}

/// A client with a DEALER (or REQ) socket that waits for its answers, with a bound.
struct TestClient: ~Copyable {
    private let socket: Socket
    private var poller: Poller
    private var lastID: Int64 = 0
    /// The first byte of the last answer: it tells the encoding.
    private(set) var firstByte: UInt8 = 0

    init(_ context: ZMQContext, _ endpoint: String, _ kind: SocketKind = .dealer, security: SocketSecurity = .none) throws {
        var options = SocketOptions()
        options.maximumMessageBytes = -1
        options.security = security
        let socket = try Socket(context, kind, options)
        try socket.connect(endpoint)
        var poller = Poller()
        poller.add(socket)
        self.poller = poller
        self.socket = socket
    }

    func send(_ frames: [[UInt8]]) throws { _ = try socket.send(frames) }

    /// Sends members of a request's map and returns the reply to it.
    mutating func ask(_ members: String) throws -> Node {
        lastID += 1
        try send([Array("{\"id\":\(lastID),\(members)}".utf8)])
        while true {
            let reply = try next()
            if reply["re"]?.integerValue == lastID { return reply }
        }
    }

    mutating func next() throws -> Node {
        for _ in 0..<200 {
            if let message = try socket.receive() {
                let payload = message.frames.last ?? []
                firstByte = payload.first ?? 0
                return try Document.parse(payload: payload).root
            }
            try poller.wait(milliseconds: 100)
        }
        throw Surprise(description: "no answer within 20 s")
    }

    /// Sends a request, and looks whether anything comes back in time.
    mutating func isAnswered(_ members: String, withinMilliseconds milliseconds: Int) throws -> Bool {
        lastID += 1
        try send([Array("{\"id\":\(lastID),\(members)}".utf8)])
        guard try poller.wait(milliseconds: milliseconds) > 0 else { return false }
        while try socket.receive() != nil {}
        return true
    }

    /// Asks until the answer is not `unavailable`, of a broker whose database is back.
    mutating func askOnceBack(_ members: String) throws -> Node {
        for _ in 0..<400 {
            let reply = try ask(members)
            if reply["error"]?["code"]?.stringValue != "unavailable" { return reply }
            try poller.wait(milliseconds: 25)
        }
        throw Surprise(description: "still unavailable")
    }
}

/// A scripted worker on a real socket and a thread of its own.
final class TestWorker: Sendable {
    private final class Flag: Sendable { let isStopped = Atomic(false) }

    private let flag = Flag()
    private let thread: ServiceThread

    init(_ context: ZMQContext, _ endpoint: String, slots: Int = 8, security: SocketSecurity = .none) throws {
        thread = try ServiceThread(name: "worker") { [flag] in try? Self.run(flag, context, endpoint, slots, security) }
    }

    deinit { kill() }

    /// Ends it without a word, as kill -9 does.
    func kill() {
        flag.isStopped.store(true, ordering: .releasing)
        thread.join()
    }

    private static func run(_ flag: Flag, _ context: ZMQContext, _ endpoint: String, _ slots: Int, _ security: SocketSecurity) throws {
        var options = SocketOptions()
        options.security = security
        let socket = try Socket(context, .dealer, options)
        try socket.connect(endpoint)
        var poller = Poller()
        poller.add(socket)
        let start = ContinuousClock.now
        func now() -> Int64 { Int64((ContinuousClock.now - start) / .milliseconds(1)) }
        var worker = ScriptedWorker(session: UUIDValue.random(), slots: slots)
        _ = try socket.send([worker.registration.encoded])
        while !flag.isStopped.load(ordering: .acquiring) {
            try poller.wait(milliseconds: Int(max(0, min(50, worker.nextTick(now: now()) - now()))))
            while let message = try socket.receive(maximumBytes: 256 << 20) {
                for answer in worker.hear(try BrokerMessage.decode(Array(message.frames.joined()))) {
                    _ = try socket.send([answer.encoded])
                }
            }
            for message in worker.tick(now: now()) { _ = try socket.send([message.encoded]) }
        }
    }
}

/// A broker on ports that the system chooses.
func makeBroker(
    _ store: any StoreGateway, security: BrokerSecurity? = nil, settings: BrokerSettings = BrokerSettings()
) throws -> (service: BrokerService, endpoints: BrokerEndpoints) {
    var options = BrokerOptions()
    options.settings = settings
    (options.tasksEndpoint, options.eventsEndpoint) = ("tcp://127.0.0.1:*", "tcp://127.0.0.1:*")
    (options.workersEndpoint, options.peersEndpoint) = ("tcp://127.0.0.1:*", "tcp://127.0.0.1:*")
    options.security = security
    var logger = Logger(label: "test")
    logger.logLevel = .critical
    let service = try BrokerService(options: options, store: store, logger: logger)
    return (service, try service.start())
}
