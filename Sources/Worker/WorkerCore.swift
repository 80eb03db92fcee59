package import TaskProtocol

/// The worker's mind: which broker it talks to, which leases it holds, what runs, and what is still to be said.
///
/// The protocol in short (docs/worker-protocol.md in full). A worker joins one broker of its list and lists its leases; it confirms
/// each grant; a task waits until a slot is free, runs in the engine, and its end is *reported until answered*: `recorded` and
/// `stale` alone let a lease be forgotten. A broker that falls silent is left, whatever it still sends is ignored, and the same
/// session with the same leases registers with another. Who owns a task is decided by the lease in the database, never here.
///
/// A value without input or output: events in, actions out, time a parameter.
package struct WorkerCore: Sendable {
    /// What does not change while a worker lives.
    package struct Settings: Sendable {
        /// Told to each broker; its models and leases are filled in.
        package var registration: WorkerRegistration
        /// Workers endpoints of the brokers.
        package var brokers: [String]
        /// How long generates may go on after a drain began.
        package var drainMilliseconds: Milliseconds
        /// Models that are taken into memory before a task asks for them.
        package var preloads: [PreloadRequest]
        /// Reads from a grant what it needs; another one in simulations.
        package var demand: @Sendable (WorkerGrant) throws -> TaskDemand

        package init(
            registration: WorkerRegistration, brokers: [String], drainMilliseconds: Milliseconds = 10_000,
            preloads: [PreloadRequest] = [],
            demand: @escaping @Sendable (WorkerGrant) throws -> TaskDemand = { try TaskDemand(resolved: $0.resolved) }
        ) {
            self.registration = registration
            self.brokers = brokers
            self.drainMilliseconds = drainMilliseconds
            self.preloads = preloads
            self.demand = demand
        }
    }

    package let settings: Settings
    var link: BrokerLink
    var tasks = TaskTable()
    var drain = DrainState.working
    var models: [String] = []
    var preloads: PreloadTable
    var fitness = MachineFitness()
    /// Tasks wait for a model that has been on its way for long.
    var isLoadingLong = false
    /// A task waits for memory that those which run take.
    var isMakingRoom = false
    private var beats: UInt64 = 0
    var said = SaidRoom()

    package init(_ settings: Settings) {
        self.settings = settings
        preloads = PreloadTable(settings.preloads)
        let spread = Int(truncatingIfNeeded: settings.registration.session.lo >> 1)
        link = BrokerLink(endpoints: settings.brokers, startingAt: spread & 0xFFFF)
    }

    /// The link of the broker that has said welcome, and is still heard.
    package var joined: LinkID? { link.joined }

    /// Sequences that run at once.
    var slots: Int { settings.registration.slots }

    /// The one door for simulation, logs and replay: every event goes through here.
    package mutating func handle(_ input: WorkerInput, now: Milliseconds, into actions: inout [WorkerAction]) {
        switch input {
        case .message(let message, let link): receive(message, from: link, now: now, into: &actions)
        case .engine(let report): engine(report, now: now, into: &actions)
        case .drain: beginDrain(now: now, into: &actions)
        case .tick: break
        }
        advance(now: now, into: &actions)
    }

    /// A message came; one of a broker that was left is ignored.
    private mutating func receive(_ message: BrokerMessage, from source: LinkID, now: Milliseconds, into actions: inout [WorkerAction]) {
        guard source == link.current else { return }
        link.heard(now: now)
        switch message {
        case .welcome(let broker, let heartbeatMilliseconds, let peers):
            let isJoinedNow = link.welcome(broker, heartbeatMilliseconds: heartbeatMilliseconds, now: now)
            link.relearn(peers.map(\.endpoint))
            if !peers.isEmpty { actions.append(.learnKeys(of: peers)) }
            guard isJoinedNow else { return }
            tasks.offerAnew()
            preloads.askAnew(now: now)
            for task in tasks.running where task.hasStarted { actions.append(.send(source, .started(task.held))) }
            // Before the checkpoints and ends that follow them.
            for lease in tasks.leasesWithUntoldSteps {
                if let message = tasks.takeProgress(lease) { actions.append(.send(source, message)) }
            }
        case .registerPlease: actions.append(.send(source, .register(registration)))
        case .heartbeat, .artifact: break
        case .grant(let grant): granted(grant, from: source, now: now, into: &actions)
        case .cancel(let lease): cancel(lease, into: &actions)
        case .recorded(let lease): tasks.recorded(lease)
        case .resolved(let number, let answer): resolved(number, answer, now: now, into: &actions)
        case .checkpointRecorded(let lease, let step, let checkpoint): tasks.checkpointRecorded(lease, step: step, as: checkpoint)
        case .stale(let lease): if tasks.forget(lease) { actions.append(.stop(lease, .stale)) }
        case .leave(let peers):
            guard let left = link.moveOn(to: peers.map(\.endpoint), now: now) else { return }
            actions += [.learnKeys(of: peers), .disconnect(left)]
        }
    }

    /// A grant is confirmed again when it comes again, and started once.
    private mutating func granted(_ grant: WorkerGrant, from source: LinkID, now: Milliseconds, into actions: inout [WorkerAction]) {
        guard source == link.joined, !tasks.hasForgotten(grant.lease) else { return }
        actions.append(.send(source, .confirm(session: settings.registration.session, lease: grant.lease)))
        guard tasks[grant.lease] == nil else { return }
        do {
            let demand = grant.alone ? .everything : try settings.demand(grant)
            tasks.add(grant, demand: demand)
            said.free -= 1
            if drain != .working {
                tasks.end(grant.lease, with: .release(grant.held, reason: .draining, ran: false, resume: grant.resume))
            } else if fitness.isResting || isMakingRoom || !hasRoom(for: demand) || demand == .everything && preloads.isLoading {
                tasks.end(grant.lease, with: .release(grant.held, reason: .snooze, ran: false, resume: grant.resume))
            }
        } catch {
            tasks.add(grant, demand: .sequences(1))
            tasks.end(grant.lease, with: .release(grant.held, reason: .unsupported, ran: false, resume: grant.resume))
        }
    }

    private mutating func cancel(_ lease: LeaseID, into actions: inout [WorkerAction]) {
        guard let task = tasks[lease] else { return }
        if task.isWaiting { tasks.end(lease, with: .cancelled(task.held)) } else { stop(lease, .cancelled, into: &actions) }
    }

    /// Tells the engine to stop a running task, once for each reason that outranks the last: nobody asks twice.
    mutating func stop(_ lease: LeaseID, _ reason: StopReason, into actions: inout [WorkerAction]) {
        guard tasks.markStopping(lease, reason) else { return }
        actions.append(.stop(lease, reason))
    }

    /// What time and free slots ask for, after every event.
    private mutating func advance(now: Milliseconds, into actions: inout [WorkerAction]) {
        fitness.advance(now: now)
        for lease in tasks.overdue(now: now) { stop(lease, .timedOut, into: &actions) }
        advanceDrain(now: now, into: &actions)
        startTasks(now: now, into: &actions)
        hastenWhereMiscounted(now: now)
        // A heartbeat says of its room what ends left, so they come before it; and that none is left, before what goes back for that.
        if let joined = link.joined { tasks.dueReports(now: now, goingBack: false) { actions.append(.send(joined, $0)) } }
        connectAndBeat(now: now, into: &actions)
        advancePreloads(now: now, into: &actions)
        if let joined = link.joined { tasks.dueReports(now: now, goingBack: true) { actions.append(.send(joined, $0)) } }
        exitIfDone(now: now, into: &actions)
    }

    private mutating func startTasks(now: Milliseconds, into actions: inout [WorkerAction]) {
        guard drain == .working else { return }
        while let grant = tasks.startNext(slots: slots, now: now) {
            actions.append(.start(grant))
            guard tasks.holdsEverything(except: false) else { continue }
            // What waits behind a finetune may wait for hours: it goes to another worker.
            for task in tasks.waiting {
                tasks.end(task.held.lease, with: .release(task.held, reason: .snooze, ran: false, resume: task.grant?.resume))
            }
        }
    }

    private mutating func connectAndBeat(now: Milliseconds, into actions: inout [WorkerAction]) {
        guard drain != .gone else { return }
        while true {
            switch link.due(now: now) {
            case .nothing: return
            case .connect(let link, let endpoint): actions += [.connect(link, endpoint: endpoint), .send(link, .register(registration))]
            case .registerAgain(let link): actions.append(.send(link, .register(registration)))
            case .leave(let link): actions.append(.disconnect(link))
            case .beat(let link):
                beats += 1
                said = SaidRoom(free: freeSlots, ended: tasks.endedCount, wideEnded: tasks.wideEndedCount)
                actions.append(.send(link, .heartbeat(heartbeat)))
            }
        }
    }

    /// What `register` says now.
    var registration: WorkerRegistration {
        var registration = settings.registration
        registration.models = models
        registration.leases = tasks.leases
        registration.epoch = link.current.map { Int(clamping: $0.number) } ?? 0
        return registration
    }

    /// What `heartbeat` says now.
    private var heartbeat: WorkerHeartbeat {
        WorkerHeartbeat(
            session: settings.registration.session, sequence: beats, leasesCount: tasks.leases.count,
            leasesHash: WorkerLeases.hash(tasks.leases.lazy.map(\.lease)), freeSlots: freeSlots,
            idle: tasks.isIdle && !preloads.isLoading && takesWork, models: models, draining: drain != .working)
    }
}
