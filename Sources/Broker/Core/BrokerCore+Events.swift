internal import TaskProtocol

/// Events: numbered within their attempt, published once, and told to those who watch.
extension BrokerCore {
    func topic(_ task: TaskID) -> [UInt8] { Array("task.\(task)".utf8) }

    /// Whether anybody, here or at another broker, is told of a task's events.
    func isFollowed(_ task: TaskID) -> Bool {
        if watchers.isWatched(task) { return true }
        let topic = topic(task)
        return subscriptions.wants(topic) || peerSubscriptions.wants(topic)
    }

    /// An event of an attempt led from here.
    mutating func emit(_ body: TaskEvent.Body, under lease: LeaseID) {
        guard let known = leases[lease] else { return }
        leases[lease]?.nextSequence += 1
        emit(body, task: known.task, attempt: known.attempt, sequence: known.nextSequence)
    }

    /// The end of a task, and of all waits for it.
    mutating func emitEnd(_ task: TaskID, _ attempt: Int, _ state: TaskState, _ error: ContractError?, sequence: Int?) {
        guard let body = Self.end(state, error) else { return }
        emit(body, task: task, attempt: attempt, sequence: sequence ?? nextSequence(task, attempt))
    }

    /// The number of an event that no lease known here numbers. Before the first start only `queued` came, as 0; later, what the broker that led the
    /// attempt had counted is not known, and the number is higher than any that it can have reached: a gap, which is what it is.
    func nextSequence(_ task: TaskID, _ attempt: Int) -> Int {
        attempt == 0 ? 1 : Int(max(0, wallClock() - task.milliseconds)) * 10
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
        let isWantedElsewhere = peerSubscriptions.wants(topic)
        guard isSubscribed || isWantedElsewhere || watchers.isWatched(task) else { return }
        let event = TaskEvent(task: task, attempt: attempt, sequence: Int64(sequence), at: wallClock(), body: body)
        if isSubscribed || isWantedElsewhere {
            let json = event.json
            if isSubscribed { actions.append(.publish(topic: topic, payload: json)) }
            if isWantedElsewhere { actions.append(.publishToPeers(topic: topic, payload: json)) }
        }
        for number in watchers.watchers(of: task) { deliver(event, to: number) }
    }

    /// Brings an event to one wait or watch.
    mutating func deliver(_ event: TaskEvent, to number: Int) {
        guard var watcher = watchers[number] else { return }
        switch (watcher.phase, watcher.kind) {
        case (.opening, .watch), (.submitting, .watch):
            if event.isTerminal { watcher.endedEarly = true }
            if watcher.early.count < 1_000 { watcher.early.append(event) }
            watchers[number] = watcher
        case (.opening, .wait), (.submitting, .wait):
            if event.isTerminal { watchers[number]?.endedEarly = true }
        case (.waiting, .watch):
            guard event.isTerminal || event.attempt != watcher.attempt || event.sequence > watcher.lastSequence else { return }
            follow(event, number)
            sendEvent(event, watcher.request)
            if event.isTerminal { endWatch(number) }
        case (.waiting, .wait):
            if event.isTerminal { closeWait(number, timedOut: false) }
        case (.closing, _): break
        }
    }

    private mutating func follow(_ event: TaskEvent, _ number: Int) {
        guard let watcher = watchers[number] else { return }
        if event.attempt >= watcher.attempt {
            watchers[number]?.attempt = event.attempt
            watchers[number]?.lastSequence = event.attempt > watcher.attempt ? event.sequence : max(watcher.lastSequence, event.sequence)
        }
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
