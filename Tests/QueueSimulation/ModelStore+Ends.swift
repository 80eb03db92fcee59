internal import TaskProtocol

/// What somebody writes about a task under a lease.
protocol LeaseBound {
    var task: TaskID { get }
    var lease: LeaseID { get }
}

extension Completion: LeaseBound {}
extension Failure: LeaseBound {}
extension Release: LeaseBound {}
extension LeaseReference: LeaseBound {}

/// Writes under leases, and the ends of tasks.
extension ModelStore {
    private func holder(_ id: TaskID, _ lease: LeaseID, _ by: Mutation?) -> ModelTask? {
        guard let task = tasks[id], task.lease == lease || isUnguarded(task, by) else { return nil }
        return task
    }

    private func isUnguarded(_ task: ModelTask, _ write: Mutation?) -> Bool { write != nil && mutation == write && !task.endings.isEmpty }

    /// Ends a task.
    /// - Parameter ending: how the attempt under its lease ended; nil where it has none.
    mutating func finish(_ old: ModelTask, _ state: TaskState, _ ending: String?, _ error: ContractError?) -> Settlement {
        var task = old
        if let lease = task.lease, let ending { task.endings[lease] = ending }
        task.finalLease = task.lease
        task.state = state
        task.error = error
        // No two ends are of one moment, as in PostgreSQL, where a transaction stands between them.
        ends += 1
        task.endedAt = now * 1_000 + ends
        task.block = nil
        task.parents = []
        (task.lease, task.session) = (nil, nil)
        write(task)
        return .recorded(state, error)
    }

    /// Puts a leased task back in line: at its old place, or where a pause ends.
    /// - Parameter begun: false where its worker gave it back unbegun.
    mutating func requeue(_ old: ModelTask, _ ending: String, delay: Int64, begun: Bool = true, keepsPlace: Bool = false) -> Settlement {
        var task = old
        if begun, task.numerics.isEmpty, let session = task.session { task.numerics = numerics[session] ?? [] }
        if let lease = task.lease { task.endings[lease] = ending }
        task.lastEnd = now
        task.state = .queued
        (task.lease, task.session) = (nil, nil)
        if delay > 0 {
            task.runAt = now + delay
            if !keepsPlace { task.rank = ModelTask.rank(task.runAt, task.priority) }
            task.block = .due
        }
        write(task)
        return .requeued(ReadyTask(task: task.id, queue: task.queue, rank: task.rank), runAtMilliseconds: task.runAt)
    }

    private mutating func late(_ id: TaskID, _ lease: LeaseID, success: Bool) -> SettlementReply {
        guard var task = tasks[id], let ending = task.endings[lease] else {
            staleWrites += 1
            return SettlementReply(settlement: .stale)
        }
        let isSame = success ? ending == "succeeded" : !["succeeded", "lost", "superseded"].contains(ending)
        if isSame, task.finalLease == lease { return SettlementReply(settlement: .alreadyRecorded(task.state, task.error)) }
        if isSame, !success, task.state == .queued {
            let ready = ReadyTask(task: id, queue: task.queue, rank: task.rank)
            return SettlementReply(settlement: .requeued(ready, runAtMilliseconds: task.runAt))
        }
        // It did run to its end, for nothing.
        if success, ["lost", "released", "timed_out"].contains(ending) {
            task.endings[lease] = "superseded"
            write(task)
        }
        staleWrites += 1
        return SettlementReply(settlement: .stale)
    }

    /// Does what comes under present leases, in its order, then looks up the rest among what was recorded before, or just now.
    /// - Parameters:
    ///   - success: whether the writes are completions.
    ///   - write: one write; nil where its lease is not the task's.
    mutating func settle<Write: LeaseBound>(
        _ writes: [Write], success: Bool, _ write: (inout ModelStore, Write) -> SettlementReply?
    ) -> [SettlementReply] {
        let replies = writes.map { write(&self, $0) }
        return zip(writes, replies).map { $1 ?? late($0.task, $0.lease, success: success) }
    }

    mutating func complete(_ completion: Completion) -> SettlementReply? {
        guard var task = holder(completion.task, completion.lease, .completionUnderOldLease) else { return nil }
        task.recorded += 1
        task.generations += completion.generations
        task.generationIDs += completion.generationIDs
        return withDependents(finish(task, .succeeded, "succeeded", nil), of: task.id)
    }

