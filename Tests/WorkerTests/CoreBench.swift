import TaskProtocol
import Worker

/// A ``WorkerCore`` with a clock of its own, for tests that say each message themselves.
struct CoreBench {
    var core: WorkerCore
    var now: Milliseconds = 1000
    /// Everything that the core asked for since it was last looked at.
    var actions: [WorkerAction] = []
    private(set) var link = LinkID(number: 0)
    static let session = SessionID(hi: 1, lo: 0)
    static let broker = BrokerID(hi: 2, lo: 2)

    init(slots: Int = 4, brokers: [String] = ["tcp://a", "tcp://b"], drain: Milliseconds = 10_000, preloads: [PreloadRequest] = []) {
        let registration = WorkerRegistration(
            session: Self.session, host: "here", pid: 1, version: "1", numerics: ["float32/1"], instructionSet: "plain", threads: 1, slots: slots,
            parameters: ["model"])
        let settings = WorkerCore.Settings(registration: registration, brokers: brokers, drainMilliseconds: drain, preloads: preloads) { grant in
            switch grant.resolved.first {
            case 0: .everything
            case let count?: .sequences(Int(count))
            case nil: throw ContractError(.internalError, "unreadable")
            }
        }
        core = WorkerCore(settings)
    }

    /// A worker that a broker has just welcomed.
    static func joined(slots: Int = 4, drain: Milliseconds = 10_000, preloads: [PreloadRequest] = []) -> CoreBench {
        var bench = CoreBench(slots: slots, drain: drain, preloads: preloads)
        bench.handle(.tick)
        bench.say(.welcome(broker: broker, heartbeatMilliseconds: 1000))
        if preloads.isEmpty { bench.actions = [] }
        return bench
    }

    mutating func handle(_ input: WorkerInput) {
        core.handle(input, now: now, into: &actions)
        for case .connect(let link, _) in actions { self.link = link }
    }

    /// The broker of the newest link says something.
    mutating func say(_ message: BrokerMessage) { handle(.message(message, link: link)) }

    /// Time passes in steps of 50 ms, with a broker that beats where `beating`.
    mutating func pass(_ milliseconds: Milliseconds, beating: Bool = true) {
        let end = now + milliseconds
        while now < end {
            now = min(now + 50, end)
            if beating && now % 500 == 0 { say(.heartbeat(beatsOK: true)) } else { handle(.tick) }
        }
    }

    /// The messages sent since the last look, which are then forgotten with all other actions.
    mutating func sent() -> [WorkerMessage] {
        defer { actions = [] }
        return actions.compactMap { if case .send(_, let message) = $0 { message } else { nil } }
    }

    /// A grant of so many sequences; 0 is a finetune, nil cannot be read.
    static func grant(_ number: UInt64, sequences: UInt8? = 1, timeout: Double? = nil) -> WorkerGrant {
        WorkerGrant(
            task: TaskID(hi: 10, lo: number), lease: LeaseID(hi: 20, lo: number), attempt: 1, resolved: sequences.map { [$0] } ?? [],
            timeoutSeconds: timeout)
    }

    /// Preloads handed to the engine since the last look.
    var preloads: [Preload] { actions.compactMap { if case .preload(let preload) = $0 { preload } else { nil } } }
    /// What the log was told since the last look.
    var notes: [WorkerNote] { actions.compactMap { if case .note(let note) = $0 { note } else { nil } } }

    /// Leases handed to the engine since the last look.
    var started: [LeaseID] { actions.compactMap { if case .start(let grant) = $0 { grant.lease } else { nil } } }
    /// Leases that the engine was told to stop, with the reasons.
    var stopped: [StopReason] { actions.compactMap { if case .stop(_, let reason) = $0 { reason } else { nil } } }
}

extension WorkerMessage {
    var isHeartbeat: Bool { if case .heartbeat = self { true } else { false } }
    var isRegister: Bool { if case .register = self { true } else { false } }
    /// The model asked for, where it is such a question.
    var question: String? { if case .resolve(_, _, let model) = self { model } else { nil } }
    var isComplete: Bool { if case .complete = self { true } else { false } }
}
