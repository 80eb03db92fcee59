import QueueSimulation
import TaskProtocol
import Worker

/// What must hold, whatever goes wrong.
extension SimulatedWorld {
    /// Does a request and looks at what it did: nothing is recorded under a lease that is not current, no session ends that has beaten meanwhile,
    /// nothing is completed twice, and what has ended stays so, but for a retry of that very end.
    func perform(_ request: StoreRequest) -> StoreReply {
        // A copy that is kept makes the next write copy, too: only where it is looked at.
        let before = isWatched(request) ? store : nil
        let reply = store.perform(request, now: Self.databaseEpoch + now)
        switch (request, reply) {
        case (.complete(let completions), .completed(let replies)):
            for (completion, reply) in zip(completions, replies) { recorded(completion.task, completion.lease, reply, before) }
        case (.checkpoint(let commits), .settled(let replies)):
            for (commit, reply) in zip(commits, replies) { recorded(commit.task, commit.lease, reply, before) }
        case (.sweep(let dead), .swept(let swept)):
            for session in dead where swept.ended.contains(session.session) && before?.sessions[session.session]?.counter != session.counter {
                faults.append("a session was swept that had beaten since it was looked at")
            }
        case (.retry(let ends), _):
            for end in ends where store.tasks[end.task]?.retries != before?.tasks[end.task]?.retries {
                guard before?.tasks[end.task]?.endedAt != end.endedAt else { continue }
                faults.append("a retry undid an end of task \(end.task) that it had not seen")
            }
        default: break
        }
        faults += store.takeFaults()
        return reply
    }

    private func isWatched(_ request: StoreRequest) -> Bool {
        switch request {
        case .complete, .checkpoint, .sweep, .retry: true
        default: false
        }
    }

    private func recorded(_ task: TaskID, _ lease: LeaseID, _ reply: SettlementReply, _ before: ModelStore?) {
        guard case .recorded = reply.settlement, before?.tasks[task]?.lease != lease else { return }
        faults.append("task \(task) was written under a lease that was not current")
    }

    var isOver: Bool {
        client.isSettled && store.allEnded && workers.allSatisfy { !$0.isUp || $0.core.leases.isEmpty }
    }

    func finalFaults() -> [String] {
        var faults: [String] = []
        if !client.isSettled { faults.append("a client was never answered, or never heard of its task's end") }
        for id in client.accepted + published where store.tasks[id] == nil { faults.append("the accepted task \(id) is lost") }
        for task in store.tasks.values {
            if !task.state.isTerminal { faults.append("task \(task.id) is \(task.state) at the end, attempt \(task.attempt)") }
            if task.recorded > 1 || (task.recorded == 1) != (task.state == .succeeded) {
                faults.append("task \(task.id) is \(task.state) and was completed \(task.recorded) times")
            }
            if task.retries > retriesAsked[task.id] ?? 0 {
                faults.append("task \(task.id) was retried \(task.retries) times, asked \(retriesAsked[task.id] ?? 0)")
            }
            if task.failures > task.maxAttempts { faults.append("task \(task.id) failed \(task.failures) of \(task.maxAttempts) times") }
            if task.state == .succeeded, task.kind == .generate, let texts = client.texts(of: task.id), task.generations.count != texts {
                faults.append("task \(task.id) has \(task.generations.count) texts, not \(texts)")
            }
        }
        if store.tasks.count > client.count + published.count { faults.append("\(store.tasks.count) tasks of \(client.count) keys") }
        for (index, worker) in workers.enumerated() where worker.isUp && !worker.core.leases.isEmpty {
            faults.append("worker \(index) still holds \(worker.core.leases.count) leases")
        }
        return faults
    }

    /// One number for the whole history: equal seeds and plans give equal ones.
    var fingerprint: UInt64 {
        store.tasks.values.sorted { $0.id < $1.id }.reduce(UInt64(bitPattern: now)) { digest, task in
            (digest ^ task.id.hi ^ task.id.lo &+ UInt64(task.attempt)) &* 0x9E37_79B9_7F4A_7C15
        }
    }
}