    /// Whether a broker decided so by itself before the session that holds the lease joined another.
    private func isFenced(_ task: ModelTask, _ lease: LeaseID, _ epoch: Int?) -> Bool {
        guard let epoch, task.lease == lease, mutation != .decisionOfFormerBroker else { return false }
        return epoch < task.session.flatMap { sessions[$0]?.epoch } ?? 0
    }

    mutating func fail(_ failure: Failure) -> SettlementReply? {
        guard var task = holder(failure.task, failure.lease, .failureUnderOldLease) else { return nil }
        if isFenced(task, failure.lease, failure.epoch) { return SettlementReply(settlement: .fenced) }
        if task.cancelRequested { return withDependents(finish(task, .cancelled, failure.cause.rawValue, nil), of: task.id) }
        task.failures += 1
        if failure.final || task.failures >= task.maxAttempts {
            return withDependents(finish(task, .failed, failure.cause.rawValue, failure.error), of: task.id)
        }
        return SettlementReply(settlement: requeue(task, failure.cause.rawValue, delay: failure.delayMilliseconds))
    }

    /// Resume states are saved first: they are true whatever becomes of the release.
    mutating func release(_ releases: [Release]) -> [SettlementReply] {
        for release in releases {
            guard let resume = release.resume, var task = holder(release.task, release.lease, .releaseUnderOldLease) else { continue }
            task.saveResume(resume)
            write(task)
        }
        return settle(releases, success: false) { $0.release($1) }
    }

    private mutating func release(_ release: Release) -> SettlementReply? {
        guard let task = holder(release.task, release.lease, .releaseUnderOldLease) else { return nil }
        if isFenced(task, release.lease, release.epoch) { return SettlementReply(settlement: .fenced) }
        if task.cancelRequested { return withDependents(finish(task, .cancelled, "released", nil), of: task.id) }
        return SettlementReply(
            settlement: requeue(
                task, "released", delay: release.delayMilliseconds, begun: release.reason == "draining", keepsPlace: release.reason == "snooze"))
    }

    mutating func confirmCancel(_ reference: LeaseReference) -> SettlementReply? {
        guard let task = holder(reference.task, reference.lease, nil) else { return nil }
        guard task.cancelRequested else { return SettlementReply(settlement: requeue(task, "released", delay: 0, begun: false)) }
        return withDependents(finish(task, .cancelled, "cancelled", nil), of: task.id)
    }

    mutating func checkpoint(_ commit: CheckpointCommit) -> SettlementReply {
        guard var task = holder(commit.task, commit.lease, .checkpointUnderOldLease) else { return SettlementReply(settlement: .stale) }
        if let resume = commit.resume { task.saveResume(resume) }
        if let record = commit.record { task.checkpoints[commit.id] = record.step }
        write(task)
        return SettlementReply(settlement: .recorded(.running, nil))
    }

    // MARK: Those that wait for others

    static let dependencyError = ContractError(.dependencyFailed, "a task that it waits for did not succeed", field: "after")

    private mutating func withDependents(_ settlement: Settlement, of id: TaskID) -> SettlementReply {
        guard case .recorded(let state, _) = settlement else { return SettlementReply(settlement: settlement) }
        let dependents = settleDependents(of: [(id, state)])
        return SettlementReply(settlement: settlement, unblocked: dependents.unblocked, ended: dependents.ended)
    }

    /// What ends bring to those that wait: they are handed to the brokers' check, or end with all that wait for them in turn.
    mutating func settleDependents(of ends: [(task: TaskID, state: TaskState)]) -> (unblocked: Int, ended: [EndedTask]) {
        var unblocked = 0
        var ended: [EndedTask] = []
        var pending = ends[...]
        while let (parent, state) = pending.popFirst() {
            for child in tasks.values.filter({ $0.parents.contains(parent) }).sorted(by: { $0.id < $1.id }) {
                if state == .succeeded {
                    unblocked += letGo(child) ? 1 : 0
                } else {
                    _ = finish(child, .failed, nil, Self.dependencyError)
                    ended.append(EndedTask(task: child.id, attempt: child.attempt, state: .failed, error: Self.dependencyError))
                    pending.append((child.id, .failed))
                }
            }
        }
        return (unblocked, ended)
    }

    /// Hands a task to the brokers' check if all that it waits for have succeeded.
    mutating func letGo(_ old: ModelTask) -> Bool {
        guard old.block == .after, old.parents.allSatisfy({ tasks[$0]?.state == .succeeded }) else { return false }
        var task = old
        task.block = .check
        task.parents = []
        write(task)
        return true
    }
}
