package import TaskProtocol
package import TestSupport

/// A worker that keeps the protocol's rules and computes nothing: how long a task takes and how it ends is drawn.
package struct ScriptedWorker: Sendable {
    /// How a task ends here.
    package enum End: Sendable { case succeeds, failsForNow, failsForGood, givesBack }

    private struct Held: Sendable {
        var lease: WorkerLease
        var end: End
        var endsAt: Int64
        var isStarted = false
        var isCancelled = false
        /// Set once the end was said: it is said again until it is answered.
        var saidAt: Int64?
    }

    package let session: SessionID
    package let slots: Int
    package private(set) var isJoined = false
    private var held: [LeaseID: Held] = [:]
    private var forgotten: Set<LeaseID> = []
    private var lastHeard: Int64
    private var lastBeat: Int64 = -10_000
    private var sequence: UInt64 = 0
    private var random: SplitMix
    private let alwaysSucceeds: Bool

    /// - Parameter alwaysSucceeds: every task ends well, and at once.
    package init(session: SessionID, slots: Int, now: Int64, seed: UInt64, alwaysSucceeds: Bool = false) {
        self.alwaysSucceeds = alwaysSucceeds
        self.session = session
        self.slots = slots
        lastHeard = now
        random = SplitMix(seed: seed)
    }

    /// What it says after joining another broker's endpoint.
    package mutating func join(now: Int64) -> [WorkerMessage] {
        isJoined = false
        lastHeard = now
        for lease in held.keys where held[lease]?.saidAt != nil { held[lease]?.saidAt = -10_000 }
        return [registration]
    }

    private var registration: WorkerMessage {
        .register(
            WorkerRegistration(
                session: session, host: "h", pid: 1, version: "1", numerics: ["float32/1"], instructionSet: "plain", threads: 1, slots: slots,
                parameters: [], leases: held.values.map(\.lease).sorted { $0.lease < $1.lease }))
    }

    /// Whether the broker was silent for too long.
    package func isLeft(now: Int64) -> Bool { now - lastHeard >= 2_000 }

    package mutating func hear(_ message: BrokerMessage, now: Int64) -> [WorkerMessage] {
        lastHeard = now
        switch message {
        case .welcome: isJoined = true
        case .registerPlease: return [registration]
        case .heartbeat, .leave, .checkpointRecorded, .artifact: break
        case .grant(let grant): return take(grant, now: now)
        case .cancel(let lease):
            guard held[lease]?.saidAt == nil else { return [] }
            held[lease]?.isCancelled = true
        case .recorded(let lease), .stale(let lease):
            held[lease] = nil
            forgotten.insert(lease)
        }
        return []
    }

    private mutating func take(_ grant: WorkerGrant, now: Int64) -> [WorkerMessage] {
        guard !forgotten.contains(grant.lease) else { return [] }
        if held[grant.lease] == nil {
            let ends: [End] = [.succeeds, .succeeds, .succeeds, .succeeds, .failsForNow, .failsForGood, .givesBack, .succeeds]
            let end = alwaysSucceeds ? .succeeds : ends[Int(random.next() % 8)]
            held[grant.lease] = Held(lease: grant.held, end: end, endsAt: alwaysSucceeds ? now : now + 5 + Int64(random.next() % 1_500))
        }
        return [.confirm(session: session, lease: grant.lease)]
    }

    /// What it says as time passes.
    package mutating func tick(now: Int64) -> [WorkerMessage] {
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
        guard var task = held[lease] else { return nil }
        defer { held[lease] = task }
        if let said = task.saidAt {
            guard now - said >= 2_000 else { return nil }
        } else if !task.isStarted {
            task.isStarted = true
            return .started(task.lease)
        } else if now < task.endsAt && !task.isCancelled {
            return nil
        }
        task.saidAt = now
        if task.isCancelled { return .cancelled(task.lease) }
        switch task.end {
        case .succeeds: return .complete(task.lease, generations: [], result: nil, checkpoint: nil)
        case .failsForNow: return .failed(task.lease, error: ContractError(.internalError, "drawn"), final: false)
        case .failsForGood: return .failed(task.lease, error: ContractError(.modelError, "drawn"), final: true)
        case .givesBack: return .release(task.lease, reason: .snooze, ran: false, resume: nil)
        }
    }

    /// When ``tick(now:)`` must come.
    package func nextTick(now: Int64) -> Int64 {
        var next = isJoined ? lastBeat + 1_000 : now + 250
        for task in held.values {
            if let said = task.saidAt {
                next = min(next, said + 2_000)
            } else {
                next = min(next, task.isStarted && !task.isCancelled ? task.endsAt : now + 1)
            }
        }
        return max(next, now + 1)
    }
}

/// For everything drawn in a simulation.
package typealias SplitMix = SeededGenerator

extension SeededGenerator {
    /// True so often in a thousand.
    package mutating func chance(_ permille: Int) -> Bool { Int(next() % 1_000) < permille }

    package mutating func below(_ bound: Int) -> Int { Int(next() % UInt64(max(1, bound))) }
}
