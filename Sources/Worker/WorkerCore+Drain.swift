import TaskProtocol

/// working → draining → gone.
enum DrainState: Sendable, Equatable {
    case working
    /// No new work. Generates may end until `deadline`, what is left then goes back; at `last` the process ends in any case.
    case draining(deadline: Milliseconds, last: Milliseconds)
    /// Everything is said.
    case gone
}

/// Leaving in order: tasks not yet started go back first, generates may end, a finetune saves its state and goes back.
extension WorkerCore {
    /// How long ends may stay unanswered after the deadline before the process leaves them to the lapse of its session.
    private static let graceMilliseconds: Milliseconds = 5000
    /// A finetune of a large model may need this long to write its state.
    private static let savingMilliseconds: Milliseconds = 60_000

    /// How long a worker may take to leave that was given so many seconds for its generates: whoever stops it waits for as long before it kills.
    package static func longestDrainSeconds(_ drainTimeoutSeconds: Double) -> Double {
        drainTimeoutSeconds + Double(graceMilliseconds + savingMilliseconds) / 1000
    }

    mutating func beginDrain(now: Milliseconds, into actions: inout [WorkerAction]) {
        guard drain == .working else { return }
        let deadline = now + settings.drainMilliseconds
        drain = .draining(deadline: deadline, last: deadline + Self.graceMilliseconds)
        // Before anything goes back, or it would be granted here again until the next heartbeat.
        link.hasten(now: now)
        for task in tasks.waiting {
            tasks.end(task.held.lease, with: .release(task.held, reason: .draining, ran: false, resume: task.grant?.resume))
        }
        for task in tasks.running where task.demand == .everything { stop(task.held.lease, .draining, into: &actions) }
    }

    mutating func advanceDrain(now: Milliseconds, into actions: inout [WorkerAction]) {
        guard case .draining(let deadline, _) = drain, now >= deadline else { return }
        for task in tasks.running { stop(task.held.lease, .draining, into: &actions) }
    }

    /// Says goodbye once no lease is held; a finetune that is still saving keeps the process until its bound.
    mutating func exitIfDone(now: Milliseconds, into actions: inout [WorkerAction]) {
        guard case .draining(_, let last) = drain else { return }
        guard tasks.isEmpty || now >= last && (tasks.running.isEmpty || now >= last + Self.savingMilliseconds) else { return }
        if let joined = link.joined, tasks.isEmpty { actions.append(.send(joined, .goodbye(session: settings.registration.session))) }
        if let current = link.current { actions.append(.disconnect(current)) }
        actions.append(.exit)
        drain = .gone
    }
}
