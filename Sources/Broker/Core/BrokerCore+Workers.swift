internal import TaskProtocol

/// What workers say, and who they are.
extension BrokerCore {
    mutating func workerMessage(_ message: WorkerMessage, from address: [UInt8], _ key: String?) {
        if isForeign(message, key) { return }
        // What a worker reports to a broker that was started anew at the same address waits until it has registered: it then offers all of it again,
        // in its order. Taken one by one, a checkpoint would be recorded whose steps only the broker before was told. A result that stands alone does
        // not wait: where its lease has lapsed the audit is to say that it came.
        if let lease = message.reportedLease, !message.standsAlone, leases[lease] == nil, !sessions.isJoined(at: address) { return }
        switch message {
        case .register(let registration): register(registration, from: address, key)
        case .heartbeat(let beat): heartbeat(beat, from: address, key)
        case .goodbye(let session): goodbye(session, key)
        case .confirm(let session, let lease):
            heard(session, from: address)
            if leases[lease]?.session == session { leases.confirm(lease, now: now) }
        case .started(let held): started(held, from: address)
        case .event(let held, let events): taskEvents(held, events, from: address)
        case .progress(let held, let progress, let steps): taskProgress(held, progress, steps, from: address)
        case .checkpoint(let held, let step, let record, let resume): checkpoint(held, step, record, resume, from: address)
        case .complete(let held, let generations, let result, let checkpoint):
            complete(held, generations, result, checkpoint, from: address)
        case .failed(let held, let error, let final): failed(held, error, final: final, from: address)
        case .release(let held, let reason, _, let resume): released(held, reason, resume, from: address)
        case .cancelled(let held): cancelled(held, from: address)
        case .artifact(let number, let operation): artifact(operation, from: .worker(address, number: number))
        case .resolve(let session, let number, let model):
            resolve(ModelQuestion(session: session, number: number, model: model, address: address))
        }
    }

    /// Whether it is said in the name of a worker with another key.
    private func isForeign(_ message: WorkerMessage, _ key: String?) -> Bool {
        guard let key, let session = message.namedSession ?? message.reportedLease.flatMap({ leases[$0]?.session }) else { return false }
        return !SessionRegistration.fits(key, sessions[session]?.key)
    }

    /// Any message of a session that joined here counts as its life.
    mutating func heard(_ session: SessionID, from address: [UInt8]) { sessions.heard(session, from: address, now: now) }

    /// The lease that a message names, where it is known here; its session lives.
    mutating func heardOf(_ held: WorkerLease, from address: [UInt8]) -> Lease? {
        guard let lease = leases[held.lease] else { return nil }
        heard(lease.session, from: address)
        return lease
    }

    // MARK: Joining and leaving

    private mutating func register(_ registration: WorkerRegistration, from address: [UInt8], _ key: String?) {
        guard registration.protocolVersion == WorkerProtocol.version, registration.slots > 0, registration.slots <= 4_096 else {
            note(.unknownAnswer("a worker registers with protocol \(registration.protocolVersion) and \(registration.slots) slots: ignored"))
            return
        }
        let session = registration.session
        let row = SessionRegistration(
            session: session, broker: id, host: registration.host, pid: registration.pid, version: registration.version,
            numerics: registration.numerics, instructionSet: registration.instructionSet, threads: registration.threads,
            slots: registration.slots, parameters: registration.parameters, epoch: registration.epoch, publicKey: key)
        if let known = sessions[session] {
            guard SessionRegistration.fits(key, known.key) else {
                return note(.unknownAnswer("a worker names a session that belongs to another key: ignored"))
            }
            // It went elsewhere after it said so, and has come back.
            if known.epoch > row.epoch { return }
            sessions.register(registration, from: address, key, now: now)
        } else if !applicants.take(Applicant(registration: registration, address: address, key: key, heardAt: now)) {
            return
        }
        guard isRegistered, !isStoreAway else { return }
        let work = StoreWork.registerSession(row)
        // It says so again until it is welcome, and anew each time that it comes back: one word of each worker waits for the database, its last.
        if lanes.replaceWaiting(.sessions, work, where: { $0.registers(session, under: key) != nil }) { return }
        if lanes.contains(.sessions, where: { $0.registers(session, under: key) == registration.epoch }) { return }
        lanes.add(work, to: .sessions)
        lanes.add(.leases([session], asked: now, joins: true), to: .sessions)
    }

