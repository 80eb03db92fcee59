internal import TaskProtocol

/// When each periodic duty was done last, in monotonic milliseconds.
struct Timers: Sendable {
    var beat: Int64?
    var heartbeat: Int64?
    var sweep: Int64?
    var figures: Int64?
    var durability: Int64?
    var reconcile: Int64 = 0
    /// Until then leases may come to light that this broker did not hear of.
    var doubtUntil: Int64 = 0
    var outlines: Int64 = 0
    var alarms: Int64 = 0
    var ends: Int64 = 0
    /// When the months of history are looked at next.
    var nextRetention: Int64 = 0
    /// When the next task comes due, as far as is known.
    var nextDue: Int64?
    /// When that was due which the last sweep left as it was, by the database's clock.
    var overdue: Int64?

    /// Whether a duty is due; it counts as done from now on.
    static func isDue(_ last: inout Int64?, every interval: Int64, now: Int64) -> Bool {
        if let time = last, now - time < interval { return false }
        last = now
        return true
    }

    static func isDue(_ last: inout Int64, every interval: Int64, now: Int64) -> Bool {
        if now - last < interval { return false }
        last = now
        return true
    }
}

extension BrokerCore {
    /// The latest time at which ``BrokerEvent/tick`` must come. (Reading it changes nothing: `mutating` spares a copy of the whole broker to those who
    /// hold it behind a pointer.)
    package var nextTick: Int64 { mutating get { earliestDuty } }

    private var earliestDuty: Int64 {
        var next = now + settings.tickInterval
        if let time = timers.beat, !lanes.isBusy(.beat) { next = min(next, time + settings.beatInterval) }
        if let time = timers.heartbeat { next = min(next, time + settings.heartbeatInterval) }
        if let time = lanes.nextRepeat { next = min(next, time) }
        if let time = watchers.nextDeadline { next = min(next, time) }
        if let time = timers.nextDue, isReady, !lanes.isBusy(.due) { next = min(next, time) }
        return max(next, now + 1)
    }

    /// Does what has come due.
    mutating func tick() {
        for (ticket, request) in lanes.takeRepeats(now: now) {
            guard let lane = lanes.running(ticket)?.lane else { continue }
            actions.append(.store(ticket: ticket, lane: lane, request))
        }
        noticeSilentStore()
        tickStore()
        if Timers.isDue(&timers.heartbeat, every: settings.heartbeatInterval, now: now) { sendHeartbeats() }
        if Timers.isDue(&timers.alarms, every: settings.tickInterval, now: now) {
            sessions.noteQuiet(now: now, after: settings.workerQuiet)
            raiseAlarms()
        }
        closeOverdueWaits()
        if Timers.isDue(&timers.outlines, every: settings.sweepInterval, now: now) { lookElsewhere() }
        observeIdleness()
        if isDraining { finishDrain() }
    }

    /// A database that hangs refuses nothing by itself: where a beat has waited for long, whoever asks is told that it is away.
    private mutating func noticeSilentStore() {
        guard !isStoreAway, lanes.isBusy(.beat), let begun = timers.beat, now - begun >= settings.beatsOverdue else { return }
        storeIsAway("it has not answered a beat for \(settings.beatsOverdue / 1_000) s")
    }

    /// A claim whose answer was lost may have leased what this broker does not know of, also some time later: then it looks more often.
    private var reconcileInterval: Int64 { now < timers.doubtUntil ? settings.sweepInterval : settings.reconcileInterval }

    private mutating func tickStore() {
        if !lanes.isBusy(.beat), Timers.isDue(&timers.beat, every: settings.beatInterval, now: now) { lanes.add(.beat, to: .beat) }
        guard isRegistered, !isStoreAway, !isDraining else { return }
        let interval = idle.state == .idle ? settings.idleSweepInterval : settings.sweepInterval
        if clockWasSetBack, !lanes.isBusy(.due) { lanes.add(.endBackoffs, to: .due) }
        if let due = timers.nextDue, due <= now, !lanes.isBusy(.due) { (timers.sweep, timers.nextDue) = (nil, nil) }
        if !lanes.isBusy(.due), Timers.isDue(&timers.sweep, every: interval, now: now) { lanes.add(.due, to: .due) }
        if !lanes.isBusy(.figures), Timers.isDue(&timers.figures, every: settings.figuresInterval, now: now) { lanes.add(.figures, to: .figures) }
        if !lanes.isBusy(.figures), Timers.isDue(&timers.durability, every: settings.durabilityInterval, now: now) {
            lanes.add(.durability, to: .figures)
        }
        tendHistory()
        if !lanes.isBusy(.reconcile) {
            if Timers.isDue(&timers.reconcile, every: reconcileInterval, now: now) { reconcileAll() } else { reconcileSome() }
        }
        if Timers.isDue(&timers.ends, every: 30_000, now: now) { leases.forgetEarlierEnds() }
    }

    /// Says to each worker that we are here, and leaves those to themselves that have not spoken for long.
    private mutating func sendHeartbeats() {
        for id in sessions.silent(now: now, after: settings.workerSilence) { forgetSession(id, why: "silent") }
        applicants.forgetSilent(now: now, after: settings.workerSilence)
        let beatsOK = beatsAreAcknowledged
        sayStatus()
        if !beatsOK, lastBeatCommitted != nil { sendWorkersAway() }
        for session in sessions.all.values.sorted(by: { $0.id < $1.id }) where session.state == .joined {
            tell(session.address, .heartbeat(beatsOK: beatsOK))
        }
    }

    private mutating func observeIdleness() {
        guard isReady else { return }
        let isQuiet =
            !queues.hasWork && !uncheckedTasks && !lanes.isBusy(.submit) && !lanes.isBusy(.keyedSubmit)
            && (sessions.count == 0 || sessions.credit > 0)
        if let mark = idle.observe(isQuiet: isQuiet, now: now, after: settings.idleAfter) { lanes.add(.mark(idle: mark), to: .sessions) }
    }

    /// Something was published in SQL: it is looked at at once.
    mutating func notified() {
        guard isRegistered, !isStoreAway else { return }
        if let mark = idle.notified(now: now) { lanes.add(.mark(idle: mark), to: .sessions) }
        lookAgain()
    }

    /// Looks at all queues, and at what nobody has checked, without waiting for the next sweep.
    mutating func lookAgain() {
        timers.sweep = now
        if lanes.waitingCount(.due) == 0 { lanes.add(.due, to: .due) }
        lookForUnchecked()
    }

    /// Reads tasks that nobody has checked yet; while others are on their way into line it waits for these.
    mutating func lookForUnchecked() {
        uncheckedTasks = true
        if lanes.waitingCount(.unchecked) == 0, !lanes.isBusy(.adopt) { lanes.add(.unchecked, to: .unchecked) }
    }
}
