internal import TaskProtocol

/// A committed lease of a worker joined here. The store's row decides what it is worth; this is what the broker remembers of it.
struct Lease: Sendable {
    /// How far the task is, as far as its worker has said.
    enum Phase: Sendable, Equatable {
        /// Committed, and sent to the worker `sent` times (0: it was found in the store). What follows is `confirmed`, or its release.
        case granted(since: Int64, sent: Int, last: Int64)
        /// The worker has it; it may wait there.
        case confirmed
        /// It runs: from here on stalls and the timeout count.
        case running(since: Int64)
    }

    let task: TaskID
    let lease: LeaseID
    let session: SessionID
    let attempt: Int
    let failures: Int
    let kind: TaskKind
    let queue: String
    let isExclusive: Bool
    /// The key of the model that it runs on, where that is known.
    let model: String?
    let timeoutSeconds: Double?
    let stallSeconds: Double
    /// How long the task had been due when the lease was made; nil where another broker has counted that.
    let waitedBeforeGrant: Int64?
    /// When it came to be known here.
    let since: Int64
    /// What to send until the worker confirms.
    var grant: WorkerGrant?
    var phase: Phase
    /// When its own work began, after its model and data had come.
    var worksSince: Int64?
    var lastSign: Int64
    var isCancelled = false
    /// Its end is on the way to the store: nothing else may end it from here.
    var isSettling = false
    /// No alarm is raised before this time: the store refused what the last one brought about.
    var quietUntil: Int64 = 0
    /// The number of the next event of this attempt.
    var nextSequence: Int
    /// Its worker had no use for it: that it is gone from there makes no room.
    var wasGivenBack = false

    var reference: LeaseReference { LeaseReference(task: task, lease: lease, session: session, attempt: attempt) }
    var held: WorkerLease { WorkerLease(task: task, lease: lease, attempt: attempt) }
}

/// Something about a lease whose time has come.
enum LeaseAlarm: Sendable, Equatable {
    /// Not confirmed yet: the grant may be lost.
    case sendAgain(LeaseID)
    /// The live worker does not know it: give it back.
    case unknownToWorker(LeaseID)
    /// No sign of life from a task that runs.
    case stalled(LeaseID)
    /// The attempt has used up its time.
    case timedOut(LeaseID)
}

/// The leases of the workers joined here, by id, task and age.
struct LeaseTable: Sendable {
    private(set) var all: [LeaseID: Lease] = [:]
    private var byTask: [TaskID: LeaseID] = [:]
    /// Ends that a slower answer of the store may not know of yet.
    private var recentEnds: Set<LeaseID> = []
    private var earlierEnds: Set<LeaseID> = []

    subscript(lease: LeaseID) -> Lease? {
        get { all[lease] }
        set { all[lease] = newValue }
    }

    var count: Int { all.count }

    func lease(of task: TaskID) -> Lease? { byTask[task].flatMap { all[$0] } }

    mutating func insert(_ lease: Lease) {
        all[lease.lease] = lease
        byTask[lease.task] = lease.lease
    }

    /// Forgets a lease that ended.
    @discardableResult
    mutating func remove(_ id: LeaseID) -> Lease? {
        recentEnds.insert(id)
        guard let lease = all.removeValue(forKey: id) else { return nil }
        if byTask[lease.task] == id { byTask[lease.task] = nil }
        return lease
    }

    /// Lets go of a lease that has not ended: its worker has left, and may come back with it.
    mutating func drop(_ id: LeaseID) {
        guard let lease = all.removeValue(forKey: id) else { return }
        if byTask[lease.task] == id { byTask[lease.task] = nil }
    }

    /// Whether a lease ended here not long ago: an older picture of the store may still show it.
    func endedLately(_ id: LeaseID) -> Bool { recentEnds.contains(id) || earlierEnds.contains(id) }

    /// Ends are remembered for one to two intervals of this call.
    mutating func forgetEarlierEnds() {
        earlierEnds = recentEnds
        recentEnds = []
    }

    /// The worker has the grant.
    mutating func confirm(_ id: LeaseID, now: Int64) {
        guard var lease = all[id], case .granted = lease.phase else { return }
        lease.phase = .confirmed
        lease.grant = nil
        lease.lastSign = now
        all[id] = lease
    }

    /// Its worker is known to go on with it.
    mutating func sign(_ id: LeaseID, now: Int64) { all[id]?.lastSign = now }

    /// The task runs.
    /// - Returns: true where this is news.
    mutating func start(_ id: LeaseID, now: Int64) -> Bool {
        guard var lease = all[id] else { return false }
        lease.lastSign = now
        lease.grant = nil
        defer { all[id] = lease }
        if case .running = lease.phase { return false }
        lease.phase = .running(since: now)
        return true
    }

    /// The store did not take an end: the lease stands, and alarms wait a while.
    mutating func unsettle(_ id: LeaseID, until time: Int64) {
        all[id]?.isSettling = false
        all[id]?.quietUntil = time
    }

    /// What is due, in an order that does not depend on hashing. Leases whose end is under way raise no alarm.
    func alarms(now: Int64, settings: BrokerSettings) -> [LeaseAlarm] {
        var alarms: [(LeaseID, LeaseAlarm)] = []
        var signs: [SessionID: Int64] = [:]
        for lease in all.values { signs[lease.session] = max(signs[lease.session] ?? .min, lease.lastSign) }
        for lease in all.values where !lease.isSettling && lease.quietUntil <= now {
            if let alarm = alarm(lease, now, settings, workerSign: signs[lease.session] ?? lease.lastSign) { alarms.append((lease.lease, alarm)) }
        }
        return alarms.sorted { $0.0 < $1.0 }.map(\.1)
    }

    /// - Parameter workerSign: when any task of its worker last showed a sign.
    private func alarm(_ lease: Lease, _ now: Int64, _ settings: BrokerSettings, workerSign: Int64) -> LeaseAlarm? {
        switch lease.phase {
        case .granted(let since, _, let last):
            if now - since >= settings.grantUnknown { return .unknownToWorker(lease.lease) }
            return now - last >= settings.grantRepeat && lease.grant != nil ? .sendAgain(lease.lease) : nil
        // It may wait behind others as long as those go on; where nothing does, the worker's engine hangs.
        case .confirmed: return Double(now - workerSign) >= lease.stallSeconds * 1_000 ? .stalled(lease.lease) : nil
        case .running(let since):
            let grace = lease.kind == .finetune ? settings.finetuneTimeoutGrace : settings.timeoutGrace
            if let seconds = lease.timeoutSeconds, Double(now - since) >= seconds * 1_000 + Double(grace) { return .timedOut(lease.lease) }
            return Double(now - lease.lastSign) >= lease.stallSeconds * 1_000 ? .stalled(lease.lease) : nil
        }
    }
}
