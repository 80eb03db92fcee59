internal import TaskProtocol

/// The way to the store and back: each lane's next batch becomes a request, each answer goes where its works wanted it.
extension BrokerCore {
    /// Sends what is ready.
    mutating func pump() {
        gatherProgress()
        dispatch()
        var next = lanes.ready(after: nil)
        while let lane = next {
            if !isStoreAway || lane == .beat, let works = lanes.take(lane, settings: settings) { send(works, lane) }
            next = lanes.ready(after: lane)
        }
    }

    private mutating func send(_ works: [StoreWork], _ lane: StoreLane) {
        guard let (works, request) = request(for: works) else { return }
        let ticket = lanes.start(lane, works, request)
        actions.append(.store(ticket: ticket, lane: lane, request))
    }

    /// Of each running task only the newest progress is written, one transaction at a time.
    private mutating func gatherProgress() {
        guard !dirtyProgress.isEmpty, !isStoreAway, !lanes.isBusy(.progress) else { return }
        for update in dirtyProgress.sorted(by: { $0.key < $1.key }) { lanes.add(.progress(update.value), to: .progress) }
        dirtyProgress.removeAll(keepingCapacity: true)
    }

    // MARK: Requests

    private mutating func request(for works: [StoreWork]) -> ([StoreWork], StoreRequest)? {
        guard let first = works.first else { return nil }
        switch first {
        case .submit: return submitRequest(works)
        case .claim(let queue, _): return claimRequest(queue).map { ([$0.0], $0.1) }
        case .beat: return (works, .beat(BeatRequest(broker: id, sessions: sessions.takeBeats(), isDraining: isDraining)))
        case .due: return (works, .dueSweep(after: blockedLookedAt))
        case .endBackoffs: return (works, .endBackoffs(longestMilliseconds: settings.retryLongest + Self.backoffLeeway))
        case .figures: return (works, .figures)
        case .retain: return (works, .retain(settings.retention))
        case .durability: return (works, .durability)
        case .unchecked:
            uncheckedTasks = false
            return (works, .unchecked(after: checkedUpTo, limit: settings.batchTasks))
        case .sweep(let dead): return (works, .sweep(dead))
        case .registerBroker(let registration): return (works, .registerBroker(registration))
        case .endBroker: return (works, .endBroker(id))
        case .mark(let isIdle): return (works, .markIdle(broker: id, idle: isIdle))
        case .registerSession(let registration): return (works, .registerSession(registration))
        case .endSession(let session): return (works, .endSession(session))
        case .leases(let ids, _, let joins): return ([.leases(ids, asked: now, joins: joins)], .leases(ids))
        case .complete: return (works, .complete(works.compactMap { if case .complete(let completion, _) = $0 { completion } else { nil } }))
        case .fail: return (works, .fail(works.compactMap { if case .fail(let failure, _) = $0 { failure } else { nil } }))
        case .release: return (works, .release(works.compactMap { if case .release(let release, _) = $0 { release } else { nil } }))
        case .confirmCancel:
            return (works, .confirmCancel(works.compactMap { if case .confirmCancel(let reference, _) = $0 { reference } else { nil } }))
        case .checkpoint:
            return (works, .checkpoint(works.compactMap { if case .checkpoint(let commit, _, _) = $0 { commit } else { nil } }))
        case .cancel(_, let ids): return (works, .cancel(ids))
        case .lookBeforeRetry(_, let ids): return (works, .states(ids))
        case .retry(_, let ends): return (works, .retry(ends))
        case .read(let read):
            return (works, .get(works.flatMap { work -> [TaskID] in if case .read(let read) = work { read.ids } else { [] } }, results: read.results))
        case .outlines(let ids): return (works, .states(ids))
        case .progress: return (works, .progress(works.compactMap { if case .progress(let update) = $0 { update } else { nil } }))
        case .steps: return (works, .trainingSteps(works.compactMap { if case .steps(let update) = $0 { update } else { nil } }))
        case .catalogue(_, let request): return (works, request)
        case .adopt(let adoptions): return (works, .adopt(adoptions))
        case .resolve: return (works, .resolveModels(works.compactMap { if case .resolve(let question) = $0 { question.model } else { nil } }))
        }
    }

    private static let leastPatience: Int64 = 5

