import TaskProtocol

/// A worker that keeps the protocol's rules and computes nothing: every task that it is granted ends well, at once.
struct ScriptedWorker: Sendable {
    private struct Held: Sendable {
        var lease: WorkerLease
        var isStarted = false
        /// Set once the end was said: it is said again until it is answered.
        var saidAt: Int64?
    }

    let session: SessionID
    let slots: Int
    private var isJoined = false
    private var held: [LeaseID: Held] = [:]
    private var lastBeat: Int64 = -10_000
    private var sequence: UInt64 = 0

    init(session: SessionID, slots: Int) {
        self.session = session
        self.slots = slots
    }

    /// What it says first, and when it is asked to.
    var registration: WorkerMessage {
        .register(
            WorkerRegistration(
                session: session, host: "h", pid: 1, version: "1", numerics: ["float32/1"], instructionSet: "plain", threads: 1, slots: slots,
                parameters: [], leases: held.values.map(\.lease).sorted { $0.lease < $1.lease }))
    }

    mutating func hear(_ message: BrokerMessage) -> [WorkerMessage] {
        switch message {
        case .welcome: isJoined = true
        case .registerPlease: return [registration]
        case .heartbeat, .leave, .checkpointRecorded, .artifact, .cancel, .resolved: break
        case .grant(let grant):
            if held[grant.lease] == nil { held[grant.lease] = Held(lease: grant.held) }
            return [.confirm(session: session, lease: grant.lease)]
        case .recorded(let lease), .stale(let lease): held[lease] = nil
        }
        return []
    }

    /// What it says as time passes.
    mutating func tick(now: Int64) -> [WorkerMessage] {
        var said: [WorkerMessage] = []
        for lease in held.keys.sorted() { if let message = report(lease, now: now) { said.append(message) } }
        if isJoined, now - lastBeat >= 1_000 {
            lastBeat = now
            sequence += 1
            said.append(
                .heartbeat(
                    WorkerHeartbeat(
                        session: session, sequence: sequence, leasesCount: held.count, leasesHash: WorkerLeases.hash(held.keys),
                        freeSlots: slots - held.count, idle: held.isEmpty, models: [], draining: false)))
        }
        return said
    }

    private mutating func report(_ lease: LeaseID, now: Int64) -> WorkerMessage? {
        guard let task = held[lease] else { return nil }
        if let said = task.saidAt {
            guard now - said >= 2_000 else { return nil }
        } else if !task.isStarted {
            held[lease]?.isStarted = true
            return .started(task.lease)
        }
        held[lease]?.saidAt = now
        return .complete(task.lease, generations: [], result: nil, checkpoint: nil)
    }

    /// When ``tick(now:)`` must come.
    func nextTick(now: Int64) -> Int64 {
        var next = isJoined ? lastBeat + 1_000 : now + 250
        for task in held.values { next = min(next, task.saidAt.map { $0 + 2_000 } ?? now + 1) }
        return max(next, now + 1)
    }
}
