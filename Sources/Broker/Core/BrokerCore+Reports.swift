internal import TaskProtocol

/// What workers report of their tasks: on its way to the store, and on to those who watch.
extension BrokerCore {
    // MARK: Signs of life

    mutating func started(_ held: WorkerLease, from address: [UInt8]) {
        guard let lease = heardOf(held, from: address) else { return }
        works(lease)
        runs(lease)
    }

    mutating func taskEvents(_ held: WorkerLease, _ events: [WorkerEvent], from address: [UInt8]) {
        guard let lease = heardOf(held, from: address) else { return }
        works(lease)
        runs(lease)
        guard isFollowed(held.task) else {
            leases[held.lease]?.nextSequence += events.count
            return
        }
        for event in events { emit(body(of: event), under: held.lease) }
    }

    private func body(of event: WorkerEvent) -> TaskEvent.Body {
        switch event {
        case .token(let sample, let draw, let index, let tokenID, let text):
            .token(sample: sample, draw: draw, index: index, tokenID: tokenID, text: text)
        case .sample(let sample, let promptIndex, let draw, let text, let reason, let step):
            .sample(sample: sample, promptIndex: promptIndex, draw: draw, text: text, finishReason: reason, step: step)
        }
    }

    /// What has begun with its work has its model, and its place. A sign of life while its model or its data is on its way is no such beginning.
    private mutating func works(_ lease: Lease) {
        guard lease.worksSince == nil else { return }
        leases[lease.lease]?.worksSince = now
        if lease.isExclusive { return snoozes.started(lease.task) }
        // A verify begins also where its model cannot be had, to say so.
        guard lease.kind == .generate, let key = lease.model else { return }
        if let time = sessions.has(lease.session, key, now: now) { modelCosts.loaded(key, milliseconds: time, now: now) }
    }

    /// Whatever a task shows, it runs, even if `started` was lost.
    private mutating func runs(_ lease: Lease) {
        guard leases.start(lease.lease, now: now) else { return }
        measureStart(lease.lease)
        emit(.started(worker: nil), under: lease.lease)
    }

    mutating func taskProgress(_ held: WorkerLease, _ progress: WorkerProgress, _ steps: [TrainingStepRecord], from address: [UInt8]) {
        let lease = heardOf(held, from: address)
        // Steps are kept also where the lease is not known here, as a checkpoint is: whether it counts is the store's to say.
        if !steps.isEmpty, lease != nil || lanes.waitingCount(.training) < settings.waitingSteps {
            let update = TrainingStepsUpdate(
                task: held.task, lease: held.lease, discardAfter: steps.map(\.step).min().map { $0 - 1 }, steps: steps)
            counters.droppedTrainingSteps += lanes.add(update, atMost: settings.waitingSteps)
        }
        guard let lease, !lease.isSettling else { return }
        if progress.phase != .loading, progress.phase != .encoding { works(lease) }
        runs(lease)
        let shown = TaskProgress(
            phase: progress.phase.rawValue, step: progress.done, numSteps: progress.total, loss: progress.loss, averageLoss: progress.averageLoss,
            tokensPerSecond: progress.tokensPerSecond)
        emit(.progress(shown), under: held.lease)
        dirtyProgress[held.lease] = ProgressUpdate(task: held.task, lease: held.lease, progress: shown.json)
    }

    // MARK: Checkpoints

    mutating func checkpoint(_ held: WorkerLease, _ step: Int, _ record: CheckpointRecord?, _ resume: [UInt8]?, from address: [UInt8]) {
        let known = heardOf(held, from: address)
        if let known {
            works(known)
            runs(known)
        }
        let checkpointID = UUIDValue.ofCheckpoint(task: held.task, step: step)
        let isRepeated = [StoreLane.training, .heldTasks].contains { lane in
            lanes.contains(lane) { if case .checkpoint(let commit, step, _) = $0 { commit.lease == held.lease } else { false } }
        }
        if isRepeated { return }
        let commit = CheckpointCommit(task: held.task, lease: held.lease, attempt: held.attempt, id: checkpointID, record: record, resume: resume)
        lanes.add(.checkpoint(commit, step: step, from: address), to: .training)
    }

    mutating func checkpointed(_ commit: CheckpointCommit, _ step: Int, from address: [UInt8], _ reply: SettlementReply) {
        switch reply.settlement {
        case .recorded, .alreadyRecorded:
            tell(address, .checkpointRecorded(lease: commit.lease, step: step, checkpoint: commit.record == nil ? nil : commit.id))
            if let record = commit.record, case .recorded = reply.settlement {
                let uri = "sha256:" + record.manifest
                emit(.checkpoint(id: commit.id, step: record.step, uri: uri, sha256: record.sha256, bytes: record.bytes), under: commit.lease)
            }
        case .stale, .fenced, .requeued: isStale(commit.task, commit.lease, tell: address)
        }
    }