    /// The session is its own, as far as anybody knows.
    mutating func registered(_ registration: SessionRegistration) {
        if let applicant = applicants.remove(registration), sessions[registration.session] == nil {
            sessions.register(applicant.registration, from: applicant.address, applicant.key, now: applicant.heardAt)
            sessions.noteQuiet(registration.session, now: now, after: settings.workerQuiet)
        }
        sessions.registered(registration.session, inEpoch: registration.epoch, under: registration.publicKey)
    }

    /// It said so before it joined another broker, whose it is; or the session was never its own.
    mutating func registrationRefused(_ registration: SessionRegistration, _ error: ContractError) {
        applicants.refuse(registration)
        guard error.code == .conflict, let session = sessions[registration.session], session.epoch <= registration.epoch,
            session.key == registration.publicKey
        else { return }
        forgetSession(registration.session, why: error.message)
    }

    private mutating func heartbeat(_ beat: WorkerHeartbeat, from address: [UInt8], _ key: String?) {
        // Who has said it, and hears nothing for two seconds, goes to another broker; where this one cannot register it now, it is to go.
        let mayRegister = isRegistered && !isStoreAway && !lanes.isBusy(.sessions)
        guard let session = sessions[beat.session] else {
            if mayRegister || !applicants.contains(beat.session, under: key) { tell(address, .registerPlease) }
            return
        }
        heard(beat.session, from: address)
        guard session.state == .joined else {
            if mayRegister { tell(address, .registerPlease) }
            return
        }
        let known = session.leases
        var (unconfirmed, ending) = (0, 0)
        for lease in known {
            guard let lease = leases[lease] else { continue }
            if case .granted = lease.phase { unconfirmed += 1 } else if lease.isSettling, !lease.wasGivenBack { ending += 1 }
        }
        for (key, time) in sessions.report(beat, unconfirmed: unconfirmed, ending: ending, now: now) {
            modelCosts.loaded(key, milliseconds: time, now: now)
        }
        compare(beat, with: known)
    }

    /// Where both sides hold the same leases nothing is lost; where they differ for long, they are listed anew.
    private mutating func compare(_ beat: WorkerHeartbeat, with known: Set<LeaseID>) {
        if beat.leasesCount == known.count && beat.leasesHash == WorkerLeases.hash(known) {
            sessions.setDiffers(beat.session, since: nil)
            for lease in known { leases.confirm(lease, now: now) }
            return
        }
        let since = sessions[beat.session]?.differsSince ?? now
        sessions.setDiffers(beat.session, since: since)
        guard now - since >= settings.leasesDiffer else { return }
        sessions.setDiffers(beat.session, since: now)
        tell(session: beat.session, .registerPlease)
    }

    private mutating func goodbye(_ session: SessionID, _ key: String?) {
        applicants.remove(session, under: key)
        // Of one that is not known here anybody could say so. Its worker holds nothing any more: the row goes once it is silent.
        guard sessions[session] != nil else { return }
        forgetSession(session, why: "goodbye")
        if isRegistered { lanes.add(.endSession(session), to: .sessions) }
    }

    /// A worker is no longer ours; what its leases are worth is the store's to say.
    mutating func forgetSession(_ id: SessionID, why: String) {
        guard let session = sessions.remove(id) else { return }
        for lease in session.leases.sorted() where leases[lease]?.isSettling != true { leases.drop(lease) }
        note(.workerLeft(id, why: why))
    }

    /// Workers whose keys are shut out get nothing more. They are not counted alive from here either: what they hold goes elsewhere once their sessions
    /// are dead.
    mutating func shutOut(_ keys: Set<String>) {
        applicants.remove(keys: keys)
        let found = sessions.all.values.filter { $0.key.map(keys.contains) ?? false }
        for session in found.sorted(by: { $0.id < $1.id }) { forgetSession(session.id, why: "its key was revoked") }
    }

    /// The store made or adopted the session's row, and its leases are known.
    mutating func joined(_ id: SessionID) {
        // What was asked before it came back from elsewhere says nothing of what is decided there.
        guard let session = sessions[id], session.isRegistered else { return }
        if session.state == .joining {
            let registration = session.registration
            note(.workerJoined(id, host: registration.host, pid: registration.pid, slots: registration.slots))
            // The broker that it comes from may have had a claim under way, whose leases only the store knows of.
            sessions.compare(id, at: now + settings.lateGrants)
        }
        sessions.join(id)
        welcome(session)
    }

    // MARK: Leases, compared with the store's

