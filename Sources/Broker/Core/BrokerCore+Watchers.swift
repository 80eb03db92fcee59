internal import TaskProtocol

/// Waits and watches: each reads the task's status first, is told of its events, and reads the status again at the end.
extension BrokerCore {
    mutating func openWatcher(_ kind: Watcher.Kind, _ task: TaskID, _ request: RequestReference) {
        readStatus(open(kind, task, request), task)
    }

    /// - Returns: the watcher's number.
    private mutating func open(_ kind: Watcher.Kind, _ task: TaskID, _ request: RequestReference) -> Int {
        if !watchers.isWatched(task) { interest(topic(task), isAdded: true) }
        return watchers.open(kind, request, task: task)
    }

    @discardableResult
    private mutating func close(_ number: Int) -> Watcher? {
        guard let watcher = watchers.close(number) else { return nil }
        if !watchers.isWatched(watcher.task) { interest(topic(watcher.task), isAdded: false) }
        return watcher
    }

    private mutating func readStatus(_ number: Int, _ task: TaskID) {
        lanes.add(.read(StatusRead(ids: [task], results: true, purpose: .watcher(number))), to: .results)
    }

    // MARK: A watch that comes with its submit

    /// Opens it before the task is stored, so that no event of a fast worker, of whichever broker, comes before it.
    mutating func openSubmitWatch(_ task: TaskID, _ request: RequestReference) -> Int {
        let number = open(.watch, task, request)
        watchers[number]?.phase = .submitting
        watchers[number]?.isAnswered = true
        return number
    }

    /// The submit was refused: nothing is to be watched.
    mutating func closeSubmitWatch(_ number: Int?) { if let number { close(number) } }

    /// The task is stored and the reply, which is the watch's first status, is sent.
    /// - Returns: events that came meanwhile; the task's `queued` goes before them.
    mutating func beginSubmitWatch(_ number: Int, _ task: SubmittedTask, _ request: RequestReference) -> [TaskEvent] {
        guard let watcher = watchers[number] else { return [] }
        if isDraining {
            endWatch(number)
            refuse(request, Self.shuttingDown)
            return []
        }
        if task.duplicate {
            close(number)
            let other = open(.watch, task.id, request)
            watchers[other]?.isAnswered = true
            readStatus(other, task.id)
            return []
        }
        watchers[number]?.phase = .waiting
        watchers[number]?.state = task.state
        watchers[number]?.early = []
        return watcher.early
    }

    mutating func unwatch(_ id: RequestID, _ request: RequestReference) {
        guard let number = watchers.watch(of: request.address.client, id: id) else {
            return refuse(request, ContractError(.notFound, "no watch of this client has this request id", field: "watch"))
        }
        endWatch(number)
        answer(request, .done)
    }

    /// A client that takes nothing loses its watches; `get` and `wait` still answer it later.
    mutating func clientLost(_ client: [UInt8]) {
        for number in watchers.watches(of: client) where watchers[number]?.phase != .submitting { endWatch(number) }
    }

    /// Ends waits and watches with an error.
    mutating func endWatches(_ numbers: [Int], _ error: ContractError) {
        for number in numbers where watchers[number]?.phase != .submitting {
            guard let watcher = close(number) else { continue }
            finish(watcher.request, error)
        }
    }

    /// Ends a wait or watch without a word.
    mutating func endWatch(_ number: Int) {
        if let watcher = close(number) { clients.end(watcher.request.address) }
    }

    /// A wait is over: it is answered with the status as it is then.
    mutating func closeWait(_ number: Int, timedOut: Bool) {
        guard let watcher = watchers[number] else { return }
        watchers[number]?.phase = .closing(timedOut: timedOut)
        readStatus(number, watcher.task)
    }

    mutating func closeOverdueWaits() {
        for number in watchers.takeOverdue(now: now) {
            switch watchers[number]?.phase {
            case .waiting where !isStoreAway: closeWait(number, timedOut: true)
            // The status is on its way: it will be the answer, the deadline being over.
            case .opening where !isStoreAway: break
            case .waiting, .opening:
                guard let watcher = close(number) else { continue }
                finish(watcher.request, ContractError(.unavailable, "the database is away: ask again"))
            case .closing, .submitting, nil: break
            }
        }
    }

    // MARK: What was read

    mutating func statusesRead(_ works: [StoreWork], _ statuses: [TaskStatus]) {
        var rest = statuses[...]
        for work in works {
            guard case .read(let read) = work else { continue }
            let mine = Array(rest.prefix(read.ids.count))
            rest = rest.dropFirst(read.ids.count)
            switch read.purpose {
            case .get(let request): finish(request, .statuses(mine))
            case .watcher(let number): if let status = mine.first { statusRead(status, number) }
            }
        }
    }

