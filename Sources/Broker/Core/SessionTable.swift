internal import TaskProtocol

/// A worker process as its broker sees it.
struct Session: Sendable {
    /// How far its joining is.
    enum State: Sendable, Equatable {
        /// It said `register`; its row and its leases are being read. Nothing is granted yet. What follows is `joined`.
        case joining
        /// It is welcome: it beats and gets work.
        case joined
    }

    let id: SessionID
    /// The routing id that spoke for it last; never trusted as an identity.
    var address: [UInt8]
    /// The public key under which it registered; nil where there are none.
    var key: String?
    var registration: WorkerRegistration
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

/// The workers joined to this broker.
struct SessionTable: Sendable {
    private(set) var all: [SessionID: Session] = [:]
    /// Rises whenever somebody may have more room than before: a queue scanned in vain is scanned again only then. What a scan was offered and did not
    /// use is no more than it saw.
    private(set) var generation: UInt64 = 1

    subscript(id: SessionID) -> Session? { all[id] }

    var count: Int { all.count }
    var credit: Int { all.values.reduce(0) { $0 + $1.credit } }

    /// Whether somebody with room may not know what this broker's clients ask for.
    var someLackNames: Bool { all.values.contains { $0.lacksNames && $0.credit > 0 } }

    /// Those that have joined, in an order that does not depend on hashing.
    var joined: [Session] { all.values.filter { $0.state == .joined }.sorted { $0.id < $1.id } }

    /// Room to offer, in an order that does not depend on hashing.
    func offers(now: Int64) -> [PlacementOffer] { all.values.filter { $0.credit > 0 }.sorted { $0.id < $1.id }.map { $0.offer(now: now) } }

    /// Whether a worker that has joined was heard from there last.
    func isJoined(at address: [UInt8]) -> Bool { all.values.contains { $0.state == .joined && $0.address == address } }

    /// A worker says who it is.
    mutating func register(_ registration: WorkerRegistration, from address: [UInt8], _ key: String? = nil, now: Int64) {
        let id = registration.session
        if var known = all[id] {
            known.address = address
            known.key = key
            known.registration = registration
            known.models = Set(registration.models)
            known.learn(registration.parameters)
            known.lastHeard = now
            known.isUncounted = true
            known.differsSince = nil
            known.toldOf = []
            (known.listed, known.listedAt) = (registration.leases, now)
            all[id] = known
            return
        }
        var session = Session(
            id: id, address: address, key: key, registration: registration, lastHeard: now,
            reportedFree: max(0, registration.slots - registration.leases.count),
            models: Set(registration.models), listed: registration.leases, listedAt: now)
        session.learn(registration.parameters)
        all[id] = session
    }

    /// What the worker listed before the store was asked; nil where that was compared already, or where it said nothing new.
    mutating func takeListed(_ id: SessionID, asked: Int64) -> (leases: [WorkerLease], at: Int64)? {
        guard let session = all[id], let listed = session.listed, session.listedAt <= asked else { return nil }
        all[id]?.listed = nil
        return (listed, session.listedAt)
    }

    /// Its row and its leases are known: it may work.
    mutating func join(_ id: SessionID) {
        all[id]?.state = .joined
        generation += 1
    }

    /// Any message counts as life.
    mutating func heard(_ id: SessionID, from address: [UInt8], now: Int64) {
        if all[id]?.isQuiet == true {
            all[id]?.isQuiet = false
            generation += 1
        }
        all[id]?.address = address
        all[id]?.lastHeard = now
        all[id]?.isUncounted = true
    }

    /// Nothing is granted to who has been quiet for so long.
    mutating func noteQuiet(now: Int64, after: Int64) {
        for id in all.keys where now - (all[id]?.lastHeard ?? now) > after { all[id]?.isQuiet = true }
    }

