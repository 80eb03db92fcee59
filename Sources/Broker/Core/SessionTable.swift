internal import TaskProtocol

/// The workers joined to this broker, or about to: the store has taken each under its key.
struct SessionTable: Sendable {
    private(set) var all: [SessionID: Session] = [:]
    /// Rises whenever somebody may have more room than before: a queue scanned in vain is scanned again only then. What a scan was offered and did not
    /// use is no more than it saw.
    private(set) var generation: UInt64 = 1
    /// The first time that some session's leases are to be compared at.
    private var nextComparison = Int64.max

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
            if registration.epoch > known.epoch { (known.state, known.isRegistered) = (.joining, false) }
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

    /// Its row says that it has joined here, since it joined another last.
    /// - Parameter key: under which that was taken.
    mutating func registered(_ id: SessionID, inEpoch epoch: Int, under key: String?) {
        if let session = all[id], session.key == key, session.epoch == epoch { all[id]?.isRegistered = true }
    }

    /// Its leases are to be compared with the store's at a time.
    mutating func compare(_ id: SessionID, at time: Int64) {
        guard let session = all[id] else { return }
        all[id]?.compareAt = min(session.compareAt ?? time, time)
        nextComparison = min(nextComparison, time)
    }

    /// Those whose leases are to be compared by now, each once.
    mutating func takeComparisons(now: Int64) -> [SessionID] {
        guard nextComparison <= now else { return [] }
        let due = all.values.filter { $0.state == .joined && ($0.compareAt ?? .max) <= now }.map(\.id).sorted()
        for id in due { all[id]?.compareAt = nil }
        nextComparison = all.values.reduce(.max) { min($0, $1.compareAt ?? .max) }
        return due
    }

    /// Its row and its leases are known: it may work.
    mutating func join(_ id: SessionID) {
        all[id]?.state = .joined
        generation += 1
    }

    /// Any message counts as life.
    mutating func heard(_ id: SessionID, from address: [UInt8], now: Int64) {
        guard let index = all.index(forKey: id) else { return }
        if all.values[index].heard(from: address, now: now) { generation += 1 }
    }

    /// Nothing is granted to who has been quiet for so long.
    mutating func noteQuiet(now: Int64, after: Int64) {
        var index = all.startIndex
        while index != all.endIndex {
            all.values[index].noteQuiet(now: now, after: after)
            all.formIndex(after: &index)
        }
    }

    /// The same of one.
    mutating func noteQuiet(_ id: SessionID, now: Int64, after: Int64) { all[id]?.noteQuiet(now: now, after: after) }

    /// Takes a heartbeat. Grants that were not confirmed before it are not in its figures; ends that were heard before it are, and count once more when they
    /// are recorded.
    /// - Returns: models that it has now, and how long their loading took, in milliseconds.
    mutating func report(_ beat: WorkerHeartbeat, unconfirmed: Int, ending: Int, now: Int64) -> [(key: String, milliseconds: Int64)] {
        guard var session = all[beat.session] else { return [] }
        let before = session.room
        // A worker says what it likes: sums and products of these figures are to stay small.
        let slots = session.registration.slots
        session.reportedFree = min(slots, max(-slots, beat.freeSlots))
        session.grantedSince = unconfirmed
        session.settledSince = -ending
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
        guard let index = all.index(forKey: id) else { return }
        all.values[index].granted(lease, isExclusive: isExclusive, model: model, now: now)
    }

    /// A lease came to an end.
    /// - Parameter makesRoom: false where the worker gave it back: what its heartbeats say of its room does not count it.
    mutating func settled(_ lease: LeaseID, of id: SessionID, makesRoom: Bool) {
        guard let index = all.index(forKey: id) else { return }
        if all.values[index].settled(lease, makesRoom: makesRoom) { generation += 1 }
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
