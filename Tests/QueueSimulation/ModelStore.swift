internal import Encodings
package import TaskProtocol

/// The store as a model: the seam's promises in memory, in as few words as possible, for simulation.
///
/// It answers like PostgreSQL behind `TaskStore`: each request is one transaction, a write under a lease that is not the task's changes nothing, a
/// request sent again finds what it did before.
package struct ModelStore: Sendable {
    package private(set) var tasks: [TaskID: ModelTask] = [:]
    package private(set) var sessions: [SessionID: (counter: Int64, broker: BrokerID)] = [:]
    package private(set) var brokers: [BrokerID: BrokerRow] = [:]
    /// Models that can be named.
    package var models: Set<String> = ["demo"]
    /// Writes under old leases so far.
    package private(set) var staleWrites = 0
    private var keys: [String: TaskID] = [:]
    private var now: Int64 = 0
    private var unended = 0
    private var faults: [String] = []
    private let mutation: Mutation?

    /// - Parameter mutation: a guard to leave out, so that a test can see it missed.
    package init(mutation: Mutation? = nil) { self.mutation = mutation }

    /// Whether every task has ended.
    package var allEnded: Bool { unended == 0 }

    /// What was written that must never be, since this was last asked.
    package mutating func takeFaults() -> [String] {
        if faults.isEmpty { return [] }
        defer { faults = [] }
        return faults
    }

    private mutating func write(_ task: ModelTask, isRetry: Bool = false) {
        let old = tasks.updateValue(task, forKey: task.id)
        unended += (task.state.isTerminal ? 0 : 1) - (old.map { $0.state.isTerminal ? 0 : 1 } ?? 0)
        guard let old else { return }
        if let before = old.lease, let after = task.lease, before != after { faults.append("task \(task.id) was leased while it was leased") }
        if old.state.isTerminal, old.state != task.state, !isRetry { faults.append("task \(task.id) was \(old.state) and became \(task.state)") }
        if task.recorded > 1 { faults.append("task \(task.id) was completed \(task.recorded) times") }
    }

    /// Does one request.
    /// - Parameter now: the database's time.
    package mutating func perform(_ request: StoreRequest, now: Int64) -> StoreReply {
        self.now = now
        switch request {
        case .submit(let groups): return .submitted(groups.map { submit($0) })
        case .claim(let claim): return .claimed(self.claim(claim))
        case .beat(let beat): return .beaten(self.beat(beat))
        case .sweep(let dead): return .swept(sweep(dead))
        case .registerBroker(let registration):
            brokers[registration.id] = BrokerRow(
                id: registration.id, counter: brokers[registration.id]?.counter ?? 0, peersEndpoint: registration.endpoints["peers"],
                publicKey: registration.publicKey)
            return .done
        case .endBroker(let id):
            brokers[id] = nil
            return .done
        case .markIdle: return .done
        case .registerSession(let registration):
            sessions[registration.session] = ((sessions[registration.session]?.counter ?? 0) + 1, registration.broker)
            return .done
        case .endSession(let id): return .swept(end([id], lost: false))
        case .leases(let ids): return .leases(leases(of: ids))
        case .complete(let completions): return .completed(completions.map { complete($0) })
        case .fail(let failures): return .settled(failures.map { fail($0) })
        case .release(let releases): return .settled(releases.map { release($0) })
        case .confirmCancel(let references): return .settled(references.map { confirmCancel($0) })
        case .cancel(let ids): return cancel(ids)
        case .retry(let ids): return retry(ids)
        case .progress, .trainingSteps: return .done
        case .checkpoint(let commits): return .settled(commits.map { checkpoint($0) })
        case .get(let ids, _): return get(ids)
        case .states(let ids): return .outlines(ids.map { tasks[$0].map(outline) })
        case .models, .registerModel: return .models([])
        case .datasets, .registerDataset: return .datasets([])
        case .administer(.schedules): return .administered(.schedules([]))
        case .administer: return .administered(.queues([]))
        case .unchecked(let limit): return .unchecked(unchecked(limit))
        case .adopt(let adoptions): return .adopted(adopt(adoptions))
        case .dueSweep: return .due(dueSweep())
        // Its clock is never set.
        case .endBackoffs: return .done
        // Its history has no months.
        case .retain: return .retained(RetentionReply())
        case .figures: return .figures([])
        case .durability: return .durability(Durability(synchronousCommit: "on", synchronousStandbys: [], xminAge: 0, xminAgeSeconds: 0))
        }
    }

    // MARK: Submit

    private mutating func submit(_ group: SubmitGroup) -> SubmitOutcome {
        for (index, item) in group.items.enumerated() {
            if let error = refusal(item) { return .refused(item: index, error: error) }
        }
        return .accepted(group.items.map { insert($0, client: group.client) })
    }

    private func refusal(_ item: SubmitItem) -> ContractError? {
        if case .generate(let parameters) = item.submission.parameters, !models.contains(parameters.model) {
            return ContractError(.notFound, "there is no such model", field: "params.model")
        }
        if let index = item.submission.after.firstIndex(where: { tasks[$0] == nil }) {
            return ContractError(.notFound, "there is no such task", field: "after[\(index)]")
        }
        return nil
    }

    private mutating func insert(_ item: SubmitItem, client: String) -> SubmittedTask {
        let submission = item.submission
        if let key = submission.key.map({ "\(submission.queue)/\($0)" }) {
            if let first = keys[key], first != item.id, mutation != .keyOfManyTasks { return submitted(first, duplicate: true, offer: nil) }
            keys[key] = item.id
        }
        // An id that stands already was inserted by the same request before.
        if let task = tasks[item.id], !(mutation == .endedTaskInsertedAgain && task.state.isTerminal) {
            return submitted(item.id, duplicate: false, offer: item.grant)
        }
        let runAt = submission.runAt ?? now
        var task = ModelTask(
            id: item.id, kind: submission.kind, queue: submission.queue, priority: submission.priority, maxAttempts: submission.maxAttempts,
            timeoutSeconds: submission.timeoutSeconds, params: submission.submittedParams, createdAt: now, runAt: runAt,
            rank: runAt - Int64(submission.priority) * 60_000)
        task.after = submission.after
        task.client = client
        task.parameters = submission.parameters
        (task.seed, task.seedAssigned) = (item.seed, item.seedAssigned)
        if submission.after.isEmpty { task.resolved = resolve(submission.parameters, item.seed, item.seedAssigned) }
        if let offer = item.grant, sessions[offer.session] != nil || mutation == .leaseWithoutSession, task.isInLine(at: now) {
            Self.lease(&task, offer.lease, offer.session)
        }
        write(task)
        return submitted(item.id, duplicate: false, offer: item.grant)
    }

    private func submitted(_ id: TaskID, duplicate: Bool, offer: GrantOffer?) -> SubmittedTask {
        guard let task = tasks[id] else { return SubmittedTask(id: id, state: .queued, duplicate: duplicate, queue: "", rank: 0) }
        let grant = task.lease != nil && task.lease == offer?.lease ? self.grant(task, waited: 0) : nil
        return SubmittedTask(id: id, state: task.state, duplicate: duplicate, queue: task.queue, rank: task.rank, grant: grant)
    }

    private func resolve(_ parameters: TaskParameters, _ seed: Int64?, _ assigned: Bool) -> [UInt8] {
        var model: ResolvedModel?
        if case .generate(let generate) = parameters {
            model = ResolvedModel(
                name: generate.model, checkpoint: UUIDValue(hi: 1, lo: 1), sha256: String(repeating: "1", count: 64),
                manifest: String(repeating: "2", count: 64), tokenizerSHA256: String(repeating: "3", count: 64), contextLength: 1_024,
                lineByLine: false)
        }
        return ResolvedTask(parameters: parameters, seed: seed ?? 1, seedAssigned: assigned, model: model).json
    }

    /// Publishes a task as `scriptorium.submit()` does: unchecked.
    /// - Parameter priority: where out of range, it is kept beside the task as it was given.
    package mutating func publish(_ id: TaskID, params: [UInt8], priority: Int = 0, now: Int64) {
        let fits = (-100...100).contains(priority)
        var task = ModelTask(
            id: id, kind: .generate, queue: "default", priority: fits ? priority : 0, maxAttempts: 3, params: params, createdAt: now, runAt: now,
            rank: now - Int64(fits ? priority : 0) * 60_000)
        task.publishedPriority = fits ? nil : priority
        write(task)
    }

    // MARK: Leases

    private static func lease(_ task: inout ModelTask, _ lease: LeaseID, _ session: SessionID) {
        task.attempt += 1
        task.state = .running
        (task.lease, task.session) = (lease, session)
        task.isolated = task.losses >= 2
    }

    private func grant(_ task: ModelTask, waited: Int64? = nil) -> Grant {
        Grant(
            task: task.id, lease: task.lease ?? UUIDValue(hi: 0, lo: 0), session: task.session ?? UUIDValue(hi: 0, lo: 0), attempt: task.attempt,
            failures: task.failures, kind: task.kind, queue: task.queue, isolated: task.isolated, maxAttempts: task.maxAttempts,
            timeoutSeconds: task.timeoutSeconds, resolved: task.resolved ?? [], resume: task.resume,
            waitedMilliseconds: waited)
    }

    private mutating func claim(_ request: ClaimRequest) -> ClaimReply {
        let from = request.fromRank ?? Int64.min
        let line = tasks.values.filter { task in
            let isFree = task.isInLine(at: now) || (mutation == .claimOfRunningTask && task.state == .running)
            return task.queue == request.queue && isFree && task.rank >= from
        }.sorted {
            ($0.rank, $0.id) < ($1.rank, $1.id)
        }
        let window = Array(line.prefix(request.limit))
        let isExhausted = window.count < request.limit
        let known = Set(window.map(\.client))
        let farther = isExhausted || !request.looksFarther ? [] : line.dropFirst(request.limit).prefix(10_000).filter { !known.contains($0.client) }
        let all = window + farther.prefix(request.leases.count)
        let dealt = FairShare.order(all.map(\.client), after: request.lastClient).map { all[$0] }
        let offers = request.offers.filter { sessions[$0.session] != nil || mutation == .leaseWithoutSession }
        let places = Placement.assign(
            candidates: dealt.map { PlacementCandidate(task: $0.id, kind: $0.kind, model: nil, isolated: $0.losses >= 2) }, offers: offers)
        var grants: [Grant] = []
        var lastClient: String?
        for (candidate, place) in zip(dealt, places) {
            guard let place, grants.count < request.leases.count, var task = tasks[candidate.id] else { continue }
            Self.lease(&task, request.leases[grants.count], offers[place].session)
            write(task)
            grants.append(grant(task, waited: max(0, now - task.runAt)))
            lastClient = task.client
        }
        let granted = Set(grants.map(\.task))
        return ClaimReply(
            queue: request.queue, grants: grants, exhausted: isExhausted,
            lowWater: window.first { !granted.contains($0.id) }?.rank ?? window.last?.rank ?? request.fromRank,
            unplaced: window.count { !granted.contains($0.id) }, heldBack: false, lastClient: lastClient)
    }

    private func leases(of ids: [SessionID]) -> [HeldLease] {
        let wanted = Set(ids)
        return tasks.values.filter { $0.lease != nil && $0.session.map(wanted.contains) ?? false }.sorted { $0.id < $1.id }
            .map { HeldLease(grant: grant($0), cancelRequested: $0.cancelRequested) }
    }

    private mutating func beat(_ beat: BeatRequest) -> BeatReply {
        var unknown: [SessionID] = []
        for entry in beat.sessions {
            guard let counter = sessions[entry.session]?.counter else {
                unknown.append(entry.session)
                continue
            }
            sessions[entry.session] = (counter + 1, beat.broker)
        }
        let mine = Set(beat.sessions.map(\.session))
        let isKnown = brokers[beat.broker] != nil
        brokers[beat.broker]?.counter += 1
        return BeatReply(
            databaseMilliseconds: now, unknown: unknown,
            counters: sessions.sorted { $0.key < $1.key }.map { SessionCounter(session: $0.key, counter: $0.value.counter, broker: $0.value.broker) },
            cancels: cancels { mine.contains($0) }, brokerKnown: isKnown,
            brokers: brokers.values.sorted { $0.id < $1.id })
    }

    private func cancels(_ isWanted: (SessionID) -> Bool) -> [LeaseReference] {
        tasks.values.sorted { $0.id < $1.id }.compactMap { task in
            guard task.cancelRequested, let lease = task.lease, let session = task.session, isWanted(session) else { return nil }
            return LeaseReference(task: task.id, lease: lease, session: session, attempt: task.attempt)
        }
    }

    private mutating func sweep(_ dead: [DeadSession]) -> SweepReply {
        end(dead.filter { mutation == .sweepOfBeatingSession || sessions[$0.session]?.counter == $0.counter }.map(\.session), lost: true)
    }

    private mutating func end(_ ids: [SessionID], lost: Bool) -> SweepReply {
        var reply = SweepReply(ended: [], settled: [])
        for id in ids where sessions.removeValue(forKey: id) != nil {
            reply.ended.append(id)
            if mutation == .sessionEndedWithoutItsLeases { continue }
            for task in tasks.values.filter({ $0.session == id && $0.lease != nil }).sorted(by: { $0.id < $1.id }) {
                let reference = LeaseReference(task: task.id, lease: task.lease ?? task.id, session: id, attempt: task.attempt)
                reply.settled.append(SettledLease(reference: reference, settlement: lose(task, lost: lost)))
            }
        }
        return reply
    }

    private mutating func lose(_ old: ModelTask, lost: Bool) -> Settlement {
        var task = old
        let counted = lost && task.isolated
        if counted { task.failures += 1 }
        if lost { task.losses += 1 }
        let ending = lost ? "lost" : "released"
        if task.cancelRequested { return finish(task, .cancelled, ending, nil) }
        if counted && task.failures >= task.maxAttempts { return finish(task, .failed, ending, ContractError(.lost, "its workers died")) }
        return requeue(task, ending, delay: 0)
    }

    // MARK: Ends

    private func holder(_ id: TaskID, _ lease: LeaseID, _ by: Mutation?) -> ModelTask? {
        guard let task = tasks[id], task.lease == lease || isUnguarded(task, by) else { return nil }
        return task
    }

    private func isUnguarded(_ task: ModelTask, _ write: Mutation?) -> Bool { write != nil && mutation == write && !task.endings.isEmpty }

    private mutating func finish(_ old: ModelTask, _ state: TaskState, _ ending: String, _ error: ContractError?) -> Settlement {
        var task = old
        if let lease = task.lease { task.endings[lease] = ending }
        task.finalLease = task.lease
        task.state = state
        task.error = error
        (task.lease, task.session) = (nil, nil)
        write(task)
        return .recorded(state, error)
    }

    private mutating func requeue(_ old: ModelTask, _ ending: String, delay: Int64) -> Settlement {
        var task = old
        if let lease = task.lease { task.endings[lease] = ending }
        task.state = .queued
        (task.lease, task.session) = (nil, nil)
        task.runAt = now + delay
        task.rank = task.runAt - Int64(task.priority) * 60_000
        write(task)
        return .requeued(ReadyTask(task: task.id, queue: task.queue, rank: task.rank), runAtMilliseconds: task.runAt)
    }

    private mutating func late(_ id: TaskID, _ lease: LeaseID, success: Bool) -> SettlementReply {
        guard let task = tasks[id], let ending = task.endings[lease] else {
            staleWrites += 1
            return SettlementReply(settlement: .stale)
        }
        let isSame = success ? ending == "succeeded" : ending != "succeeded" && ending != "lost"
        if isSame, task.finalLease == lease { return SettlementReply(settlement: .alreadyRecorded(task.state, task.error)) }
        if isSame, !success, task.state == .queued {
            let ready = ReadyTask(task: id, queue: task.queue, rank: task.rank)
            return SettlementReply(settlement: .requeued(ready, runAtMilliseconds: task.runAt))
        }
        staleWrites += 1
        return SettlementReply(settlement: .stale)
    }

    private mutating func complete(_ completion: Completion) -> SettlementReply {
        guard var task = holder(completion.task, completion.lease, .completionUnderOldLease) else {
            return late(completion.task, completion.lease, success: true)
        }
        task.recorded += 1
        task.generations += completion.generations
        return withDependents(finish(task, .succeeded, "succeeded", nil), of: task.id)
    }

    private mutating func fail(_ failure: Failure) -> SettlementReply {
        guard var task = holder(failure.task, failure.lease, .failureUnderOldLease) else { return late(failure.task, failure.lease, success: false) }
        if task.cancelRequested { return withDependents(finish(task, .cancelled, failure.cause.rawValue, nil), of: task.id) }
        task.failures += 1
        if failure.final || task.failures >= task.maxAttempts {
            return withDependents(finish(task, .failed, failure.cause.rawValue, failure.error), of: task.id)
        }
        return SettlementReply(settlement: requeue(task, failure.cause.rawValue, delay: failure.delayMilliseconds))
    }

    private mutating func release(_ release: Release) -> SettlementReply {
        guard var task = holder(release.task, release.lease, .releaseUnderOldLease) else { return late(release.task, release.lease, success: false) }
        if let resume = release.resume { task.resume = resume }
        if task.cancelRequested { return withDependents(finish(task, .cancelled, "released", nil), of: task.id) }
        return SettlementReply(settlement: requeue(task, "released", delay: release.delayMilliseconds))
    }

    private mutating func confirmCancel(_ reference: LeaseReference) -> SettlementReply {
        guard let task = holder(reference.task, reference.lease, nil) else { return late(reference.task, reference.lease, success: false) }
        guard task.cancelRequested else { return SettlementReply(settlement: requeue(task, "released", delay: 0)) }
        return withDependents(finish(task, .cancelled, "cancelled", nil), of: task.id)
    }

    private mutating func checkpoint(_ commit: CheckpointCommit) -> SettlementReply {
        guard var task = holder(commit.task, commit.lease, .checkpointUnderOldLease) else { return SettlementReply(settlement: .stale) }
        if let resume = commit.resume { task.resume = resume }
        write(task)
        return SettlementReply(settlement: .recorded(.running, nil))
    }

    /// What an end brings to those that wait for it.
    private mutating func withDependents(_ settlement: Settlement, of id: TaskID) -> SettlementReply {
        var reply = SettlementReply(settlement: settlement)
        for child in tasks.values.filter({ $0.after.contains(id) && $0.state == .queued }).sorted(by: { $0.id < $1.id }) {
            let parents = child.after.compactMap { tasks[$0]?.state }
            if parents.contains(.failed) || parents.contains(.cancelled) {
                let error = ContractError(.dependencyFailed, "a task that it waits for did not succeed")
                _ = finish(child, .failed, "", error)
                reply.ended.append(EndedTask(task: child.id, attempt: child.attempt, state: .failed, error: error))
            } else if parents.allSatisfy({ $0 == .succeeded }) {
                reply.unblocked += 1
            }
        }
        return reply
    }

    // MARK: Cancel, retry, reading

    private mutating func cancel(_ ids: [TaskID]) -> StoreReply {
        if let index = ids.firstIndex(where: { tasks[$0] == nil }) {
            return .refused(ContractError(.notFound, "there is no such task", field: "ids[\(index)]"))
        }
        return .cancelled(
            ids.compactMap { id in
                guard var task = tasks[id] else { return nil }
                var changed = false
                if task.state == .queued {
                    _ = finish(task, .cancelled, "", nil)
                    changed = true
                } else if task.state == .running {
                    task.cancelRequested = true
                    write(task)
                }
                let lease = tasks[id]?.lease
                let running = lease.map { LeaseReference(task: id, lease: $0, session: task.session, attempt: task.attempt) }
                return CancelReply(task: id, state: tasks[id]?.state ?? .cancelled, attempt: task.attempt, changed: changed, running: running)
            })
    }

    private mutating func retry(_ ids: [TaskID]) -> StoreReply {
        for (index, id) in ids.enumerated() {
            guard let task = tasks[id] else { return .refused(ContractError(.notFound, "there is no such task", field: "ids[\(index)]")) }
            if task.state == .succeeded { return .refused(ContractError(.conflict, "it succeeded", field: "ids[\(index)]")) }
        }
        for id in ids {
            guard var task = tasks[id], task.state.isTerminal else { continue }
            (task.state, task.failures, task.finalLease, task.error, task.cancelRequested) = (.queued, 0, nil, nil, false)
            (task.runAt, task.rank) = (now, now)
            write(task, isRetry: true)
        }
        return .retried(ids.compactMap { tasks[$0].map(outline) })
    }

    private func outline(_ task: ModelTask) -> TaskOutline {
        TaskOutline(id: task.id, kind: task.kind.rawValue, queue: task.queue, state: task.state, attempt: task.attempt, error: task.error)
    }

    private func get(_ ids: [TaskID]) -> StoreReply {
        var statuses: [TaskStatus] = []
        for (index, id) in ids.enumerated() {
            guard let task = tasks[id] else { return .refused(ContractError(.notFound, "there is no such task", field: "ids[\(index)]")) }
            statuses.append(
                TaskStatus(
                    id: id, kind: task.kind.rawValue, queue: task.queue, state: task.state, attempt: task.attempt, runAt: task.runAt,
                    createdAt: task.createdAt, params: task.params, error: task.error?.json))
        }
        return .statuses(statuses)
    }

    // MARK: What nobody has checked yet, and what has come due

    private func unchecked(_ limit: Int) -> [UncheckedTask] {
        tasks.values.filter { $0.state == .queued && $0.resolved == nil && parentsSucceeded($0) }.sorted { $0.id < $1.id }.prefix(limit).map {
            let params = String(decoding: $0.params, as: UTF8.self)
            let given = "{\"kind\":\"\($0.kind.rawValue)\",\"params\":\(params),\"priority\":\($0.publishedPriority ?? $0.priority)}"
            return UncheckedTask(
                id: $0.id, given: Array(given.utf8), isMisfit: $0.publishedPriority != nil, seed: $0.seed, seedAssigned: $0.seedAssigned)
        }
    }

    private func parentsSucceeded(_ task: ModelTask) -> Bool { task.after.allSatisfy { tasks[$0]?.state == .succeeded } }

    private mutating func adopt(_ adoptions: [Adoption]) -> AdoptReply {
        var reply = AdoptReply(ready: [], ended: [])
        for adoption in adoptions {
            switch adoption {
            case .accept(let id, let parameters, _, let seed, let assigned):
                guard var task = tasks[id], task.state == .queued else { continue }
                if task.resolved == nil { task.resolved = resolve(parameters, seed, assigned) }
                write(task)
                reply.ready.append(ReadyTask(task: id, queue: task.queue, rank: task.rank))
            case .reject(let id, let error):
                guard let task = tasks[id], task.state == .queued, task.resolved == nil else { continue }
                _ = finish(task, .failed, "", error)
                reply.ended.append(EndedTask(task: id, attempt: task.attempt, state: .failed, error: error))
            }
        }
        return reply
    }

    private func dueSweep() -> DueReply {
        let line = tasks.values.filter { $0.isInLine(at: now) }
        let queues = Dictionary(grouping: line, by: \.queue).map { name, tasks in
            WaitingQueue(name: name, oldestRank: tasks.map(\.rank).min() ?? 0, paused: false, maxRunning: nil)
        }
        let next = tasks.values.filter { $0.state == .queued && $0.runAt > now }.map(\.runAt).min()
        return DueReply(
            databaseMilliseconds: now, ready: [], ended: [], nextDueMilliseconds: next, unchecked: unchecked(.max).count,
            queues: queues.sorted { $0.name < $1.name }, cancels: cancels { _ in true })
    }
}
