internal import Encodings
internal import Glibc
internal import Messaging
internal import Synchronization
internal import TaskProtocol

/// The thread that owns a client's socket: one DEALER to one broker at a time.
///
/// A DEALER connected to a dead and a live endpoint loses half of its requests, so there is one socket a broker, and a silent broker's socket
/// is closed before the next is made (the Lazy Pirate pattern; zguide chapter 4). A broker is pinged when it has been silent for a second
/// while something is asked. A DEALER connects again by itself when its connection breaks or its broker is started anew, and whoever is then at
/// the other end knows nothing of what was sent before: a second handshake counts as a broker given up, too. One that says `unavailable` (it drains,
/// or does not reach its database) is left too, where there is another.
final class ClientThread: Sendable {
    enum Command {
        case call(Int64, CallTable.Call)
        case forget(Int64)
        case close
    }

    private let inbox = Mutex<(commands: [Command], isClosed: Bool)>(([], false))
    private let wakeup: Wakeup
    private let context: ZMQContext
    private let thread = Mutex<ServiceThread?>(nil)

    init(brokers: [String], options: ClientOptions, _ credentials: CurveCredentials?) throws(MessagingError) {
        wakeup = try Wakeup()
        context = try ZMQContext()
        // A malformed endpoint is found here, not by silence later.
        for broker in brokers {
            var settings = SocketOptions()
            settings.security = credentials?.security(for: broker) ?? .none
            let probe = try Socket(context, .dealer, settings)
            try probe.connect(broker)
        }
        let made = try ServiceThread(name: "client") { [self] in
            var loop = ClientLoop(brokers: brokers, options: options, credentials: credentials)
            loop.run(context: context, wakeup: wakeup) { self.takeCommands() }
            let late = inbox.withLock { inbox in
                inbox.isClosed = true
                defer { inbox.commands = [] }
                return inbox.commands
            }
            for case .call(_, let call) in late { call.answer(.failure(.cancelled)) }
        }
        thread.withLock { $0 = made }
    }

    private func takeCommands() -> [Command] {
        wakeup.drain()
        return inbox.withLock { inbox in
            defer { inbox.commands = [] }
            return inbox.commands
        }
    }

    /// Hands something to the thread; a call to a closed client is answered at once.
    func post(_ command: Command) {
        let accepted = inbox.withLock { inbox in
            if !inbox.isClosed { inbox.commands.append(command) }
            return !inbox.isClosed
        }
        if accepted { wakeup.signal() } else if case .call(_, let call) = command { call.answer(.failure(.cancelled)) }
    }
}

/// What the thread does; it lives and dies with it.
private struct ClientLoop {
    private enum End { case closed, nextBroker }

    let brokers: [String]
    let options: ClientOptions
    private let credentials: CurveCredentials?
    private var calls = CallTable()
    private var current = 0
    /// Since when nothing was heard from anybody while something was asked; nil: nothing is asked, or the broker answers.
    private var silentSince: Double?
    /// The brokers that refused our keys, since one was last heard or all had refused them.
    private var refusals: [String: KeyRefusal] = [:]
    /// The broker said that it serves nobody now.
    private var isUnavailable = false

    private static let pingID: Int64 = 0
    private static let ping = JSONValue.object(["op": "ping", "id": .integer(pingID)]).serialised

    init(brokers: [String], options: ClientOptions, credentials: CurveCredentials?) {
        self.brokers = brokers
        self.options = options
        self.credentials = credentials
    }

    mutating func run(context: ZMQContext, wakeup: Wakeup, take: () -> [ClientThread.Command]) {
        while true {
            do throws(MessagingError) {
                if try serve(brokers[current], context, wakeup, take) == .closed { break }
            } catch {
                for call in calls.removeAll() { call.answer(.failure(.broken(error.description))) }
                break
            }
            connectionLost("\(brokers[current]) fell silent")
            current = (current + 1) % brokers.count
        }
        for call in calls.removeAll() { call.answer(.failure(.cancelled)) }
    }

