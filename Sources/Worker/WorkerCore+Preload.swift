import TaskProtocol

/// Models that are taken into memory before a task asks for them.
///
/// The worker takes tasks meanwhile: they and their drain come first. A task that is to have the worker to itself is never beside a preload: one that
/// comes while the engine is at it goes back (`snooze`), and no preload begins while such a task waits or runs.
extension WorkerCore {
    /// What time and the joined broker ask for, after every event.
    mutating func advancePreloads(now: Milliseconds, into actions: inout [WorkerAction]) {
        guard drain == .working, !preloads.isDone else { return }
        if let joined = link.joined {
            let session = settings.registration.session
            preloads.dueQuestions(now: now) { actions.append(.send(joined, .resolve(session: session, number: $0, model: $1))) }
        }
        guard !tasks.holdsEverything(except: false) else { return }
        for preload in preloads.takeFound() { actions.append(.preload(preload)) }
    }

    /// A broker says which model a preload means, or that it cannot.
    mutating func resolved(
        _ number: Int, _ answer: Result<ResolvedModel, ContractError>, now: Milliseconds, into actions: inout [WorkerAction]
    ) {
        if let note = preloads.resolved(number, answer, now: now) { actions.append(.note(note)) }
    }

    /// The engine says how a preload ended.
    mutating func preloaded(_ number: Int, _ fault: ContractError?, now: Milliseconds, into actions: inout [WorkerAction]) {
        let note = if let fault { preloads.failed(number, why: fault.message, now: now) } else { preloads.loaded(number) }
        guard let note else { return }
        actions.append(.note(note))
        // Whoever waited for the readiness sends tasks at once: they are to come where their model is.
        link.hasten(now: now)
    }
}
