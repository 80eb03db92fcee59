import TaskProtocol

/// What the engine says, and what becomes of it.
extension WorkerCore {
    mutating func engine(_ report: EngineReport, now: Milliseconds, into actions: inout [WorkerAction]) {
        switch report {
        case .models(let digests): models = digests
        case .preloaded(let number, let fault): preloaded(number, fault, now: now, into: &actions)
        case .loadingLong(let isLong):
            // Whoever waits for room here is told at once that there is some.
            if isLoadingLong, !isLong { link.hasten(now: now) }
            isLoadingLong = isLong
        case .makingRoom(let isMaking): makesRoom(isMaking, now: now)
        case .unfit(_, let fault): becomeUnfit(fault, now: now)
        default: break
        }
        guard let lease = report.lease else { return }
        guard let task = tasks[lease], task.isRunning else { return settleAbandoned(report) }
        switch report {
        case .models, .preloaded, .loadingLong, .makingRoom: break
        case .started:
            fitness.started()
            tasks.markStarted(lease)
            tell(.started(task.held), into: &actions)
        case .remaining(_, let sequences): tasks.shrink(lease, to: sequences)
        case .events(_, let events): tell(.event(task.held, events: events), into: &actions)
        case .progress(_, let progress, let steps):
            tasks.note(lease, progress, steps)
            if let joined = link.joined, let message = tasks.takeProgress(lease) { actions.append(.send(joined, message)) }
        case .checkpoint(_, let step, let record, let resume):
            tasks.addCheckpoint(lease, .checkpoint(task.held, step: step, record: record, resume: resume), step: step)
        case .finished(_, let generations, let result):
            tasks.end(lease, with: .complete(task.held, generations: generations, result: result, checkpoint: nil))
        case .failed(_, let error, let final): tasks.end(lease, with: .failed(task.held, error: error, final: final))
        case .stopped(_, let resume): stopped(task, resume: resume)
        case .snoozed, .unfit: snoozed(task)
        }
    }

    /// A task that was told to stop has stopped: the reason says how it ends.
    private mutating func stopped(_ task: HeldTask, resume: [UInt8]?) {
        let lease = task.held.lease
        switch tasks.stopping(lease) {
        case .cancelled: tasks.end(lease, with: .cancelled(task.held))
        case .timedOut:
            let limit = task.timeoutSeconds.map { "\($0)" } ?? "?"
            let error = ContractError(code: .timedOut, message: "the attempt took longer than its timeout_s of \(limit) seconds", field: nil)
            tasks.end(lease, with: .failed(task.held, error: error, final: false))
        case .draining, .stale, nil: tasks.end(lease, with: .release(task.held, reason: .draining, ran: true, resume: resume))
        }
    }

    /// A task that was told to stop before it was found that it cannot run here now ends as it was told to.
    private mutating func snoozed(_ task: HeldTask) {
        guard tasks.stopping(task.held.lease) == nil else { return stopped(task, resume: task.grant?.resume) }
        tasks.end(task.held.lease, with: .release(task.held, reason: .snooze, ran: false, resume: task.grant?.resume))
    }

    /// The engine's last word about a task whose lease was lost frees its slots.
    private mutating func settleAbandoned(_ report: EngineReport) {
        switch report {
        case .finished(let lease, _, _), .failed(let lease, _, _), .stopped(let lease, _), .snoozed(let lease), .unfit(let lease, _):
            tasks.engineForgot(lease)
        default: break
        }
    }

    /// Sends what is not worth repeating: without a broker it is dropped.
    private func tell(_ message: WorkerMessage, into actions: inout [WorkerAction]) {
        if let joined = link.joined { actions.append(.send(joined, message)) }
    }
}
