internal import DequeModule
internal import TaskProtocol

/// Kinds of work for the store; each lane has one transaction under way at a time, and works of one lane keep their order.
package enum StoreLane: Int, Sendable, CaseIterable {
    /// Beats have a lane, and a connection, of their own: nothing may make them late.
    case beat
    case sessions, reconcile, sweep, submit, keyedSubmit
    /// Submits with a key that somebody's open transaction holds: they wait apart, one after the other.
    case heldKeys
    case claim, complete, settle
    /// Steps, checkpoints and the ends of finetunes, in their order.
    case training
    /// What workers told of tasks that somebody's open transaction holds: it waits apart, one work after the other.
    case heldTasks
    case progress, cancel, retry, read, results, outlines, catalogue, unchecked, adopt, due, figures, retain
    /// Which models workers mean.
    case models
}

extension StoreLane {
    /// Those whose works are written under leases, by the row of their task: sent again they find what they did.
    static let ofTasks: [StoreLane] = [.complete, .settle, .training, .heldTasks]
    var isOfTasks: Bool { Self.ofTasks.contains(self) }
}

/// Some of the lanes, in their order.
struct LaneSet: Sendable {
    private var bits: UInt32 = 0

    var isEmpty: Bool { bits == 0 }

    func contains(_ lane: StoreLane) -> Bool { bits >> UInt32(lane.rawValue) & 1 == 1 }
    mutating func insert(_ lane: StoreLane) { bits |= 1 << UInt32(lane.rawValue) }
    mutating func remove(_ lane: StoreLane) { bits &= ~(1 << UInt32(lane.rawValue)) }

    func subtracting(_ other: LaneSet) -> LaneSet {
        var rest = self
        rest.bits &= ~other.bits
        return rest
    }

    /// The first that comes after another, or of all.
    func first(after lane: StoreLane?) -> StoreLane? {
        let rest = lane.map { bits & ~0 << UInt32($0.rawValue + 1) } ?? bits
        return StoreLane(rawValue: rest.trailingZeroBitCount)
    }
}

/// Group commit: while one transaction of a lane is under way, its next batch gathers; an idle lane adds no waiting.
///
/// A request whose outcome is unknown is sent again, the very same, until it is known; so is one that never came to the store, unless a client waits
/// for it, who is told. A batch that failed for one of its works, by its data or by a lock
/// that it meets, is repeated in pieces, and these work by work.
struct StoreLanes: Sendable {
    /// One transaction under way.
    struct Running: Sendable {
        var works: [StoreWork]
        var request: StoreRequest
        var ticket: Int
        /// Set where it goes again, at this time.
        var repeatsAt: Int64?
        /// It goes again after an outcome that is unknown: an earlier time may have been committed.
        var wasRepeated = false
    }

    private struct LaneState: Sendable {
        var waiting: Deque<StoreWork> = []
        var running: Running?
        /// Sizes of the batches at the front that go by themselves, after a batch with them failed.
        var pieces: Deque<Int> = []
    }

    private var states: [LaneState] = StoreLane.allCases.map { _ in LaneState() }
    /// Lanes where works wait, and those with a transaction under way: the broker asks after every event.
    private var waitingLanes = LaneSet()
    private var runningLanes = LaneSet()
    private var lanesByTicket: [Int: StoreLane] = [:]
    private var lastTicket = 0
    /// When the next repetition is due.
    private(set) var nextRepeat: Int64?

    /// Requests under way.
    var inFlight: Int { lanesByTicket.count }
    /// Whether nothing waits and nothing is under way, but for what comes by itself.
    var isEmpty: Bool { waitingLanes.isEmpty && runningLanes.isEmpty }

    func isBusy(_ lane: StoreLane) -> Bool { waitingLanes.contains(lane) || runningLanes.contains(lane) }

    /// The first lane behind another, or of all, that is free and has works.
    func ready(after lane: StoreLane?) -> StoreLane? { waitingLanes.subtracting(runningLanes).first(after: lane) }
    func waitingCount(_ lane: StoreLane) -> Int { states[lane.rawValue].waiting.count }

