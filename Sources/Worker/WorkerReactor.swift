import Glibc
import Logging
import Messaging
import Synchronization
import TaskProtocol

/// The thread around a ``WorkerCore``: it owns the socket, looks at the clock, and never waits for the engine.
///
/// Everything it does is bounded and quick, so a heartbeat leaves every second whatever the engine is at.
struct WorkerReactor: ~Copyable {
    private var core: WorkerCore
    private let context: ZMQContext
    private let shared: WorkerShared
    private let log: Logger
    private var malformed: UInt64 = 0
    private var outgoing = OutgoingQueue()
    private var link: LinkID?
    private var isDone = false
    private var credentials: CurveCredentials?
    /// Why the broker tried last does not let this worker in.
    private var refusal: KeyRefusal?
    private var limiter = NoteLimiter()
    private static let tickMilliseconds = 50
    private static let mostMessagesATurn = 500

    init(core: WorkerCore, context: ZMQContext, shared: WorkerShared, log: Logger, credentials: CurveCredentials?) {
        self.credentials = credentials
        self.core = core
        self.context = context
        self.shared = shared
        self.log = log
    }

    /// Runs until the core says exit or a thread fails, one link after another.
    mutating func run() throws(MessagingError) {
        var endpoint: String?
        while !isDone {
            if let next = endpoint { endpoint = try runJoined(next) } else { endpoint = try runApart() }
        }
    }

    /// Without a socket: waits for the engine and for the time to try again.
    /// - Returns: the endpoint to connect to, nil at the end.
    private mutating func runApart() throws(MessagingError) -> String? {
        var poller = Poller()
        poller.add(shared.toReactor.wakeup)
        var actions: [WorkerAction] = []
        core.handle(.tick, now: now, into: &actions)
        while !isDone {
            // An apart core sends nothing, so all that is left after a connect is what the new link is to say first.
            if let connect = actions.firstIndex(where: \.isConnect) {
                perform(actions[..<connect])
                return begin(actions[connect...])
            }
            perform(actions[...])
            actions = []
            try poller.wait(milliseconds: Self.tickMilliseconds)
            takeInputs(into: &actions)
            if shared.failure != nil { isDone = true }
        }
        return nil
    }

    private var pending: [WorkerAction] = []

    private mutating func begin(_ actions: ArraySlice<WorkerAction>) -> String? {
        guard case .connect(let link, let endpoint) = actions.first else { return nil }
        self.link = link
        outgoing.clear()
        pending = Array(actions.dropFirst())
        log.info("joining a broker", metadata: ["endpoint": "\(endpoint)"])
        return endpoint
    }

    /// With a socket of its own to one broker.
    /// - Returns: the endpoint of the next broker, nil where there is none yet.
    private mutating func runJoined(_ endpoint: String) throws(MessagingError) -> String? {
        var options = SocketOptions()
        options.lingerMilliseconds = 1000
        options.sendHighWater = 10_000
        options.receiveHighWater = 10_000
        options.handshakes = .owner
        options.security = credentials?.security(for: endpoint) ?? .none
        announce(endpoint, options.security)
        let socket = try Socket(context, .dealer, options)
        connect(socket, to: endpoint)
        var judge = HandshakeJudge(endpoint: endpoint, key: options.security.shownKey)
        var poller = Poller()
        let socketIndex = poller.add(socket)
        let handshakes = poller.addHandshakes(of: socket)
        poller.add(shared.toReactor.wakeup)
        var actions = pending
        pending = []
        while true {
            // The link ends with its disconnect; what follows belongs to the next one.
            if let end = actions.firstIndex(where: { $0 == .disconnect(link ?? LinkID(number: 0)) }) {
                try send(actions[..<end], over: socket)
                return leave(actions[(end + 1)...])
            }
            try send(actions[...], over: socket)
            actions = []
            poller.watchWritable(socketIndex, !outgoing.isEmpty)
            try poller.wait(milliseconds: Self.tickMilliseconds)
            if !outgoing.isEmpty { try outgoing.flush(over: socket) }
            if poller.isReadable(socketIndex) { try receive(from: socket, into: &actions) }
            if let handshakes, poller.isReadable(handshakes) { try judgeHandshakes(of: socket, &judge) }
            takeInputs(into: &actions)
            // Without a goodbye: nobody knows what became of the tasks, so their leases lapse.
            if shared.failure != nil {
                isDone = true
                return nil
            }
        }
    }

    /// Tells those that transfer artifacts where to, and with which key: nowhere while this broker's is not known.
    private func announce(_ endpoint: String, _ security: SocketSecurity) {
        guard let link, credentials == nil || credentials?.security(for: endpoint) != nil else { return }
        shared.broker = WorkerShared.Broker(link: link, endpoint: endpoint, security: security)
    }

