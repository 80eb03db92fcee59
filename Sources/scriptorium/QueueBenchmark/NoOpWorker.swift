import Messaging
import Supervision
import Synchronization
import TaskProtocol

/// A worker that does nothing, in the worker protocol's own words: each grant is confirmed and completed at once with one empty text.
///
/// It shows what the queue costs: every task still has its row, its lease, its result row and its acknowledgement.
struct NoOpWorker {
    private let endpoint: String
    private let slots: Int
    private let security: SocketSecurity
    private let session = UUIDValue.random()
    private var held: [LeaseID: WorkerLease] = [:]
    private var sequence: UInt64 = 0

    init(endpoint: String, slots: Int, security: SocketSecurity) {
        self.endpoint = endpoint
        self.slots = slots
        self.security = security
    }

    /// Serves until `stop` is set. Blocks its thread.
    mutating func run(context: ZMQContext, until stop: Condition<Int32>) throws(MessagingError) {
        var options = SocketOptions()
        options.sendHighWater = 100_000
        options.receiveHighWater = 100_000
        options.security = security
        let socket = try Socket(context, .dealer, options)
        try socket.connect(endpoint)
        try send(.register(registration), socket)
        var poller = Poller()
        _ = poller.add(socket)
        var nextHeartbeat = monotonicSeconds() + 1
        while stop.value == nil {
            _ = try poller.wait(milliseconds: 100)
            while let message = try socket.receive() { try take(message, socket) }
            if monotonicSeconds() >= nextHeartbeat {
                nextHeartbeat += 1
                sequence += 1
                try send(.heartbeat(heartbeat), socket)
            }
        }
        try send(.goodbye(session: session), socket)
    }

    private mutating func take(_ message: Multipart, _ socket: borrowing Socket) throws(MessagingError) {
        let bytes = message.frames.flatMap { $0 }
        guard let decoded = try? BrokerMessage.decode(bytes) else { return }
        switch decoded {
        case .grant(let grant):
            held[grant.lease] = grant.held
            try send(.confirm(session: session, lease: grant.lease), socket)
            try send(.started(grant.held), socket)
            try send(.complete(grant.held, generations: [Self.emptyText], result: nil, checkpoint: nil), socket)
        case .recorded(let lease), .stale(let lease): held[lease] = nil
        case .cancel(let lease): if let held = held[lease] { try send(.cancelled(held), socket) }
        case .registerPlease: try send(.register(registration), socket)
        case .welcome, .heartbeat, .checkpointRecorded, .leave, .artifact, .resolved: break
        }
    }

    private func send(_ message: WorkerMessage, _ socket: borrowing Socket) throws(MessagingError) {
        while try socket.send([message.encoded]) == .wouldBlock {
            var poller = Poller()
            poller.watchWritable(poller.add(socket), true)
            _ = try poller.wait(milliseconds: 10)
        }
    }

    private var registration: WorkerRegistration {
        WorkerRegistration(
            session: session, host: "bench", pid: 0, version: Version.number, numerics: ["float32/1"], instructionSet: "none", threads: 1,
            slots: slots, parameters: TaskParameters.knownNames, leases: Array(held.values))
    }

    /// What is held has ended, and is to be recorded: no slot is taken.
    private var heartbeat: WorkerHeartbeat {
        WorkerHeartbeat(
            session: session, sequence: sequence, leasesCount: held.count, leasesHash: WorkerLeases.hash(held.keys), freeSlots: slots, idle: true,
            models: [], draining: false)
    }

    private static let digest = String(repeating: "0", count: 64)
    /// The result of every task of a benchmark.
    static let emptyText = GenerationRecord(
        sample: 0, promptIndex: 0, draw: 0, prompt: "", text: "", promptTokenIDs: [0], tokenIDs: [0], finishReason: .eos, meanLogprob: 0,
        params: Array("{}".utf8), recordSHA256: digest, numerics: "float32/1", checkpointSHA256: digest, tokenizerSHA256: digest)
}