    private mutating func submitRequest(_ works: [StoreWork]) -> ([StoreWork], StoreRequest) {
        var submits = works.compactMap { if case .submit(let submit) = $0 { submit } else { nil } }
        if let submit = submits.first, let heldUntil = submit.heldUntil {
            // Those behind one that waited in vain have waited with it.
            return (works, .submitPatiently(submit.group, milliseconds: Int(max(Self.leastPatience, heldUntil - now))))
        }
        offerSlots(&submits)
        return (submits.map { .submit($0) }, .submit(submits.map(\.group)))
    }

    // MARK: Answers

    mutating func storeReply(_ ticket: Int, _ reply: StoreReply) {
        guard let (lane, running) = lanes.running(ticket), running.repeatsAt == nil else { return }
        if let (why, mayBeDone) = reply.absence {
            storeIsAway(why)
            return mayBeDone ? unknown(running, lane) : unreached(running, lane)
        }
        storeIsBack()
        if running.wasRepeated, reply.isBusy {
            // What holds the lock may be the first sending itself, whose commit nobody knows of yet: `busy` would say that nothing was accepted.
            return blockedRepeat(running, lane)
        }
        if case .failed(let failure) = reply { return failed(running, lane, failure) }
        lanes.finish(ticket)
        if case .refused(let error) = reply {
            if running.wasRepeated, error.code == .notFound, let (request, asked) = running.removal {
                // It is gone because the first sending removed it.
                return administered(request, asked, .done)
            }
            return refused(running.works, lane, error)
        }
        answer(running.works, running.request, reply)
    }

    /// A request sent again meets a lock. Among submits with keys it may be anybody's: they part, so that it holds up only the one that waits for it.
    private mutating func blockedRepeat(_ running: StoreLanes.Running, _ lane: StoreLane) {
        guard lane == .keyedSubmit || lane == .heldKeys || lane.isOfTasks else {
            lanes.postpone(running.ticket, until: now + settings.storeRetry, isUncertain: true)
            return
        }
        if running.works.count > 1 {
            lanes.split(running.ticket)
            return
        }
        if lane.isOfTasks { return lanes.setAside(running.ticket) }
        lanes.finish(running.ticket)
        for case .submit(var submit) in running.works {
            submit.isUncertain = true
            meetsHeldKey(submit)
        }
    }

    mutating func storeIsAway(_ why: String) {
        guard !isStoreAway else { return }
        isStoreAway = true
        note(.storeAway(why))
        refuseWhatWaits()
    }

    private mutating func storeIsBack() {
        guard isStoreAway else { return }
        isStoreAway = false
        note(.storeBack)
        queues.forgetMarks()
        timers.sweep = nil
        timers.reconcile = 0
        timers.outlines = 0
    }

    /// What was never sent, and comes from clients, is refused: nothing of it was accepted.
    private mutating func refuseWhatWaits() {
        for lane in [StoreLane.submit, .keyedSubmit, .heldKeys, .cancel, .retry, .read, .results, .catalogue, .models] {
            for work in lanes.takeWaiting(lane) {
                if work.isUncertain { lanes.add(work, to: lane) } else { refuse(work, Self.databaseAway) }
            }
        }
        for lane in [StoreLane.due, .figures, .retain, .unchecked, .outlines, .reconcile, .claim] { _ = lanes.takeWaiting(lane) }
    }

    /// The outcome of a request is unknown: it goes again, the very same; one that only reads is given up.
    private mutating func unknown(_ running: StoreLanes.Running, _ lane: StoreLane) {
        if running.works.allSatisfy(\.isRepeatedWhenAway) {
            lanes.postpone(running.ticket, until: now + settings.storeRetry, isUncertain: true)
            return
        }
        if running.works.contains(where: \.mayHideLeases) { timers.doubtUntil = now + settings.doubt }
        giveUp(running, lane)
    }

    /// This sending of a request did nothing. A client is told so, unless an earlier sending may have done it.
    private mutating func unreached(_ running: StoreLanes.Running, _ lane: StoreLane) {
        let isRefused = !running.wasRepeated && running.works.allSatisfy(\.isOfClient)
        if !isRefused, running.works.allSatisfy(\.isRepeatedWhenAway) {
            lanes.postpone(running.ticket, until: now + settings.storeRetry, isUncertain: false)
            return
        }
        giveUp(running, lane)
    }