    /// A checkpoint whose files are not in the store can be no row: its worker writes elsewhere, or they are gone. Anything else is repeated by its worker.
    mutating func checkpointRefused(_ commit: CheckpointCommit, from address: [UInt8], _ error: ContractError) {
        guard error.code == .notFound else { return }
        let held = WorkerLease(task: commit.task, lease: commit.lease, attempt: commit.attempt)
        let message = "a checkpoint's files are not in the artifact store: its worker must mount the same store, or none"
        // A lease that is known here ends, and its session is told so; of another the store says what it is worth.
        let lease = leases[commit.lease]
        fail(held, lease, ContractError(.internalError, message), cause: .failed, final: false, from: lease == nil ? address : nil)
    }

    // MARK: Ends

    mutating func complete(
        _ held: WorkerLease, _ generations: [GenerationRecord], _ result: [UInt8]?, _ checkpoint: UUIDValue?, from address: [UInt8]
    ) {
        // Its rows' ids carry the database's time: before that is known the worker has to say it again.
        guard clock.isSet, beginEnd(held, from: address) else { return }
        if let lease = leases[held.lease], !lease.isExclusive, let key = lease.model, let since = lease.worksSince,
            sessions[lease.session]?.models.contains(key) == true
        {
            modelCosts.ran(key, milliseconds: now - since, now: now)
        }
        let ids = generations.map { _ in random.timed(wallClock()) }
        let completion = Completion(
            task: held.task, lease: held.lease, attempt: held.attempt, result: result, generations: generations, generationIDs: ids,
            modelCheckpoint: checkpoint)
        let isTraining = checkpoint != nil || leases[held.lease]?.kind == .finetune
        lanes.add(.complete(completion, from: address), to: isTraining ? .training : .complete)
    }

    mutating func failed(_ held: WorkerLease, _ error: ContractError, final: Bool, from address: [UInt8]) {
        guard beginEnd(held, from: address) else { return }
        let cause: Failure.Cause = error.code == .timedOut ? .timedOut : .failed
        fail(held, leases[held.lease], error, cause: cause, final: final, from: address)
    }

    /// - Parameter epoch: of its session, where this broker decided so by itself.
    mutating func fail(
        _ held: WorkerLease, _ lease: Lease?, _ error: ContractError, cause: Failure.Cause, final: Bool, from address: [UInt8]?,
        epoch: Int? = nil
    ) {
        leases[held.lease]?.isSettling = true
        let delay = Backoff.milliseconds(task: held.task, failures: (lease?.failures ?? 0) + 1, settings: settings)
        let failure = Failure(
            task: held.task, lease: held.lease, attempt: held.attempt, error: error, cause: cause, final: final, delayMilliseconds: delay,
            epoch: epoch)
        note(.attemptFailed(task: held.task, attempt: held.attempt, code: error.code.rawValue, final: final))
        lanes.add(.fail(failure, from: address), to: lease?.kind == .finetune ? .training : .settle)
    }

    mutating func released(_ held: WorkerLease, _ reason: ReleaseReason, _ resume: [UInt8]?, from address: [UInt8]) {
        if reason == .draining, let session = leases[held.lease]?.session { sessions.drains(session) }
        guard beginEnd(held, from: address) else { return }
        var delay = reason == .draining ? 0 : settings.snooze
        if reason == .snooze, let lease = leases[held.lease] {
            leases[held.lease]?.wasGivenBack = true
            snoozed(lease)
            if lease.isExclusive {
                delay = snoozes.pause(held.task, first: settings.snooze, longest: settings.retryLongest)
                sessions.gaveBack(lease.session, held.task, resting: delay, patience: settings.keptFree, now: now)
            }
        }
        counters.released += 1
        note(.leaseReleased(task: held.task, lease: held.lease, why: reason.rawValue))
        let release = Release(
            task: held.task, lease: held.lease, attempt: held.attempt, reason: reason.rawValue, resume: resume, delayMilliseconds: delay)
        lanes.add(.release(release, from: address), to: leases[held.lease]?.kind == .finetune ? .training : .settle)
    }

    /// A worker gave a task back for now: where it has not got the model it takes no other of that model, else nothing at all, until it says otherwise.
    private mutating func snoozed(_ lease: Lease) {
        guard !lease.isExclusive, let key = lease.model, sessions[lease.session]?.models.contains(key) == false else {
            return sessions.isFull(lease.session)
        }
        sessions.avoid(lease.session, key, now: now)
    }

