internal import TaskProtocol

/// Cancelling, trying again and reading.
extension ModelStore {
    mutating func cancel(_ ids: [TaskID]) -> StoreReply {
        if let index = ids.firstIndex(where: { tasks[$0] == nil }) { return Self.unknown(index) }
        let before = ids.compactMap { tasks[$0] }
        var ended = Set<TaskID>()
        for id in Set(ids).sorted() {
            guard var task = tasks[id] else { continue }
            if task.state == .queued {
                _ = finish(task, .cancelled, nil, nil)
                ended.insert(id)
            } else if task.state == .running {
                task.cancelRequested = true
                write(task)
            }
        }
        _ = settleDependents(of: ended.sorted().map { ($0, .cancelled) })
        return .cancelled(
            before.map { task in
                let isEnded = ended.contains(task.id)
                let running = task.lease.map { LeaseReference(task: task.id, lease: $0, session: task.session, attempt: task.attempt) }
                return CancelReply(
                    task: task.id, state: isEnded ? .cancelled : task.state, attempt: task.attempt, changed: isEnded, running: running)
            })
    }

    private static func unknown(_ index: Int) -> StoreReply {
        .refused(ContractError(.notFound, "there is no such task", field: "ids[\(index)]"))
    }

    mutating func retry(_ ends: [SeenEnd]) -> StoreReply {
        for end in ends {
            guard var task = tasks[end.task], task.state == .failed || task.state == .cancelled else { continue }
            guard mutation == .retryOfAnotherEnd || (task.attempt == end.attempt && task.endedAt == end.endedAt) else { continue }
            (task.state, task.failures, task.losses, task.finalLease, task.error, task.cancelRequested) = (.queued, 0, 0, nil, nil, false)
            (task.runAt, task.rank, task.endedAt) = (now, ModelTask.rank(now, task.priority), nil)
            task.block = task.resolved == nil ? .check : nil
            task.retries += 1
            write(task, isRetry: true)
        }
        return .retried(ends.compactMap { tasks[$0.task].map(outline) })
    }

    func outline(_ task: ModelTask) -> TaskOutline {
        TaskOutline(
            id: task.id, kind: task.kind.rawValue, queue: task.queue, state: task.state, attempt: task.attempt, error: task.error,
            endedAt: task.endedAt)
    }

    func get(_ ids: [TaskID]) -> StoreReply {
        var statuses: [TaskStatus] = []
        for (index, id) in ids.enumerated() {
            guard let task = tasks[id] else { return Self.unknown(index) }
            statuses.append(
                TaskStatus(
                    id: id, kind: task.kind.rawValue, queue: task.queue, state: task.state, priority: task.priority, key: task.key,
                    attempt: task.attempt, runAt: task.state.isTerminal ? task.askedRunAt : task.runAt, createdAt: task.createdAt,
                    params: task.params, error: task.error?.json))
        }
        return .statuses(statuses)
    }
}