    private mutating func giveUp(_ running: StoreLanes.Running, _ lane: StoreLane) {
        lanes.finish(running.ticket)
        let uncertain = running.works.filter(\.isUncertain)
        for work in uncertain.reversed() { lanes.addFirst(work, to: lane) }
        for work in running.works where !work.isUncertain {
            if case .mark = work { lanes.add(work, to: lane) } else { refuse(work, Self.databaseAway) }
        }
    }

    static let databaseAway = ContractError(.unavailable, "the database is away: nothing was accepted, try again")

    /// The store says that it changed nothing.
    private mutating func failed(_ running: StoreLanes.Running, _ lane: StoreLane, _ failure: StoreFailure) {
        if failure != .busy { note(.storeRefused(failure.description)) }
        if running.works.count > 1 {
            // A batch that was refused for its data was done work by work, up to the one that failed otherwise.
            lanes.split(running.ticket, isUncertain: failure != .busy)
            return
        }
        if failure == .busy, case .adopt(let adoptions)? = running.works.first, adoptions.count > 1 {
            // One of them is held, or takes too long: the others are to get into line without it.
            lanes.finish(running.ticket)
            let middle = adoptions.count / 2
            lanes.addFirst(.adopt(Array(adoptions[middle...])), to: lane)
            return lanes.addFirst(.adopt(Array(adoptions[..<middle])), to: lane)
        }
        // Without its row a broker can do nothing: it is asked for until the database is mended.
        if case .unfit = failure, case .registerBroker? = running.works.first {
            return lanes.postpone(running.ticket, until: now + settings.unfitRetry, isUncertain: false)
        }
        // Somebody's open transaction holds the task's row, for as long as it likes.
        if failure == .busy, lane.isOfTasks { return lanes.setAside(running.ticket) }
        if failure == .busy, running.works.allSatisfy(\.waitsForLocks) {
            lanes.postpone(running.ticket, until: now + settings.storeRetry / 4, isUncertain: false)
            return
        }
        lanes.finish(running.ticket)
        let error =
            switch failure {
            case .busy: ContractError(.busy, "a lock in the database was not free in time: nothing was accepted, try again")
            // What a worker reports is no worse for it: its worker keeps it, and says it again.
            case .unfit where lane.isOfTasks: ContractError(.unavailable, "the database cannot take it now; the broker's log says why")
            default: ContractError(.internalError, "the database refused the request; the broker's log says why")
            }
        for work in running.works { refuse(work, error) }
    }

    /// The store says that a request as a whole cannot be.
    private mutating func refused(_ works: [StoreWork], _ lane: StoreLane, _ error: ContractError) {
        if works.count > 1 {
            for work in works.reversed() { lanes.addFirst(work, to: lane) }
            return
        }
        for work in works { refuse(work, error) }
    }

    /// Ends one work with an error.
    mutating func refuse(_ work: StoreWork, _ error: ContractError) {
        switch work {
        case .submit(var submit):
            withdrawOffers(&submit)
            submitBytes -= submit.byteCount
            refuse(submit, error)
        case .claim(_, let reserved): claimFailed(reserved: reserved)
        case .cancel(let request, _), .lookBeforeRetry(let request, _), .retry(let request, _), .catalogue(let request, _): finish(request, error)
        case .read(let read): readRefused(read, error)
        case .complete(let completion, let address): completionRefused(completion, from: address, error)
        case .fail(let failure, _): unsettle(failure.lease, until: now + 5_000)
        case .release(let release, _): unsettle(release.lease, until: now + 5_000)
        case .confirmCancel(let reference, _): unsettle(reference.lease, until: now + 5_000)
        case .checkpoint(let commit, _, let address): checkpointRefused(commit, from: address, error)
        case .registerSession(let registration): registrationRefused(registration, error)
        case .endSession(let session): leaving.insert(session)
        case .unchecked: uncheckedTasks = false
        case .retain: retentionFailed()
        case .resolve(let question): answer(question, .failure(error))
        case .mark: idle.refused()
        case .steps(let update): counters.droppedTrainingSteps += update.steps.count
        default: break
        }
    }

    /// A result that the database does not take fails its task for good, and nobody else's.
    private mutating func completionRefused(_ completion: Completion, from address: [UInt8], _ error: ContractError) {
        guard error.code == .internalError else { return unsettle(completion.lease, until: now + 5_000) }
        leases[completion.lease]?.isSettling = false
        let held = WorkerLease(task: completion.task, lease: completion.lease, attempt: completion.attempt)
        let error = ContractError(.internalError, "the database does not take the result; the broker's log says why")
        fail(held, leases[completion.lease], error, cause: .failed, final: true, from: address)
    }