    private mutating func statusRead(_ status: TaskStatus, _ number: Int) {
        guard let watcher = watchers[number] else { return }
        watchers[number]?.state = status.state
        watchers[number]?.attempt = status.attempt
        switch (watcher.kind, watcher.phase) {
        case (.wait, .closing(let timedOut)):
            // It ended and was queued anew by somebody's retry before it was read.
            if !timedOut, !status.state.isTerminal { return waitOpened(watcher, status) }
            close(number)
            finish(watcher.request, .status(status, timedOut: !status.state.isTerminal))
        case (.wait, _): waitOpened(watcher, status)
        case (.watch, _): watchOpened(watcher, status)
        }
    }

    private mutating func waitOpened(_ watcher: Watcher, _ status: TaskStatus) {
        guard case .wait(let deadline) = watcher.kind else { return }
        if status.state.isTerminal || deadline <= now {
            close(watcher.number)
            return finish(watcher.request, .status(status, timedOut: !status.state.isTerminal))
        }
        watchers[watcher.number]?.phase = .waiting
        watchers[watcher.number]?.endedEarly = false
        if watcher.endedEarly { closeWait(watcher.number, timedOut: false) }
    }

    private mutating func watchOpened(_ watcher: Watcher, _ status: TaskStatus) {
        if !watcher.isAnswered { answer(watcher.request, .status(status, timedOut: false)) }
        let error = status.error.flatMap { ContractError(json: $0) }
        watchers[watcher.number]?.early = []
        watchers[watcher.number]?.phase = .waiting
        if let end = Self.end(status.state, error), !watcher.early.contains(where: \.isTerminal) {
            let sequence = nextSequence(status.id, status.attempt)
            deliver(TaskEvent(task: status.id, attempt: status.attempt, sequence: Int64(sequence), at: wallClock(), body: end), to: watcher.number)
            return
        }
        for event in watcher.early { deliver(event, to: watcher.number) }
    }

    /// A status could not be read.
    mutating func readRefused(_ read: StatusRead, _ error: ContractError) {
        switch read.purpose {
        case .get(let request): finish(request, error)
        case .watcher(let number):
            guard let watcher = watchers[number] else { return }
            if error.code == .unavailable, case .closing(let timedOut) = watcher.phase, !timedOut, !watcher.isOverdue(now) {
                // The task has ended; the answer waits for the database.
                watchers[number]?.phase = .waiting
                return
            }
            close(number)
            var error = error
            if error.code == .notFound { error.field = "task" }
            finish(watcher.request, error)
        }
    }

    // MARK: Tasks led from elsewhere

    /// Looks at tasks that somebody waits for and that no worker of ours runs: what a broken link between brokers hides reaches us so, a second late.
    mutating func lookElsewhere() {
        guard isReady, !lanes.isBusy(.outlines) else { return }
        let leases = leases
        let tasks = watchers.takeElsewhere(except: { leases.lease(of: $0) != nil }, limit: 10_000)
        if !tasks.isEmpty { lanes.add(.outlines(tasks), to: .outlines) }
    }

    mutating func outlinesRead(_ outlines: [TaskOutline?]) {
        for case let outline? in outlines where leases.lease(of: outline.id) == nil {
            for number in watchers.watchers(of: outline.id) { follow(outline, number) }
        }
    }

    private mutating func follow(_ outline: TaskOutline, _ number: Int) {
        guard let watcher = watchers[number], watcher.phase == .waiting, let body = news(outline, watcher) else { return }
        // An attempt begins with its start, numbered 0: told here, it is not told again by the broker that leads it.
        let isStart = if case .started = body { true } else { false }
        let sequence = isStart ? 0 : Int64(nextSequence(outline.id, outline.attempt))
        deliver(TaskEvent(task: outline.id, attempt: outline.attempt, sequence: sequence, at: wallClock(), body: body), to: number)
    }

    private func news(_ outline: TaskOutline, _ watcher: Watcher) -> TaskEvent.Body? {
        if let end = Self.end(outline.state, outline.error) { return end }
        switch (watcher.state, outline.state) {
        case (.queued, .running): return .started(worker: nil)
        case (.running, .queued): return .retrying(error: outline.error, runAt: nil)
        case (.running, .running): return outline.attempt > watcher.attempt ? .started(worker: nil) : nil
        default: return nil
        }
    }
}