    /// Takes a heartbeat. Grants that were not confirmed before it are not in its figures.
    /// - Returns: models that it has now, and how long their loading took, in milliseconds.
    mutating func report(_ beat: WorkerHeartbeat, unconfirmed: Int, now: Int64) -> [(key: String, milliseconds: Int64)] {
        guard var session = all[beat.session] else { return [] }
        let before = session.room
        session.reportedFree = min(beat.freeSlots, session.registration.slots)
        session.grantedSince = unconfirmed
        session.settledSince = 0
        session.isFull = false
        session.models = Set(beat.models)
        session.isDraining = beat.draining
        var loaded: [(key: String, milliseconds: Int64)] = []
        var isNews = session.room > before
        for key in beat.models {
            let (time, isTaken) = session.has(key, now: now)
            if let time { loaded.append((key, time)) }
            isNews = isNews || time != nil || isTaken
        }
        if isNews { generation += 1 }
        all[beat.session] = session
        return loaded
    }

    /// A task of a model runs there.
    /// - Returns: how long loading it took, where that was seen.
    mutating func has(_ id: SessionID, _ key: String, now: Int64) -> Int64? { all[id]?.has(key, now: now).took }

    /// A session gave a task back for want of its model.
    mutating func avoid(_ id: SessionID, _ key: String, now: Int64) { all[id]?.avoid(key, now: now) }

    /// A session gave a task back that it had to have all of itself for, which rests for a while. If there is another, that one comes first: it has some
    /// time to become idle for it.
    mutating func gaveBack(_ id: SessionID, _ task: TaskID, resting delay: Int64, patience: Int64, now: Int64) {
        let hasOthers = all.values.contains { $0.id != id && $0.mayRun }
        all[id]?.gaveBack(task, avoidUntil: hasOthers ? now + delay + patience : nil, now: now)
    }

    /// The last task left there that a model was being loaded for.
    mutating func stoppedLoading(_ id: SessionID, _ key: String) { all[id]?.loading[key] = nil }

    /// The sessions that lived since the last beat; each sign of life is counted in one beat only.
    mutating func takeBeats() -> [SessionBeat] {
        var beats: [SessionBeat] = []
        for session in all.values.sorted(by: { $0.id < $1.id }) where session.isUncounted && session.state == .joined {
            beats.append(SessionBeat(session: session.id, draining: session.isDraining))
            all[session.id]?.isUncounted = false
        }
        return beats
    }

    mutating func reserve(_ id: SessionID, _ count: Int) { all[id]?.reserved += count }

    mutating func unreserve(_ id: SessionID, _ count: Int) {
        guard let session = all[id] else { return }
        all[id]?.reserved = max(0, session.reserved - count)
    }

    /// Room was kept from scans, and is not any more.
    mutating func roomCameBack() { generation += 1 }

    /// - Parameter model: the key of what it has to have in memory, where that is known.
    mutating func granted(_ lease: LeaseID, to id: SessionID, isExclusive: Bool, model: String?, now: Int64) {
        guard all[id]?.leases.insert(lease).inserted == true else { return }
        if let model, !isExclusive, all[id]?.models.contains(model) == false, all[id]?.loading[model] == nil { all[id]?.loading[model] = now }
        all[id]?.grantedSince += 1
        if isExclusive { all[id]?.exclusive = lease }
    }

    /// A lease came to an end.
    /// - Parameter makesRoom: false where the worker gave it back: what its heartbeats say of its room does not count it.
    mutating func settled(_ lease: LeaseID, of id: SessionID, makesRoom: Bool) {
        guard all[id]?.leases.remove(lease) != nil else { return }
        if makesRoom { all[id]?.settledSince += 1 }
        if all[id]?.exclusive == lease { all[id]?.exclusive = nil }
        generation += 1
    }

    /// A snoozing worker has no room until its next heartbeat says otherwise.
    mutating func isFull(_ id: SessionID) { all[id]?.isFull = true }

    /// A worker gives back because it leaves: it gets nothing more, whatever its last heartbeat said.
    mutating func drains(_ id: SessionID) { all[id]?.isDraining = true }

    /// Other brokers were named to it: they take the place of those named before.
    mutating func told(_ id: SessionID, of peers: [BrokerAddress]) { all[id]?.toldOf = Set(peers) }

    mutating func setDiffers(_ id: SessionID, since: Int64?) { all[id]?.differsSince = since }

    @discardableResult
    mutating func remove(_ id: SessionID) -> Session? { all.removeValue(forKey: id) }

    /// Sessions that have not been heard for so long that they are somebody else's, or dead.
    func silent(now: Int64, after: Int64) -> [SessionID] { all.values.filter { now - $0.lastHeard > after }.map(\.id).sorted() }
}