    /// What may be repeated will be sent again; of the rest nobody knows what became of it.
    private mutating func connectionLost(_ what: String) {
        for call in calls.connectionLost() {
            let message = "\(what); whether it accepted the request is unknown (give tasks a key, then submits are repeated safely)"
            call.answer(.failure(.unavailable(message)))
        }
    }

    private mutating func serve(
        _ endpoint: String, _ context: ZMQContext, _ wakeup: Wakeup, _ take: () -> [ClientThread.Command]
    ) throws(MessagingError) -> End {
        let settings = settings(for: endpoint)
        var judge = HandshakeJudge(endpoint: endpoint, key: settings.security.shownKey)
        var isRefused = false
        var connection = Connection.first
        let socket = try Socket(context, .dealer, settings)
        try socket.connect(endpoint)
        var poller = Poller()
        poller.add(wakeup)
        let place = poller.add(socket)
        poller.addHandshakes(of: socket)
        var quietSince: Double?
        var pinged = false
        isUnavailable = false
        while true {
            var now = monotonicSeconds()
            poller.watchWritable(place, !isUnavailable && connection != .broken && calls.nextUnsent(now: now) != nil)
            try poller.wait(milliseconds: pause(now, quietSince))
            let commands = take()
            for (place, command) in commands.enumerated() where !apply(command) {
                // What was asked before the close still goes out (the `unwatch` of a watch that was left, above all); what came after it fails.
                try sendAll(socket, now)
                for case .call(_, let late) in commands[(place + 1)...] { late.answer(.failure(.cancelled)) }
                return .closed
            }
            now = monotonicSeconds()
            while let message = try socket.receive(maximumFrames: 2, maximumBytes: .max) {
                (silentSince, quietSince, pinged) = (nil, nil, false)
                refusals = [:]
                handle(message.frames, now)
            }
            if try takeHandshakes(of: socket, &judge, &isRefused, &connection, now) {
                connectionLost("the connection to \(endpoint) broke and was made anew")
                (quietSince, pinged) = (nil, false)
            }
            // After the news of a new connection: what goes out before it would count as lost with the old one. The socket takes messages for the new one
            // an instant before it says so.
            if !isUnavailable, connection != .broken { try sendAll(socket, now) }
            for call in calls.expired(now: now) { call.answer(.failure(.unavailable("\(endpoint) has not answered in time"))) }
            guard !calls.isEmpty else {
                (silentSince, quietSince, pinged) = (nil, nil, false)
                continue
            }
            // A socket that was refused never tries again: the next call needs a new one.
            if isRefused { return .nextBroker }
            if isUnavailable, !calls.awaitsUnrepeatable { return .nextBroker }
            let silent = silentSince ?? now
            let quiet = quietSince ?? now
            (silentSince, quietSince) = (silent, quiet)
            if now - silent > options.silence.seconds { failAll() }
            if calls.isWaiting && now - quiet > 1 && !pinged { pinged = try socket.send([Self.ping]) == .sent }
            if now - quiet > options.patience.seconds && (brokers.count > 1 || calls.isWaiting) { return .nextBroker }
        }
    }

    private func settings(for endpoint: String) -> SocketOptions {
        var settings = SocketOptions()
        settings.sendsOnlyWhenConnected = true
        settings.maximumMessageBytes = -1
        settings.lingerMilliseconds = 250
        settings.security = credentials?.security(for: endpoint) ?? .none
        settings.handshakes = .owner
        return settings
    }

    private func pause(_ now: Double, _ quietSince: Double?) -> Int {
        if calls.isEmpty { return -1 }
        var until = min(calls.nextTime(after: now), now + options.patience.seconds / 4, now + 1)
        if let quietSince { until = min(until, quietSince + options.patience.seconds) }
        return max(1, Int(((until - now) * 1000).rounded(.up)))
    }