    private mutating func answer(_ works: [StoreWork], _ request: StoreRequest, _ reply: StoreReply) {
        switch reply {
        case .done: done(works)
        case .submitted(let outcomes): submitted(works, outcomes)
        case .claimed(let claim):
            if case .claim(_, let reserved)? = works.first, case .claim(let asked) = request { claimed(claim, to: asked, reserved: reserved) }
        case .beaten(let beat): beaten(beat)
        case .swept(let sweep):
            // A goodbye is said once: it is not forgotten for the sake of a row that is locked.
            if case .endSession? = works.first { leaving.formUnion(sweep.standing) }
            swept(sweep)
        case .leases(let held):
            if case .leases(let ids, let asked, let joins)? = works.first {
                reconcile(held, of: ids, asked: asked)
                if joins { for id in ids { joined(id) } }
            }
        case .completed(let replies), .settled(let replies):
            for (work, reply) in zip(works, replies) { settle(work, reply) }
        case .cancelled(let replies): cancelAnswered(works, replies)
        case .retried(let outlines): retryAnswered(works, outlines)
        case .statuses(let statuses): statusesRead(works, statuses)
        case .outlines(let outlines):
            if case .lookBeforeRetry(let request, _)? = works.first { lookedBeforeRetry(request, outlines) } else { outlinesRead(outlines) }
        case .explained(let life): if case .catalogue(let request, _)? = works.first { finish(request, .explanation(life)) }
        case .models(let rows): if case .catalogue(let request, let asked)? = works.first { modelsAnswered(request, asked, rows) }
        case .datasets(let rows): if case .catalogue(let request, let asked)? = works.first { datasetsAnswered(request, asked, rows) }
        case .administered(let reply): if case .catalogue(let request, let asked)? = works.first { administered(request, asked, reply) }
        case .resolvedModels(let answers): modelsResolved(works, answers)
        case .unchecked(let tasks, let isCut): check(tasks, isCut: isCut)
        case .adopted(let reply): adopted(reply)
        case .due(let due): swept(due)
        case .retained(let reply): retained(reply)
        case .figures(let figures): self.figures = figures
        case .durability(let durability): self.durability = durability
        case .refused, .failed: break
        }
    }

    /// A retry's pause is at most the longest, but for what the transaction that gave it took.
    private static let backoffLeeway: Int64 = 10_000

    private mutating func done(_ works: [StoreWork]) {
        for work in works {
            switch work {
            case .endBackoffs: (clockWasSetBack, timers.sweep) = (false, nil)
            case .registerBroker: isRegistered = true
            case .registerSession(let registration): registered(registration)
            case .mark: marked()
            case .endBroker: actions.append(.drained)
            default: break
            }
        }
    }

    /// Idle stands in the store: what was published in between notified nobody, so it is looked for once more.
    private mutating func marked() {
        idle.written()
        timers.sweep = nil
        lookForUnchecked()
    }

    private mutating func settle(_ work: StoreWork, _ reply: SettlementReply) {
        measure(work, reply)
        switch work {
        case .complete(let completion, let address):
            if case .recorded = reply.settlement {
                counters.recorded += 1
                counters.tokens += completion.generations.reduce(0) { $0 + $1.tokenIDs.count }
            }
            settled(completion.task, completion.lease, completion.attempt, from: address, reply)
        case .fail(let failure, let address):
            if case .recorded(.failed, _) = reply.settlement { counters.failed += 1 }
            settled(failure.task, failure.lease, failure.attempt, error: failure.error, from: address, epoch: failure.epoch, reply)
        case .release(let release, let address): settled(release.task, release.lease, release.attempt, from: address, epoch: release.epoch, reply)
        case .confirmCancel(let reference, let address):
            if case .recorded = reply.settlement { counters.cancelled += 1 }
            settled(reference.task, reference.lease, reference.attempt, from: address, reply)
        case .checkpoint(let commit, let step, let address): checkpointed(commit, step, from: address, reply)
        default: break
        }
    }

    // MARK: Beats and sweeps