    /// Where it cannot connect the socket stays silent, and the core goes on to the next broker after two seconds.
    private func connect(_ socket: borrowing Socket, to endpoint: String) {
        if let credentials, credentials.security(for: endpoint) == nil {
            return log.error("no server key is known for this broker: it is not joined", metadata: ["endpoint": "\(endpoint)"])
        }
        do throws(MessagingError) { try socket.connect(endpoint) } catch {
            log.error("broker endpoint refused", metadata: ["endpoint": "\(endpoint)", "error": "\(error)"])
        }
    }

    /// A broker that does not let this worker in never answers: it is named here, and left for its silence.
    private mutating func judgeHandshakes(of socket: borrowing Socket, _ judge: inout HandshakeJudge) throws(MessagingError) {
        while let event = try socket.nextHandshake() {
            if event == .succeeded { refusal = nil }
            guard let found = judge.take(event, now: now) else { continue }
            refusal = found
            guard let unsaid = limiter.admit(found.description, now: now) else { continue }
            log.error("key refused", metadata: ["error": "\(found)", "unsaid": "\(unsaid)"])
        }
    }

    private mutating func leave(_ actions: ArraySlice<WorkerAction>) -> String? {
        log.info("left a broker")
        link = nil
        shared.broker = nil
        let connect = actions.firstIndex(where: \.isConnect) ?? actions.endIndex
        perform(actions[..<connect])
        return begin(actions[connect...])
    }

    private mutating func receive(from socket: borrowing Socket, into actions: inout [WorkerAction]) throws(MessagingError) {
        for _ in 0..<Self.mostMessagesATurn {
            guard let message = try socket.receive(), let link else { return }
            let bytes = message.frames.count == 1 ? message.frames[0] : Array(message.frames.joined())
            do throws(WorkerProtocolError) {
                core.handle(.message(try BrokerMessage.decode(bytes), link: link), now: now, into: &actions)
            } catch {
                malformed += 1
                log.warning("malformed message from a broker", metadata: ["error": "\(error)"])
            }
            // What follows a disconnect on this socket is not to be heard.
            if actions.contains(.disconnect(link)) { return }
        }
    }

    /// Engine, signals and time.
    private mutating func takeInputs(into actions: inout [WorkerAction]) {
        for input in shared.toReactor.takeAll() { core.handle(input, now: now, into: &actions) }
        core.handle(.tick, now: now, into: &actions)
        shared.update(core.snapshot, malformed: malformed, refusal: refusal?.description)
    }

    private mutating func send(_ actions: ArraySlice<WorkerAction>, over socket: borrowing Socket) throws(MessagingError) {
        for action in actions {
            if case .send(_, let message) = action { try outgoing.send(message, over: socket) } else { perform([action]) }
        }
    }

    private mutating func perform(_ actions: ArraySlice<WorkerAction>) {
        for action in actions {
            switch action {
            case .start(let grant): shared.toEngine.put(.start(grant))
            case .stop(let lease, let reason):
                if reason == .cancelled || reason == .stale { shared.markUnwanted(lease) }
                shared.toEngine.put(.stop(lease, reason))
            case .preload(let preload): shared.toEngine.put(.preload(preload))
            case .note(let note): log.log(note)
            case .exit: isDone = true
            case .learnKeys(let brokers):
                log.info("told of other brokers", metadata: ["endpoints": "\(brokers.map(\.endpoint).joined(separator: " "))"])
                for broker in brokers {
                    if let key = broker.publicKey.flatMap({ CurvePublicKey($0) }) { credentials?.learn(key, of: broker.endpoint) }
                }
            case .connect, .disconnect, .send: break
            }
        }
    }

    private var now: Milliseconds { MonotonicClock.milliseconds }
}

extension Logger {
    /// Writes what the logic found worth a line: one message an event, values in the metadata.
    fileprivate func log(_ note: WorkerNote) {
        switch note {
        case .preloadWaits(let preload, let why): warning("a model to preload is waited for", metadata: ["model": "\(preload)", "why": "\(why)"])
        case .preloadFailed(let preload, let why, let again):
            error("a model cannot be preloaded", metadata: ["model": "\(preload)", "error": "\(why)", "again_s": "\(again / 1_000)"])
        case .preloaded(let preload): notice("model preloaded", metadata: ["model": "\(preload)"])
        }
    }
}

extension WorkerAction {
    fileprivate var isConnect: Bool { if case .connect = self { true } else { false } }
}

/// Milliseconds that never go back.
enum MonotonicClock {
    static var milliseconds: Milliseconds {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return Milliseconds(time.tv_sec) * 1000 + Milliseconds(time.tv_nsec) / 1_000_000
    }
}