    /// - Returns: false where the client is closed.
    private mutating func apply(_ command: ClientThread.Command) -> Bool {
        switch command {
        case .call(let id, let call): calls.add(id, call)
        case .forget(let id): calls.remove(id)?.answer(.failure(.cancelled))
        case .close: return false
        }
        return true
    }

    private mutating func sendAll(_ socket: borrowing Socket, _ now: Double) throws(MessagingError) {
        while let (id, payload) = calls.nextUnsent(now: now) {
            guard try socket.send([payload]) == .sent else { return }
            calls.markSent(id)
        }
    }

    private mutating func failAll() {
        let named = brokers.joined(separator: ", ")
        let known = refusals.values.map { "; " + $0.description }.sorted().joined()
        for call in calls.removeAll() {
            call.answer(.failure(.unavailable("no broker answers at \(named): is the service running there?" + known)))
        }
    }

    /// Where a socket stands: first → made ⇄ broken.
    private enum Connection { case first, made, broken }

    /// - Returns: whether the socket was connected before, and has connected once more: what was sent over the earlier connection is lost.
    private mutating func takeHandshakes(
        of socket: borrowing Socket, _ judge: inout HandshakeJudge, _ isRefused: inout Bool, _ connection: inout Connection, _ now: Double
    ) throws(MessagingError) -> Bool {
        var isNewConnection = false
        while let event = try socket.nextHandshake() {
            if event == .succeeded {
                isRefused = false
                isNewConnection = connection != .first
                connection = .made
            }
            if event == .disconnected, connection == .made { connection = .broken }
            guard let refusal = judge.take(event, now: Int64(now * 1000)) else { continue }
            isRefused = true
            refused(refusal)
        }
        return isNewConnection
    }

    /// A broker does not let us in. Once all of them have said so, waiting is of no use.
    private mutating func refused(_ refusal: KeyRefusal) {
        refusals[refusal.endpoint] = refusal
        guard brokers.allSatisfy({ refusals[$0] != nil }) else { return }
        refusals = [:]
        for call in calls.removeAll() { call.answer(.failure(.keyRefused(endpoint: refusal.endpoint, message: refusal.description))) }
    }

    private mutating func handle(_ frames: [[UInt8]], _ now: Double) {
        guard let payload = frames.last, let root = try? Document.parse(payload: payload).root else { return }
        guard let id = root["re"]?.integerValue else {
            if root["ok"]?.boolValue == false { refusedUnread(root) }
            return
        }
        guard let call = calls.calls[id] else { return }
        if root["ok"]?.boolValue == true {
            if !call.isStream || root["event"].flatMap(TaskUpdate.init(_:))?.isTerminal == true { calls.remove(id) } else { calls.heard(id) }
            return call.answer(.success(root))
        }
        let error = Self.error(root)
        let isUnavailable = error.code == "unavailable"
        if isUnavailable || error.code == "busy", calls.postpone(id, now: now, patience: options.requestTimeout.seconds) {
            if isUnavailable && brokers.count > 1 { self.isUnavailable = true }
            return
        }
        calls.remove(id)
        call.answer(.failure(.refused(error)))
    }

    private static func error(_ root: Node) -> ServiceError {
        root["error"].map(ServiceError.init(_:)) ?? ServiceError(code: "internal", message: "an answer without a reason", field: nil)
    }

    /// The broker could not read a request so far as to say which. It is one of those that wait for one answer: none of them may wait for ever.
    private mutating func refusedUnread(_ root: Node) {
        for (id, call) in calls.calls where !call.isStream {
            calls.remove(id)
            call.answer(.failure(.refused(Self.error(root))))
        }
    }
}

/// Seconds on a clock that nobody steps.
func monotonicSeconds() -> Double {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return Double(time.tv_sec) + Double(time.tv_nsec) * 1e-9
}

extension Duration {
    var seconds: Double { Double(components.seconds) + Double(components.attoseconds) * 1e-18 }
}