    mutating func cancelled(_ held: WorkerLease, from address: [UInt8]) {
        guard beginEnd(held, from: address) else { return }
        let reference = LeaseReference(task: held.task, lease: held.lease, session: leases[held.lease]?.session, attempt: held.attempt)
        lanes.add(.confirmCancel(reference, from: address), to: leases[held.lease]?.kind == .finetune ? .training : .settle)
    }

    /// Whether an end is to go to the store: a repetition of one that is on its way is not.
    private mutating func beginEnd(_ held: WorkerLease, from address: [UInt8]) -> Bool {
        if let lease = heardOf(held, from: address) {
            if lease.isSettling { return false }
            leases[held.lease]?.isSettling = true
            return true
        }
        return !StoreLane.ofTasks.contains { lane in lanes.contains(lane) { $0.endsLease == held.lease } }
    }

    // MARK: What the store made of it

    /// An end under a lease was settled.
    /// - Parameters:
    ///   - reported: why the attempt failed, where it did.
    ///   - address: who reported it; nil where this broker ended it itself.
    ///   - epoch: of its session, where this broker decided so by itself.
    mutating func settled(
        _ task: TaskID, _ lease: LeaseID, _ attempt: Int, error reported: ContractError? = nil, from address: [UInt8]?, epoch: Int? = nil,
        _ reply: SettlementReply
    ) {
        dependents(reply)
        switch reply.settlement {
        case .recorded(let state, let error): ended(task, lease, attempt, state, error, from: address)
        case .alreadyRecorded(let state, let error):
            if state.isTerminal {
                ended(task, lease, attempt, state, error, from: address)
            } else {
                forget(lease, tell: address)
            }
        case .requeued(let ready, let runAt): requeued(ready, runAt, lease, attempt, error: reported, from: address)
        case .stale: isStale(task, lease, tell: address)
        case .fenced: fenced(lease, inEpoch: epoch)
        }
    }

    /// The lease's session has joined another broker since: it is theirs to decide what becomes of it, or ours anew once it has come back and says so.
    private mutating func fenced(_ lease: LeaseID, inEpoch epoch: Int?) {
        guard let known = leases[lease] else { return }
        unsettle(lease, until: now)
        guard let session = sessions[known.session], session.leases.contains(lease), let epoch, session.epoch <= epoch else { return }
        forgetSession(known.session, why: "it has joined another broker since")
    }

    private mutating func ended(_ task: TaskID, _ lease: LeaseID, _ attempt: Int, _ state: TaskState, _ error: ContractError?, from address: [UInt8]?)
    {
        emitEnd(task, attempt, state, error, sequence: leases[lease]?.nextSequence)
        forget(lease, tell: address)
    }

    mutating func requeued(_ ready: ReadyTask, _ runAt: Int64, _ lease: LeaseID, _ attempt: Int, error: ContractError?, from address: [UInt8]?) {
        if error != nil { counters.retries += 1 }
        emit(
            .retrying(error: error, runAt: runAt), task: ready.task, attempt: attempt,
            sequence: leases[lease]?.nextSequence ?? nextSequence(ready.task, attempt))
        forget(lease, tell: address)
        inLine(ready, runAt: runAt)
    }

    /// The lease ended: its worker, and this table, forget it.
    private mutating func forget(_ lease: LeaseID, tell address: [UInt8]?) {
        let known = endLease(lease)
        if let address {
            tell(address, .recorded(lease: lease))
        } else if let known {
            tell(session: known.session, .stale(lease: lease))
        }
    }

    mutating func isStale(_ task: TaskID, _ lease: LeaseID, tell address: [UInt8]?) {
        let known = endLease(lease)
        if let address {
            counters.staleWrites += 1
            note(.staleWrite(task: task, lease: lease))
            tell(address, .stale(lease: lease))
        } else if let known {
            tell(session: known.session, .stale(lease: lease))
        }
    }

    /// What an end brought about elsewhere.
    mutating func dependents(_ reply: SettlementReply) {
        if reply.unblocked > 0 { lookForUnchecked() }
        for other in reply.ended { emitEnd(other.task, other.attempt, other.state, other.error, sequence: nil) }
    }

    /// A task waits again, now or from a time on.
    mutating func inLine(_ ready: ReadyTask, runAt: Int64) {
        let due = now + runAt - wallClock()
        if due <= now {
            queues.ready(ready.queue, rank: ready.rank)
            hasNewWork = true
        } else {
            timers.nextDue = min(timers.nextDue ?? due, due)
        }
    }
}