    /// Whether a lane holds such a work, waiting or under way.
    func contains(_ lane: StoreLane, where matches: (StoreWork) -> Bool) -> Bool {
        let state = states[lane.rawValue]
        return state.running?.works.contains(where: matches) ?? false || state.waiting.contains(where: matches)
    }

    mutating func add(_ work: StoreWork, to lane: StoreLane) {
        let lane = lane == .training && isHeld(work.trainedLease) ? .heldTasks : lane
        states[lane.rawValue].waiting.append(work)
        waitingLanes.insert(lane)
    }

    /// Puts a work in the place of the first that waits and matches.
    /// - Returns: false where none does: nothing changed.
    mutating func replaceWaiting(_ lane: StoreLane, _ work: StoreWork, where matches: (StoreWork) -> Bool) -> Bool {
        guard let place = states[lane.rawValue].waiting.firstIndex(where: matches) else { return false }
        states[lane.rawValue].waiting[place] = work
        return true
    }

    /// Whether works of a lease wait apart: later ones must not pass them.
    private func isHeld(_ lease: LeaseID?) -> Bool {
        guard let lease, isBusy(.heldTasks) else { return false }
        return contains(.heldTasks) { $0.trainedLease == lease }
    }

    /// A work alone met a row that somebody's transaction holds: it goes to the end of those that wait apart, with what its lease has behind it.
    mutating func setAside(_ ticket: Int) {
        guard let (lane, running) = running(ticket) else { return }
        finish(ticket)
        let leases = Set(running.works.compactMap(\.trainedLease))
        let isBehind = { (work: StoreWork) in work.trainedLease.map(leases.contains) ?? false }
        let behind = states[lane.rawValue].waiting.filter(isBehind)
        if !behind.isEmpty {
            states[lane.rawValue].waiting.removeAll(where: isBehind)
            // Sizes of pieces count works that are no longer there: what is left goes one by one.
            let rest = states[lane.rawValue].pieces.isEmpty ? 0 : states[lane.rawValue].waiting.count
            states[lane.rawValue].pieces = Deque(repeating: 1, count: rest)
            if states[lane.rawValue].waiting.isEmpty { waitingLanes.remove(lane) }
        }
        states[StoreLane.heldTasks.rawValue].waiting.append(contentsOf: running.works + behind)
        waitingLanes.insert(.heldTasks)
    }

    /// Adds training steps to those of the same lease that wait already, so that an outage of the store costs one work a lease and not one a step.
    /// Steps never pass a checkpoint or an end of their own lease.
    /// - Parameter limit: the newest so many are kept.
    /// - Returns: how many were dropped for it.
    mutating func add(_ update: TrainingStepsUpdate, atMost limit: Int) -> Int {
        let lane = (isHeld(update.lease) ? StoreLane.heldTasks : .training).rawValue
        var merged = update
        var place: Int?
        for index in states[lane].waiting.indices.reversed() where states[lane].waiting[index].trainedLease == update.lease {
            guard case .steps(let earlier) = states[lane].waiting[index] else { break }
            merged.steps = earlier.steps + update.steps
            merged.discardAfter = [earlier.discardAfter, update.discardAfter].compactMap(\.self).min()
            place = index
            break
        }
        let dropped = max(0, merged.steps.count - limit)
        merged.steps.removeFirst(dropped)
        if let place { states[lane].waiting[place] = .steps(merged) } else { add(.steps(merged), to: .training) }
        return dropped
    }

    /// Puts a work before all others, to go alone.
    mutating func addFirst(_ work: StoreWork, to lane: StoreLane) {
        states[lane.rawValue].waiting.prepend(work)
        states[lane.rawValue].pieces.prepend(1)
        waitingLanes.insert(lane)
    }

    /// Takes back what waits in a lane and was never sent.
    mutating func takeWaiting(_ lane: StoreLane) -> [StoreWork] {
        let works = Array(states[lane.rawValue].waiting)
        states[lane.rawValue].waiting = []
        states[lane.rawValue].pieces = []
        waitingLanes.remove(lane)
        return works
    }

