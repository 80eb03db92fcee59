import QueueSimulation
import TaskProtocol
import Worker

/// What must hold, whatever goes wrong.
extension SimulatedWorld {
    /// Does a request and looks at what it did: nothing is recorded under a lease that is not current, no session ends that has beaten meanwhile,
    /// nothing is completed twice, what has ended stays so, but for a retry of that very end, and no broker ends by itself what a worker runs that has
    /// joined another.
    func perform(_ request: StoreRequest) -> StoreReply {
        let before = witness(request)
        let reply = store.perform(request, now: Self.databaseEpoch + now)
        switch (request, reply, before) {
        case (.complete(let completions), .completed(let replies), .leases(let leases)):
            for (completion, (reply, lease)) in zip(completions, zip(replies, leases)) { recorded(completion.task, completion.lease, reply, lease) }
        case (.checkpoint(let commits), .settled(let replies), .leases(let leases)):
            for (commit, (reply, lease)) in zip(commits, zip(replies, leases)) { recorded(commit.task, commit.lease, reply, lease) }
        case (.fail(let failures), .settled(let replies), .homes(let homes)):
            for (failure, (reply, home)) in zip(failures, zip(replies, homes)) { decided(failure.task, failure.epoch, reply, home) }
        case (.release(let releases), .settled(let replies), .homes(let homes)):
            for (release, (reply, home)) in zip(releases, zip(replies, homes)) {
                decided(release.task, release.epoch, reply, home)
                givenBack(release, reply)
            }
        case (.sweep(let dead), .swept(let swept), .counters(let counters)):
            for (session, counter) in zip(dead, counters) where swept.ended.contains(session.session) && counter != session.counter {
                faults.append("a session was swept that had beaten since it was looked at")
            }
        case (.retry(let ends), _, .ends(let tasks)):
            for (end, task) in zip(ends, tasks) where store.tasks[end.task]?.retries != task.retries && task.endedAt != end.endedAt {
                faults.append("a retry undid an end of task \(end.task) that it had not seen")
            }
        default: break
        }
        faults += store.takeFaults()
        return reply
    }

    /// What a request is judged by, as it stood before it.
    private enum Witness {
        case nothing
        /// Of the tasks that are written about.
        case leases([LeaseID?])
        /// The epochs of the workers that hold what a broker is to end by itself.
        case homes([Int?])
        /// Of the sessions that are to be swept.
        case counters([Int64?])
        /// Of the tasks that are to be retried.
        case ends([(retries: Int?, endedAt: Int64?)])
    }

    private func witness(_ request: StoreRequest) -> Witness {
        switch request {
        case .complete(let completions): .leases(completions.map { store.tasks[$0.task]?.lease })
        case .checkpoint(let commits): .leases(commits.map { store.tasks[$0.task]?.lease })
        case .fail(let failures): .homes(failures.map { $0.epoch == nil ? nil : home($0.task, $0.lease) })
        case .release(let releases): .homes(releases.map { $0.epoch == nil ? nil : home($0.task, $0.lease) })
        case .sweep(let dead): .counters(dead.map { store.sessions[$0.session]?.counter })
        case .retry(let ends): .ends(ends.map { (store.tasks[$0.task]?.retries, store.tasks[$0.task]?.endedAt) })
        default: .nothing
        }
    }

    private func recorded(_ task: TaskID, _ lease: LeaseID, _ reply: SettlementReply, _ current: LeaseID?) {
        guard case .recorded = reply.settlement, current != lease else { return }
        faults.append("task \(task) was written under a lease that was not current")
    }

    /// In which epoch the worker was welcomed that holds a lease which stands.
    private func home(_ task: TaskID, _ lease: LeaseID) -> Int? {
        guard store.tasks[task]?.lease == lease else { return nil }
        let holder = workers.first { $0.isUp && $0.core.pointee.leases.contains { $0.lease == lease } }
        return holder?.core.pointee.joined.map { Int($0.number) }
    }

    private func decided(_ task: TaskID, _ epoch: Int?, _ reply: SettlementReply, _ home: Int?) {
        guard let epoch, let home, reply.settlement != .fenced, epoch < home else { return }
        faults.append("task \(task) was taken from a worker by a broker that it had left for another")
    }

    /// A worker says that it joins, and what it holds.
    func lists(_ registration: WorkerRegistration) {
        let leases = Set(registration.leases.map(\.lease))
        listed[Joining(session: registration.session, epoch: registration.epoch), default: leases].formIntersection(leases)
    }

    /// What a worker listed as it joined was not lost on its way there, whatever its broker thought before.
    private func givenBack(_ release: Release, _ reply: SettlementReply) {
        guard let epoch = release.epoch, case .requeued = reply.settlement else { return }
        let joinings = workers.compactMap { $0.isUp ? Joining(session: $0.core.pointee.settings.registration.session, epoch: epoch) : nil }
        if joinings.contains(where: { listed[$0]?.contains(release.lease) ?? false }) {
            faults.append("task \(release.task) was given back as undelivered by the broker that its worker had told of it")
        }
    }

    /// No worker is told to drop a task that the store still holds for it: it would stand idle until somebody finds it out.
    func toldStale(_ lease: LeaseID) {
        for task in store.tasks.values where task.lease == lease {
            faults.append("lease \(lease) of task \(task.id) stands, and its worker was told that it is lost")
        }
    }

    var isOver: Bool {
        (now > fate.troubleUntil ? client.isSettled : client.isContent && published.count == fate.weather.published) && store.allEnded
            && workers.allSatisfy { !$0.isUp || $0.core.pointee.leases.isEmpty && $0.core.pointee.hasPreloaded }
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
        for (index, worker) in workers.enumerated() where worker.isUp && !worker.core.pointee.leases.isEmpty {
            faults.append("worker \(index) still holds \(worker.core.pointee.leases.count) leases")
        }
        for (index, worker) in workers.enumerated() where worker.isUp && !worker.core.pointee.hasPreloaded {
            faults.append("worker \(index) is not ready: \(worker.core.pointee.snapshot.preloadsOutstanding)")
        }
        return faults
    }

    /// One number for the whole history: equal seeds and plans give equal ones.
    var fingerprint: UInt64 {
        store.tasks.values.sorted { $0.id < $1.id }.reduce(UInt64(bitPattern: now)) { digest, task in
            let life = UInt64(task.attempt) &+ UInt64(bitPattern: task.endedAt ?? 0) << 8
            return (digest ^ task.id.hi ^ task.id.lo &+ life) &* 0x9E37_79B9_7F4A_7C15
        }
    }
}
