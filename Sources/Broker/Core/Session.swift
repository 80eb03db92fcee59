internal import TaskProtocol

/// A worker process as its broker sees it.
struct Session: Sendable {
    /// How far its joining is.
    enum State: Sendable, Equatable {
        /// It said `register`, for the first time or because it was away; its row and its leases are being read. Nothing is granted, and nothing decided over
        /// its leases. What follows is `joined`.
        case joining
        /// It is welcome: it beats and gets work.
        case joined
    }

    let id: SessionID
    /// The routing id that spoke for it last; never trusted as an identity.
    var address: [UInt8]
    /// The public key under which the store has it; nil where there are none.
    var key: String?
    var registration: WorkerRegistration
    /// In which it said so: what this broker decides over its leases counts until it joins another.
    var epoch: Int { registration.epoch }
    /// Whether it stands in the store that it has joined here in that epoch.
    var isRegistered = false
    /// When its leases are to be compared with the store's, besides the times at which all are.
    var compareAt: Int64?
    var state: State = .joining
    var lastHeard: Int64
    /// Whether it gave a sign of life that no beat has counted yet.
    var isUncounted = true
    var isDraining = false
    /// It gave a task back for want of room: it gets nothing before its next heartbeat has said how much it has.
    var isFull = false
    /// It has not been heard for longer than a heartbeat takes: it may be dead, and gets nothing new until it speaks.
    var isQuiet = false
    /// What its last heartbeat said, and how many grants and ends it could not know of.
    var reportedFree: Int
    var grantedSince = 0
    var settledSince = 0
    var models: Set<String>
    /// Models that it was granted tasks of and has not loaded yet, and since when.
    var loading: [String: Int64] = [:]
    /// Models whose tasks it gave back: until when it gets none of them, and for how long that was.
    private(set) var avoided: [String: (until: Int64, pause: Int64)] = [:]
    /// When it gave back tasks that need all of a worker.
    private(set) var returned: [TaskID: Int64] = [:]
    /// Names of the parameters that it knows; empty where it did not say.
    private(set) var parameters: Set<String> = []
    /// It knows less than this broker does.
    private(set) var lacksNames = false
    /// Leases that are in the table under this session.
    var leases: Set<LeaseID> = []
    /// Leases offered to it by a request under way.
    var reserved = 0
    /// It runs a finetune or an isolated task: nothing else is granted.
    var exclusive: LeaseID?
    var differsSince: Int64?
    /// The leases that its last `register` listed, until they were compared with the store's, and when it came.
    var listed: [WorkerLease]?
    var listedAt: Int64 = 0
    /// Other brokers that were named to it last.
    var toldOf: Set<BrokerAddress> = []

    /// How many more tasks it may be granted: one a free slot, and at most `slots` that wait in the worker.
    var credit: Int { max(0, room - reserved) }

    /// The same, with what is offered by requests under way.
    var room: Int {
        guard takesMore else { return 0 }
        let slots = registration.slots
        return max(0, min(2 * slots - leases.count, slots + free))
    }

    /// Slots that run nothing less tasks that wait there, as its last heartbeat said, and what was granted and ended since.
    private var free: Int { reportedFree - grantedSince + settledSince }

    /// Slots that are taken there, and tasks that wait for one. A task of several sequences takes as many slots.
    var held: Int { max(leases.count, registration.slots - free) + reserved }

    /// It says that it has room for no more, and holds nothing whose end could make some: its machine is not fit for work now, or it loads for long.
    var refusesForLong: Bool {
        leases.isEmpty && registration.slots + free <= 0
    }

    /// Whether it holds nothing at all, so that a finetune may come.
    var isIdle: Bool { state == .joined && leases.isEmpty && reserved == 0 }

    /// Whether what it holds goes on, and what is granted to it will run.
    var mayRun: Bool { state == .joined && !isDraining && !isQuiet && exclusive == nil }
    /// Whether anything is granted to it.
    private var takesMore: Bool { mayRun && !isFull }

    /// - Parameter now: for how long ago it gave tasks back.
    func offer(now: Int64) -> PlacementOffer {
        PlacementOffer(
            session: id, freeSlots: credit, slots: registration.slots, idle: isIdle, models: models, loading: Set(loading.keys),
            avoids: avoided.isEmpty ? [] : Set(avoided.filter { $0.value.until > now }.keys), gaveBack: returned, numerics: registration.numerics,
            parameters: parameters)
    }

    /// It gave a sign of life.
    /// - Returns: whether it had been quiet.
    mutating func heard(from address: [UInt8], now: Int64) -> Bool {
        defer { isQuiet = false }
        self.address = address
        lastHeard = now
        isUncounted = true
        return isQuiet
    }

    mutating func noteQuiet(now: Int64, after: Int64) { if now - lastHeard > after { isQuiet = true } }

    /// - Parameter model: the key of what it has to have in memory, where that is known.
    mutating func granted(_ lease: LeaseID, isExclusive: Bool, model: String?, now: Int64) {
        guard leases.insert(lease).inserted else { return }
        if let model, !isExclusive, !models.contains(model), loading[model] == nil { loading[model] = now }
        grantedSince += 1
        if isExclusive { exclusive = lease }
    }

    /// - Returns: whether it held the lease.
    mutating func settled(_ lease: LeaseID, makesRoom: Bool) -> Bool {
        guard leases.remove(lease) != nil else { return false }
        if makesRoom { settledSince += 1 }
        if exclusive == lease { exclusive = nil }
        return true
    }

    private static let firstAvoidance: Int64 = 2_000
    private static let longestAvoidance: Int64 = 8_000
    /// How long it counts who gave a task back.
    private static let remembered: Int64 = 600_000

    /// It gave back a task because it does not have its model: for a while, longer each time, it gets no other of that model.
    mutating func avoid(_ key: String, now: Int64) {
        if let standing = avoided[key], standing.until > now { return }
        let pause = avoided[key].map { min(Self.longestAvoidance, 2 * $0.pause) } ?? Self.firstAvoidance
        forgetAvoidances(now: now)
        avoided[key] = (now + pause, pause)
    }

    /// It gave back a task that it had all of itself for.
    /// - Parameter until: nobody else is to be waited for after that.
    mutating func gaveBack(_ task: TaskID, avoidUntil until: Int64?, now: Int64) {
        returned = returned.filter { now - $0.value < Self.remembered }
        returned[task] = now
        guard let until else { return }
        forgetAvoidances(now: now)
        avoided[PlacementOffer.avoidance(of: task)] = (until, Self.firstAvoidance)
    }

    private mutating func forgetAvoidances(now: Int64) { avoided = avoided.filter { now - $0.value.until < 4 * Self.longestAvoidance } }

    /// It has a model.
    /// - Returns: how long it took to load it, in milliseconds, where that was seen; and whether tasks of it go there again.
    mutating func has(_ key: String, now: Int64) -> (took: Int64?, isTaken: Bool) {
        models.insert(key)
        return (loading.removeValue(forKey: key).map { now - $0 }, avoided.removeValue(forKey: key) != nil)
    }

    private static let knownNames = Set(TaskParameters.knownNames)

    /// Takes what it says it knows.
    mutating func learn(_ names: [String]) {
        // What every worker of this release says, each time that it registers.
        if names == TaskParameters.knownNames { return (parameters, lacksNames) = (Self.knownNames, false) }
        parameters = Set(names)
        lacksNames = !names.isEmpty && !parameters.isSuperset(of: TaskParameters.knownNames)
    }
}
