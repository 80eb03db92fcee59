internal import TaskProtocol

/// Events: numbered within their attempt, published once, and told to those who watch.
extension BrokerCore {
    func topic(_ task: TaskID) -> [UInt8] { Array("task.\(task)".utf8) }

    /// An event of an attempt led from here.
    mutating func emit(_ body: TaskEvent.Body, under lease: LeaseID) {
        guard let known = leases[lease] else { return }
        leases[lease]?.nextSequence += 1
        emit(body, task: known.task, attempt: known.attempt, sequence: known.nextSequence)
    }

    /// The end of a task, and of all waits for it.
    mutating func emitEnd(_ task: TaskID, _ attempt: Int, _ state: TaskState, _ error: ContractError?, sequence: Int?) {
        guard let body = Self.end(state, error) else { return }
        emit(body, task: task, attempt: attempt, sequence: sequence ?? foreignSequence(task))
    }

    /// The event that says that a task has ended so; nil where it has not.
    static func end(_ state: TaskState, _ error: ContractError?) -> TaskEvent.Body? {
        switch state {
        case .queued, .running: nil
        case .succeeded: .succeeded
        case .failed: .failed(error ?? ContractError(.internalError, "the attempt failed"))
        case .cancelled: .cancelled
        }
    }

    mutating func emit(_ body: TaskEvent.Body, task: TaskID, attempt: Int, sequence: Int) {
        let topic = topic(task)
        let isSubscribed = subscriptions.wants(topic)
        guard isSubscribed || watchers.isWatched(task) else { return }
        let event = TaskEvent(task: task, attempt: attempt, sequence: Int64(sequence), at: wallClock(), body: body)
        if isSubscribed {
            actions.append(.publish(topic: topic, payload: event.json))
        }
        for number in watchers.watchers(of: task) { deliver(event, to: number) }
    }

    /// Brings an event to one wait or watch.
    mutating func deliver(_ event: TaskEvent, to number: Int) {
        guard var watcher = watchers[number] else { return }
        switch (watcher.phase, watcher.kind) {
        case (.opening, .watch):
            if event.isTerminal { watcher.endedEarly = true }
            if watcher.early.count < 1_000 { watcher.early.append(event) }
            watchers[number] = watcher
        case (.opening, .wait):
            if event.isTerminal { watchers[number]?.endedEarly = true }
        case (.waiting, .watch):
            follow(event, number)
            sendEvent(event, watcher.request)
            if event.isTerminal { endWatch(number) }
        case (.waiting, .wait):
            if event.isTerminal { closeWait(number, timedOut: false) }
        case (.closing, _): break
        }
    }

    private mutating func follow(_ event: TaskEvent, _ number: Int) {
        let seen = watchers[number]?.attempt ?? 0
        watchers[number]?.attempt = max(seen, event.attempt)
        switch event.body {
        case .started, .token, .sample, .progress, .checkpoint: watchers[number]?.state = .running
        case .retrying, .queued: watchers[number]?.state = .queued
        default: break
        }
    }

    mutating func sendEvent(_ event: TaskEvent, _ request: RequestReference) {
        let isDroppable = if case .token = event.body { true } else { false }
        answer(request, .event(event), isDroppable: isDroppable)
    }
}
