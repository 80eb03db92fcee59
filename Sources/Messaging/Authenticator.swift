internal import Synchronization

/// Answers libzmq's question for every new connection: may this key in here? (The ZAP handler of RFC 27, `inproc://zeromq.zap.01`.)
///
/// It has a thread of its own, so that nobody who is busy keeps a peer waiting at the door, and it must exist before the first server socket of
/// its context is bound and end after the last is closed. It also reads changed lists, and hears of handshakes that ended before any key was shown.
///
///     let authenticator = try Authenticator(context, access, domains: ["tasks", "workers"]) { logger.log($0) }
///     defer { authenticator.stop() }
///     options.security = .server(keys, domain: "tasks")
///     options.handshakes = .endpoint(Authenticator.monitorEndpoint(of: "tasks"))
package final class Authenticator: Sendable {
    private let access: AccessControl
    private let state: Mutex<ServiceThread?>
    private let isStopped = Atomic(false)
    private static let lookMilliseconds: Int64 = 250

    /// Where a server socket of a domain is to report its handshakes.
    package static func monitorEndpoint(of domain: String) -> String { "inproc://handshakes.\(domain)" }

    /// Starts the thread, and waits until it can answer.
    /// - Parameters:
    ///   - domains: of the sockets whose handshakes are reported to it.
    ///   - report: called on its thread, at most a few times a second.
    package init(
        _ context: ZMQContext, _ access: AccessControl, domains: [String], report: @escaping @Sendable (AccessNote) -> Void
    ) throws(MessagingError) {
        self.access = access
        state = Mutex(nil)
        let start = Start()
        let bound = try Wakeup()
        let thread = try ServiceThread(name: "authenticator") { [self] in
            do throws(MessagingError) {
                var loop = try AuthenticatorLoop(context, access, domains, report)
                bound.signal()
                while !isStopped.load(ordering: .acquiring) { try loop.turn(milliseconds: Self.lookMilliseconds) }
            } catch {
                start.failure.withLock { $0 = error }
                bound.signal()
            }
        }
        state.withLock { $0 = thread }
        var poller = Poller()
        let index = poller.add(bound)
        while !poller.isReadable(index) { try poller.wait(milliseconds: 1_000) }
        if let error = start.failure.withLock({ $0 }) {
            thread.join()
            throw error
        }
    }

    private final class Start: Sendable { let failure = Mutex<MessagingError?>(nil) }

    /// Ends the thread, once the sockets that it answers for are closed. Later calls return at once.
    package func stop() {
        isStopped.store(true, ordering: .releasing)
        access.wakeup.signal()
        state.withLock { $0 }?.join()
    }
}

/// What the thread owns.
private struct AuthenticatorLoop: ~Copyable {
    private let requests: Socket
    private let readers: [Reader]
    private let access: AccessControl
    private let report: @Sendable (AccessNote) -> Void
    private var poller: Poller
    private let places: (requests: Int, wakeup: Int)
    private var limiter = NoteLimiter()
    private var lookedAt: Int64 = 0
    private let started = ContinuousClock.now

    private final class Reader {
        let domain: String
        let reader: HandshakeReader
        init(_ domain: String, _ reader: consuming HandshakeReader) {
            self.domain = domain
            self.reader = reader
        }
    }

    init(
        _ context: ZMQContext, _ access: AccessControl, _ domains: [String], _ report: @escaping @Sendable (AccessNote) -> Void
    ) throws(MessagingError) {
        let requests = try Socket(context, .router)
        try requests.bind("inproc://zeromq.zap.01")
        var poller = Poller()
        let places = (poller.add(requests), poller.add(access.wakeup))
        var readers: [Reader] = []
        for domain in domains {
            let reader = Reader(domain, try HandshakeReader(context, endpoint: Authenticator.monitorEndpoint(of: domain)))
            _ = reader.reader.add(to: &poller)
            readers.append(reader)
        }
        self.requests = requests
        self.places = places
        self.poller = poller
        self.readers = readers
        self.access = access
        self.report = report
    }

    private var now: Int64 {
        let (seconds, attoseconds) = (ContinuousClock.now - started).components
        return seconds * 1_000 + attoseconds / 1_000_000_000_000_000
    }

    /// Waits for something to do, and does it.
    mutating func turn(milliseconds: Int64) throws(MessagingError) {
        try poller.wait(milliseconds: Int(max(0, lookedAt + milliseconds - now)))
        let isAsked = poller.isReadable(places.wakeup)
        if isAsked { access.wakeup.drain() }
        if isAsked || now - lookedAt >= milliseconds {
            lookedAt = now
            for note in access.look() { report(note) }
        }
        while let message = try requests.receive() { try answer(message.frames) }
        for reader in readers {
            while let event = try reader.reader.next() { take(event, reader.domain) }
        }
    }

    /// - Parameter frames: routing id, empty delimiter, request.
    private mutating func answer(_ frames: [[UInt8]]) throws(MessagingError) {
        guard frames.count > 2, let request = ZAPRequest(frames.dropFirst(2)) else { return }
        let decision = access.policy.decide(request)
        _ = try requests.send([frames[0], []] + request.reply(decision))
        guard case .refused(let why) = decision else { return }
        let cause = "\(request.domain) \(request.address) \(request.key?.text ?? "")"
        guard let unsaid = limiter.admit(cause, now: now) else { return }
        report(.refused(key: request.key, address: request.address, domain: request.domain, why: why, unsaid: unsaid))
    }

    private mutating func take(_ event: HandshakeEvent, _ domain: String) {
        guard case .failed(let why) = event, let unsaid = limiter.admit("\(domain) \(why)", now: now) else { return }
        report(.handshakeFailed(domain: domain, why: why, unsaid: unsaid))
    }
}