    /// The next batch of a lane that is free; nil where it is not or nothing waits. The caller makes a request of it and calls ``start(_:_:_:)``.
    mutating func take(_ lane: StoreLane, settings: BrokerSettings) -> [StoreWork]? {
        guard !runningLanes.contains(lane), let first = states[lane.rawValue].waiting.popFirst() else { return nil }
        defer { if states[lane.rawValue].waiting.isEmpty { waitingLanes.remove(lane) } }
        var batch = [first]
        if let size = states[lane.rawValue].pieces.popFirst() {
            while batch.count < size, let next = states[lane.rawValue].waiting.popFirst() { batch.append(next) }
            return batch
        }
        guard lane != .heldTasks, let kind = first.batchKind else { return batch }
        var weight = first.weight
        while let next = states[lane.rawValue].waiting.first, next.batchKind == kind {
            let more = next.weight
            guard weight.tasks + more.tasks <= settings.batchTasks, weight.bytes + more.bytes <= settings.batchBytes else { break }
            weight = (weight.tasks + more.tasks, weight.bytes + more.bytes)
            batch.append(next)
            states[lane.rawValue].waiting.removeFirst()
        }
        return batch
    }

    /// A request of a lane goes to the store.
    /// - Returns: the ticket that its answer carries.
    mutating func start(_ lane: StoreLane, _ works: [StoreWork], _ request: StoreRequest) -> Int {
        lastTicket += 1
        states[lane.rawValue].running = Running(works: works, request: request, ticket: lastTicket)
        runningLanes.insert(lane)
        lanesByTicket[lastTicket] = lane
        return lastTicket
    }

    /// The request that an answer belongs to; nil where nobody waits for it any more.
    func running(_ ticket: Int) -> (lane: StoreLane, running: Running)? {
        guard let lane = lanesByTicket[ticket], let running = states[lane.rawValue].running, running.ticket == ticket else { return nil }
        return (lane, running)
    }

    /// Its outcome is known: the lane is free.
    mutating func finish(_ ticket: Int) {
        guard let lane = lanesByTicket.removeValue(forKey: ticket) else { return }
        states[lane.rawValue].running = nil
        runningLanes.remove(lane)
    }

    /// The same goes again at a time.
    /// - Parameter isUncertain: this sending may have been committed.
    mutating func postpone(_ ticket: Int, until time: Int64, isUncertain: Bool) {
        guard let lane = lanesByTicket[ticket] else { return }
        states[lane.rawValue].running?.repeatsAt = time
        nextRepeat = min(nextRepeat ?? time, time)
        if isUncertain { states[lane.rawValue].running?.wasRepeated = true }
    }

    /// A batch of more works is repeated in pieces of so many, a smaller one work by work.
    private static let pieceSize = 32

    /// Its batch failed for one of its works: it goes in pieces, before all others, until the guilty one goes alone.
    /// - Parameter isUncertain: some of its works may have been committed.
    mutating func split(_ ticket: Int, isUncertain: Bool = false) {
        guard let (lane, running) = running(ticket) else { return }
        finish(ticket)
        waitingLanes.insert(lane)
        let works = running.wasRepeated || isUncertain ? running.works.map(\.uncertain) : running.works
        let size = works.count > Self.pieceSize ? Self.pieceSize : 1
        states[lane.rawValue].waiting.prepend(contentsOf: works)
        states[lane.rawValue].pieces.prepend(contentsOf: stride(from: 0, to: works.count, by: size).map { min(size, works.count - $0) })
    }

    /// Requests that go again now, under new tickets (an old answer that comes late means nothing).
    mutating func takeRepeats(now: Int64) -> [(ticket: Int, request: StoreRequest)] {
        guard let due = nextRepeat, due <= now else { return [] }
        nextRepeat = nil
        var repeats: [(Int, StoreRequest)] = []
        var next = runningLanes.first(after: nil)
        while let lane = next {
            next = runningLanes.first(after: lane)
            guard var running = states[lane.rawValue].running, let time = running.repeatsAt else { continue }
            guard time <= now else {
                nextRepeat = min(nextRepeat ?? time, time)
                continue
            }
            lanesByTicket[running.ticket] = nil
            lastTicket += 1
            running.ticket = lastTicket
            running.repeatsAt = nil
            lanesByTicket[lastTicket] = lane
            states[lane.rawValue].running = running
            repeats.append((lastTicket, running.request))
        }
        return repeats
    }
}