    /// Compares all leases of our workers with the store's: what a lost answer hid comes to light here.
    mutating func reconcileAll() {
        let joined = sessions.all.values.filter { $0.state == .joined }.map(\.id).sorted()
        if !joined.isEmpty { lanes.add(.leases(joined, asked: now, joins: false), to: .reconcile) }
    }

    /// Compares those of single sessions, where something of them may have passed us by.
    mutating func reconcileSome() {
        let some = sessions.takeComparisons(now: now)
        if !some.isEmpty { lanes.add(.leases(some, asked: now, joins: false), to: .reconcile) }
    }

    /// Takes the store's picture of some sessions' leases, and compares it with what their workers listed when they registered (for the first time, or
    /// because both sides differed): an end that a worker was not told of, or a grant that it does not know, comes to light here.
    /// - Parameter asked: when the picture was asked for. What was granted later it cannot show.
    mutating func reconcile(_ held: [HeldLease], of ids: [SessionID], asked: Int64) {
        let standing = Set(held.map(\.grant.lease))
        for id in ids {
            // Of one that has come back from elsewhere another picture is on its way, read after it stood in the store that it is here.
            guard let session = sessions[id], session.isRegistered else { continue }
            let list = sessions.takeListed(id, asked: asked)
            let listedIDs = Set((list?.leases ?? []).map(\.lease))
            let hasComeBack = session.state == .joining
            for entry in held where entry.grant.session == id {
                if listedIDs.contains(entry.grant.lease) {
                    adopt(entry, isListed: true)
                    // While it was away it may have shown others that it goes on.
                    if hasComeBack { leases.sign(entry.grant.lease, now: now) }
                } else {
                    adopt(entry, isListed: false)
                    if let list { doubt(entry.grant, unlistedAt: list.at) }
                }
            }
            for lease in session.leases.sorted() where !standing.contains(lease) { dropUnlessNewer(lease, asked: asked) }
            for entry in list?.leases ?? [] where !standing.contains(entry.lease) && leases[entry.lease] == nil {
                tell(session.address, .stale(lease: entry.lease))
            }
        }
    }

    private mutating func adopt(_ entry: HeldLease, isListed: Bool) {
        let grant = entry.grant
        if leases[grant.lease] == nil && !leases.endedLately(grant.lease) {
            let phase: Lease.Phase = isListed ? .confirmed : .granted(since: now, sent: 0, last: now - settings.grantRepeat)
            insert(grant, phase: phase, firstSequence: nextSequence(grant.task, grant.attempt))
        } else if isListed {
            leases.confirm(grant.lease, now: now)
        }
        if entry.cancelRequested { cancelRunning(grant.lease) }
    }

    /// A lease that its worker had confirmed and does not list any more is offered to it once more, and given back where it is not confirmed again.
    private mutating func doubt(_ grant: Grant, unlistedAt listed: Int64) {
        guard let lease = leases[grant.lease], !lease.isSettling, lease.since < listed else { return }
        if case .granted = lease.phase { return }
        let message = message(of: grant)
        leases[grant.lease]?.grant = message
        leases[grant.lease]?.phase = .granted(since: now, sent: 0, last: now - settings.grantRepeat)
    }

    /// A lease that does not stand in the store any more. One that came after the question may be confirmed, or run, before the answer is here.
    private mutating func dropUnlessNewer(_ id: LeaseID, asked: Int64) {
        guard let lease = leases[id], !lease.isSettling, lease.since < asked else { return }
        tell(session: lease.session, .stale(lease: id))
        endLease(id)
    }

    // MARK: The life of a lease here

    /// Remembers a committed lease of a worker joined here.
    mutating func insert(_ grant: Grant, phase: Lease.Phase, firstSequence: Int = 0) {
        let isExclusive = grant.kind == .finetune || grant.isolated
        let message = message(of: grant)
        let isConfirmed = if case .granted = phase { false } else { true }
        leases.insert(
            Lease(
                task: grant.task, lease: grant.lease, session: grant.session, attempt: grant.attempt, failures: grant.failures, kind: grant.kind,
                queue: grant.queue, isExclusive: isExclusive, model: grant.modelKey, timeoutSeconds: grant.timeoutSeconds,
                stallSeconds: message.stallSeconds,
                waitedBeforeGrant: grant.waitedMilliseconds, since: now, grant: isConfirmed ? nil : message, phase: phase, lastSign: now,
                nextSequence: firstSequence))
        sessions.granted(grant.lease, to: grant.session, isExclusive: isExclusive, model: grant.modelKey, now: now)
    }

