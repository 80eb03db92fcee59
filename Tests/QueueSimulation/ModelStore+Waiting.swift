internal import Encodings
internal import TaskProtocol

/// What nobody has checked yet, and what has come due.
extension ModelStore {
    func unchecked(after: TaskID? = nil, _ limit: Int) -> [UncheckedTask] {
        tasks.values.filter { task in task.block == .check && after.map { $0 < task.id } ?? true }.sorted { $0.id < $1.id }.prefix(limit).map {
            UncheckedTask(
                id: $0.id, given: Self.given($0), isMisfit: $0.publishedPriority != nil, seed: $0.seed, seedAssigned: $0.seedAssigned)
        }
    }

    /// The task's map, as a client would have sent it.
    private static func given(_ task: ModelTask) -> [UInt8] {
        var map: JSONObject = [
            "kind": .string(task.kind.rawValue), "queue": .string(task.queue), "priority": .integer(Int64(task.publishedPriority ?? task.priority)),
            "run_at": .string(Timestamp.text(milliseconds: task.askedRunAt)), "max_attempts": .integer(Int64(task.maxAttempts)),
        ]
        if let key = task.key { map["key"] = .string(key) }
        if let timeout = task.timeoutSeconds { map["timeout_s"] = .real(timeout) }
        if !task.after.isEmpty { map["after"] = .array(task.after.map { .string($0.description) }) }
        return Array("{\"params\":".utf8) + task.params + [UInt8(ascii: ",")] + JSONValue.object(map).serialised.dropFirst()
    }

    /// Looks at all that is waited for as it stood before the batch; what ends with the ends of the batch is settled after them.
    mutating func adopt(_ adoptions: [Adoption]) -> AdoptReply {
        let states = tasks.filter { $0.value.state.isTerminal }.mapValues(\.state)
        var reply = AdoptReply(ready: [], ended: [])
        for adoption in adoptions {
            guard let task = tasks[adoption.task], task.block == .check, !heldTasks.contains(task.id) else { continue }
            switch adoption {
            case .accept(_, let parameters, let after, let seed, let assigned):
                if let error = accept(task, parameters, after, states, (seed, assigned), &reply) { end(task, error, &reply) }
            case .reject(_, let error): end(task, error, &reply)
            }
        }
        reply.ended += settleDependents(of: reply.ended.map { ($0.task, $0.state) }).ended
        return reply
    }

    private mutating func end(_ task: ModelTask, _ error: ContractError, _ reply: inout AdoptReply) {
        _ = finish(task, .failed, nil, error)
        reply.ended.append(EndedTask(task: task.id, attempt: task.attempt, state: .failed, error: error))
    }

    /// - Parameter states: of those that had ended.
    /// - Returns: what ends the task.
    private mutating func accept(
        _ old: ModelTask, _ parameters: TaskParameters, _ after: [TaskID], _ states: [TaskID: TaskState], _ seed: (value: Int64?, assigned: Bool),
        _ reply: inout AdoptReply
    ) -> ContractError? {
        var task = old
        if let missing = after.firstIndex(where: { tasks[$0] == nil }) { return Self.unknownParent(missing) }
        if after.contains(where: { states[$0] == .failed || states[$0] == .cancelled }) { return Self.dependencyError }
        guard after.allSatisfy({ states[$0] == .succeeded }) else {
            (task.block, task.parents) = (.after, Set(after))
            write(task)
            reply.setAside += 1
            return nil
        }
        if let error = unknownName(parameters) { return error }
        (task.seed, task.seedAssigned) = seed
        if task.resolved == nil { pin(&task, parameters) }
        task.parents = []
        task.block = task.runAt > max(now, task.createdAt) ? .due : nil
        write(task)
        if task.block == nil {
            reply.ready.append(ReadyTask(task: task.id, queue: task.queue, rank: task.rank))
        } else {
            reply.setAside += 1
        }
        return nil
    }

    // MARK: Due

    mutating func dueSweep() -> DueReply {
        let ready = wakeDue()
        let ended = settleBlocked()
        let line = tasks.values.filter(\.isInLine)
        let queues = Dictionary(grouping: line, by: \.queue).map { name, tasks in
            WaitingQueue(name: name, oldestRank: tasks.map(\.rank).min() ?? 0, paused: false, maxRunning: nil)
        }
        return DueReply(
            databaseMilliseconds: now, ready: ready, ended: ended, nextDueMilliseconds: tasks.values.filter { $0.block == .due }.map(\.runAt).min(),
            unchecked: tasks.values.count { $0.block == .check }, queues: queues.sorted { $0.name < $1.name }, cancels: cancels { _ in true })
    }

    private mutating func wakeDue() -> [ReadyTask] {
        var ready: [ReadyTask] = []
        for var task in tasks.values.filter({ $0.block == .due && $0.runAt <= now }).sorted(by: { $0.id < $1.id }) {
            task.block = nil
            write(task)
            ready.append(ReadyTask(task: task.id, queue: task.queue, rank: task.rank))
        }
        return ready
    }

    /// Those that came to wait for a task after it had ended.
    private mutating func settleBlocked() -> [EndedTask] {
        var ended: [EndedTask] = []
        for id in tasks.values.filter({ $0.block == .after }).map(\.id).sorted() {
            guard let task = tasks[id], task.block == .after else { continue }
            if task.parents.contains(where: { tasks[$0]?.state == .failed || tasks[$0]?.state == .cancelled }) {
                _ = finish(task, .failed, nil, Self.dependencyError)
                ended.append(EndedTask(task: id, attempt: task.attempt, state: .failed, error: Self.dependencyError))
                ended += settleDependents(of: [(id, .failed)]).ended
            } else {
                _ = letGo(task)
            }
        }
        return ended
    }

    mutating func endBackoffs(_ longest: Int64) -> StoreReply {
        for var task in tasks.values where task.block == .due && task.attempt > 0 && task.runAt > now + longest {
            (task.runAt, task.rank) = (now, task.rank + now - task.runAt)
            write(task)
        }
        return .done
    }

    /// Time passes for those whose time is ahead, as a test's hand lets it pass in PostgreSQL.
    package mutating func bringForward(milliseconds: Int64) {
        for var task in tasks.values where task.block == .due {
            task.runAt -= milliseconds
            task.rank -= milliseconds
            write(task)
        }
    }
}
