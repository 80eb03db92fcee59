package import TaskProtocol

/// The store as a model: the seam's promises in memory, in as few words as possible, for simulation.
///
/// It answers like PostgreSQL behind `TaskStore`: each request is one transaction, a write under a lease that is not the task's changes nothing, a
/// request sent again finds what it did before. The conformance suite (Tests/TaskStoreTests/Conformance) holds the two to the same answers. What it
/// does not model: settings of queues, schedules, retention, results as they are read, and the database's own ways to be busy.
package struct ModelStore: Sendable {
    package private(set) var tasks: [TaskID: ModelTask] = [:]
    package internal(set) var sessions: [SessionID: ModelSession] = [:]
    /// As they stood when they were ended.
    var endedSessions: [SessionID: ModelSession] = [:]
    /// What they compute in; kept when they are gone.
    var numerics: [SessionID: [String]] = [:]
    package internal(set) var brokers: [BrokerID: BrokerRow] = [:]
    /// Models that can be named.
    package var models: Set<String> = ["demo"]
    /// Keys that transactions of others hold open now.
    package var heldKeys: Set<String> = []
    /// Tasks whose rows transactions of others hold locked now: what is published in SQL and held is not checked, and claims pass over what is held.
    package var heldTasks: Set<TaskID> = []
    /// Writes under old leases so far.
    package internal(set) var staleWrites = 0
    /// The first task of each queue and key.
    var keys: [QueueKey: TaskID] = [:]
    var now: Int64 = 0
    /// Ends so far.
    var ends: Int64 = 0
    private var unended = 0
    private var faults: [String] = []
    let mutation: Mutation?

    package struct ModelSession: Sendable {
        package var counter: Int64
        package var broker: BrokerID
        package var epoch: Int
        package var publicKey: String?
    }

    struct QueueKey: Hashable {
        var queue: String
        /// Its bytes: Swift takes a composed and a decomposed "é" for equal, PostgreSQL does not.
        var key: [UInt8]
    }

    /// - Parameter mutation: a guard to leave out, so that a test can see it missed.
    package init(mutation: Mutation? = nil) { self.mutation = mutation }

    /// Whether every task has ended.
    package var allEnded: Bool { unended == 0 }

    /// Tasks that wait in line.
    package var waiting: [TaskID] { tasks.values.filter(\.isInLine).map(\.id).sorted() }

    /// What was written that must never be, since this was last asked.
    package mutating func takeFaults() -> [String] {
        if faults.isEmpty { return [] }
        defer { faults = [] }
        return faults
    }

    mutating func write(_ task: ModelTask, isRetry: Bool = false) {
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
        case .submit(let groups):
            guard groups.contains(where: isHeld) else { return .submitted(submit(groups)) }
            return groups.count > 1 ? .failed(.busy) : .submitted([.busy])
        case .submitPatiently(let group, _): return .submitted(isHeld(group) ? [.busy] : submit([group]))
        case .claim(let claim): return .claimed(self.claim(claim))
        case .beat(let beat): return .beaten(self.beat(beat))
        case .sweep(let dead): return .swept(sweep(dead))
        case .registerBroker(let registration): return register(registration)
        case .endBroker(let id):
            brokers[id] = nil
            return .done
        case .markIdle(let id, let isIdle):
            brokers[id]?.isIdle = isIdle
            return .done
        case .registerSession(let registration): return register(registration)
        case .endSession(let id): return .swept(end([id], lost: false))
        case .leases(let ids): return .leases(leases(of: ids))
        case .complete(let completions): return .completed(settle(completions, success: true) { $0.complete($1) })
        case .fail(let failures): return .settled(settle(failures, success: false) { $0.fail($1) })
        case .release(let releases): return .settled(release(releases))
        case .confirmCancel(let references): return .settled(settle(references, success: false) { $0.confirmCancel($1) })
        case .cancel(let ids): return cancel(ids)
        case .retry(let ends): return retry(ends)
        case .progress, .trainingSteps: return .done
        case .checkpoint(let commits): return .settled(commits.map { checkpoint($0) })
        case .get(let ids, _): return get(ids)
        case .states(let ids): return .outlines(ids.map { tasks[$0].map(outline) })
        // Nothing is told of lives here.
        case .explain: return .refused(ContractError(.notFound, "there is no such task", field: "task"))
        case .resolveModels(let references): return .resolvedModels(references.map(resolve))
        case .models, .registerModel: return .models([])
        case .datasets, .registerDataset: return .datasets([])
        case .administer(.schedules): return .administered(.schedules([]))
        case .administer: return .administered(.queues([]))
        case .unchecked(let after, let limit):
            let tasks = unchecked(after: after, limit)
            return .unchecked(tasks, isCut: tasks.count >= limit)
        case .adopt(let adoptions): return .adopted(adopt(adoptions))
        case .dueSweep: return .due(dueSweep())
        case .endBackoffs(let longest): return endBackoffs(longest)
        // Its history has no months.
        case .retain: return .retained(RetentionReply())
        case .figures: return .figures([])
        case .durability: return .durability(Durability(synchronousCommit: "on", synchronousStandbys: [], xminAge: 0, xminAgeSeconds: 0))
        }
    }
}