    private func message(of grant: Grant) -> WorkerGrant {
        WorkerGrant(
            task: grant.task, lease: grant.lease, attempt: grant.attempt, resolved: grant.resolved, timeoutSeconds: grant.timeoutSeconds,
            stallSeconds: grant.kind == .finetune ? settings.finetuneStallSeconds : settings.stallSeconds, alone: grant.isolated,
            resume: grant.resume)
    }

    /// Forgets a lease that ended in the store.
    @discardableResult
    mutating func endLease(_ id: LeaseID) -> Lease? {
        dirtyProgress[id] = nil
        guard let lease = leases.remove(id) else { return nil }
        sessions.settled(id, of: lease.session, makesRoom: !lease.wasGivenBack)
        if let key = lease.model, let session = sessions[lease.session], session.loading[key] != nil {
            // Nobody is left there to say that the model has come.
            if !session.leases.contains(where: { leases[$0]?.model == key }) { sessions.stoppedLoading(lease.session, key) }
        }
        queues.ended(lease.queue)
        return lease
    }

    /// The store leased a task to a worker: it is told, if it is still ours.
    mutating func granted(_ grant: Grant) {
        counters.grants += 1
        // A worker that has left meanwhile has the lease all the same: the broker that it joins finds it, as it would if this one had died.
        guard sessions[grant.session] != nil, leases[grant.lease] == nil, !leases.endedLately(grant.lease) else { return }
        insert(grant, phase: .granted(since: now, sent: 1, last: now))
        if let numerics = grant.newNumerics { emit(.retrying(error: nil, runAt: nil, numerics: numerics), under: grant.lease) }
        if let message = leases[grant.lease]?.grant { tell(session: grant.session, .grant(message)) }
    }

    /// The store did not take what was to end a lease: it stands. Where its session has left meanwhile, what is known of it here is no longer kept.
    mutating func unsettle(_ id: LeaseID, until time: Int64) {
        guard let lease = leases[id] else { return }
        if sessions[lease.session]?.leases.contains(id) == true { return leases.unsettle(id, until: time) }
        leases.drop(id)
        sessions.compare(lease.session, at: now)
    }

    /// Stops a running task; said again with each beat until it has stopped.
    mutating func cancelRunning(_ id: LeaseID) {
        guard let lease = leases[id] else { return }
        leases[id]?.isCancelled = true
        tell(session: lease.session, .cancel(lease: id))
    }

    // MARK: Alarms

    /// Repeats lost grants, gives back what nobody knows, ends what stands still.
    mutating func raiseAlarms() {
        for alarm in leases.alarms(now: now, settings: settings) {
            switch alarm {
            case .sendAgain(let id): sendAgain(id)
            case .unknownToWorker(let id): releaseUnknown(id)
            case .stalled(let id): lapse(id, "no sign of progress for \(Int(leases[id]?.stallSeconds ?? 0)) s")
            case .timedOut(let id): lapse(id, "the attempt took longer than timeout_s")
            }
        }
    }

    private mutating func sendAgain(_ id: LeaseID) {
        guard let lease = leases[id], let grant = lease.grant, case .granted(let since, let sent, _) = lease.phase else { return }
        leases[id]?.phase = .granted(since: since, sent: sent + 1, last: now)
        tell(session: lease.session, .grant(grant))
    }

    /// A lease that is this broker's to decide over, and in which epoch of its worker: as long as that is joined here, as far as is known.
    private mutating func decided(_ id: LeaseID) -> (lease: Lease, epoch: Int)? {
        guard let lease = leases[id] else { return nil }
        guard let session = sessions[lease.session] else {
            leases.drop(id)
            return nil
        }
        return session.state == .joined ? (lease, session.epoch) : nil
    }

    private mutating func releaseUnknown(_ id: LeaseID) {
        // Also where the worker has fallen silent: what it never confirmed was not lost with it.
        guard let (lease, epoch) = decided(id) else { return }
        leases[id]?.isSettling = true
        counters.released += 1
        let release = Release(task: lease.task, lease: id, attempt: lease.attempt, reason: "undelivered", epoch: epoch)
        note(.leaseReleased(task: lease.task, lease: id, why: release.reason))
        lanes.add(.release(release, from: nil), to: lease.kind == .finetune ? .training : .settle)
    }

    private mutating func lapse(_ id: LeaseID, _ why: String) {
        guard let (lease, epoch) = decided(id) else { return }
        counters.lapsed += 1
        fail(lease.held, lease, ContractError(.timedOut, why), cause: .timedOut, final: false, from: nil, epoch: epoch)
    }
}
