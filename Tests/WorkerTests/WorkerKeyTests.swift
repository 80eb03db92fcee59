import Glibc
import Logging
import Messaging
import Synchronization
import TaskProtocol
import TestSupport
import Testing
import Worker

/// A worker with CURVE keys: it says which broker refused it, and goes on to the next.
@Suite(.serialized, .timeLimit(.minutes(1))) struct WorkerKeyTests {
    @Test("a refused worker logs its key and the endpoint, and joins a broker that lets it in")
    func refusedThenJoined() async throws {
        let folder = try TemporaryDirectory()
        let lines = Lines()
        let (server, worker) = (try CurveKeyPair.generate(), try CurveKeyPair.generate())
        let joined = try await onItsOwnThread { () throws -> (endpoint: String, isJoined: Bool) in
            // Two doors with lists of their own.
            let context = try ZMQContext()
            let access = try AccessControl([.init(domains: ["closed"]), .init(domains: ["open"], keys: [worker.publicKey])])
            let authenticator = try Authenticator(context, access, domains: []) { _ in }
            defer { authenticator.stop() }
            func door(_ domain: String) -> SocketOptions {
                var options = SocketOptions()
                options.security = .server(server, domain: domain)
                return options
            }
            let closed = try Socket(context, .router, door("closed"))
            let open = try Socket(context, .router, door("open"))
            let endpoints = [try closed.bind("tcp://127.0.0.1:*"), try open.bind("tcp://127.0.0.1:*")]
            let options = WorkerOptions(
                brokers: endpoints, threads: 1, slots: 1, artifacts: folder.path, cacheDirectory: folder.path + "/cache",
                drainTimeoutSeconds: 0, credentials: CurveCredentials(keys: worker, server: server.publicKey))
            let service = try WorkerService(options, log: Logger(label: "test", factory: { _ in lines.handler }))
            try service.start()
            defer {
                service.drain()
                service.join()
            }
            return (endpoints[0], try Self.welcome(open, service, until: { lines.all.contains { $0.contains("key refused") } }))
        }
        #expect(joined.isJoined)
        let refusals = lines.all.filter { $0.contains("key refused") }
        #expect(refusals.count == 1, "said once, not at each attempt")
        #expect(refusals.first?.contains(joined.endpoint) == true && refusals.first?.contains(worker.publicKey.fingerprint) == true)
    }

    /// Plays the broker that lets the worker in, until it has joined and a condition holds; 30 seconds at most.
    private static func welcome(_ socket: borrowing Socket, _ service: WorkerService, until isOver: () -> Bool) throws -> Bool {
        var poller = Poller()
        poller.add(socket)
        let deadline = ContinuousClock.now + .seconds(30)
        while ContinuousClock.now < deadline {
            try poller.wait(milliseconds: 100)
            while let frames = try socket.receive()?.frames, frames.count >= 2 {
                let answer: BrokerMessage
                switch try WorkerMessage.decode(Array(frames[1...].joined())) {
                case .register: answer = .welcome(broker: BrokerID(hi: 4, lo: 4), heartbeatMilliseconds: 200)
                default: answer = .heartbeat(beatsOK: true)
                }
                // Until the refusal was logged the worker is left alone, so that it tries the other door too.
                if isOver() { _ = try socket.send([frames[0], answer.encoded]) }
            }
            if service.snapshot.joined, isOver() { return service.snapshot.refusal == nil }
        }
        return false
    }
}

/// What a service logged.
private final class Lines: Sendable {
    private let lines = Mutex<[String]>([])

    var all: [String] { lines.withLock { $0 } }
    var handler: Handler { Handler(lines: self) }

    struct Handler: LogHandler {
        let lines: Lines
        var metadata: Logger.Metadata = [:]
        var logLevel = Logger.Level.debug

        init(lines: Lines) { self.lines = lines }

        subscript(metadataKey key: String) -> Logger.Metadata.Value? {
            get { metadata[key] }
            set { metadata[key] = newValue }
        }

        func log(event: LogEvent) { lines.lines.withLock { $0.append("\(event.message) \(event.metadata ?? [:])") } }
    }
}

/// Runs what blocks on a thread of its own, not on one of Swift's pool.
private func onItsOwnThread<Value: Sendable>(_ body: @escaping @Sendable () throws -> Value) async throws -> Value {
    try await withCheckedThrowingContinuation { continuation in
        do {
            _ = try ServiceThread(name: "test") { continuation.resume(with: Result { try body() }) }
        } catch { continuation.resume(throwing: error) }
    }
}