    private mutating func beaten(_ reply: BeatReply) {
        if clock.read(reply.databaseMilliseconds, at: now) { clockWasSetBack = true }
        lastBeatCommitted = now
        observePeers(reply.brokers)
        // Without the mark no submit() in SQL notifies this broker.
        if reply.brokers.first(where: { $0.id == id })?.isIdle == false, !lanes.isBusy(.sessions) { idle.isGone() }
        if !reply.brokerKnown, isRegistered, let registration, !lanes.isBusy(.sessions) { lanes.add(.registerBroker(registration), to: .sessions) }
        for session in reply.unknown where sessions[session]?.state == .joined {
            let address = sessions[session]?.address
            forgetSession(session, why: "unknown to the database")
            if let address { tell(address, .registerPlease) }
        }
        for counter in reply.counters where counter.broker != id {
            if let session = sessions[counter.session], session.state == .joined, now - session.lastHeard > 2 * settings.heartbeatInterval {
                forgetSession(counter.session, why: "joined another broker")
            }
        }
        for reference in reply.cancels { cancelRunning(reference.lease) }
        let dead = life.observe(reply.counters, beatsUntilDead: settings.beatsUntilDead)
        if !dead.isEmpty, !lanes.isBusy(.sweep), !isDraining { lanes.add(.sweep(dead), to: .sweep) }
    }

    private mutating func swept(_ reply: SweepReply) {
        for session in reply.ended {
            note(.sessionDead(session))
            forgetSession(session, why: "dead")
        }
        for entry in reply.settled {
            counters.lapsed += 1
            counters.leaseLosses += 1
            let reference = entry.reference
            measureEnd(reference.lease, "lost")
            switch entry.settlement {
            case .recorded(let state, let error), .alreadyRecorded(let state, let error):
                emitEnd(reference.task, reference.attempt, state, error, sequence: leases[reference.lease]?.nextSequence)
                endLease(reference.lease)
            case .requeued(let ready, let runAt):
                let error = ContractError(.lost, "its worker was lost")
                requeued(ready, runAt, reference.lease, reference.attempt, error: error, from: nil)
            case .stale, .fenced: endLease(reference.lease)
            }
        }
    }

    private mutating func swept(_ due: DueReply) {
        for ready in due.ready { queues.ready(ready.queue, rank: ready.rank) }
        for ended in due.ended { emitEnd(ended.task, ended.attempt, ended.state, ended.error, sequence: nil) }
        lookForMissedWork(due.queues)
        queues.observe(due.queues, now: now, walkEvery: settings.sweepInterval)
        keepFree(forOneOf: due.queues)
        blockedLookedAt = due.blockedLookedAt
        noteUnreadable(due.unreadableSchedules)
        planNextSweep(due)
        for reference in due.cancels where leases[reference.lease] != nil { cancelRunning(reference.lease) }
        if due.unchecked > 0 { lookForUnchecked() }
        for session in leaving.sorted() { lanes.add(.endSession(session), to: .sessions) }
        leaving = []
    }

    /// What is due already and does not come into line (somebody holds its row, its schedule cannot be made) is looked for at once, and then as seldom
    /// as everything: brokers would do nothing else until it is free.
    private mutating func planNextSweep(_ due: DueReply) {
        guard let next = due.nextDueMilliseconds else { return timers.overdue = nil }
        let isOverdue = next <= due.databaseMilliseconds
        if isOverdue, next == timers.overdue, due.ready.isEmpty { return }
        timers.overdue = isOverdue ? next : nil
        timers.nextDue = max(now + 1, now + next - due.databaseMilliseconds)
    }

    /// Work that stands beside free room for long is answered by a scan of everything and a new connection for notifications.
    private mutating func lookForMissedWork(_ waiting: [WaitingQueue]) {
        let lines = queues
        let isMissed = idleCredit.observe(waiting, hasRoom: sessions.credit > 0, now: now, patience: settings.idleCreditPatience) {
            !lines[$0].wasShort
        }
        guard isMissed else { return }
        counters.missedWork += 1
        queues.forgetMarks()
        actions.append(.listenAnew)
    }
}

extension StoreLanes.Running {
    /// The request to remove something, where it is one.
    fileprivate var removal: (RequestReference, StoreRequest)? {
        guard case .catalogue(let request, let asked)? = works.first, case .administer(.removeSchedule) = asked else { return nil }
        return (request, asked)
    }
}
