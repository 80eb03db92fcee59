internal import TaskProtocol

/// Tasks that came into the store without a check: published in SQL, or let go by the last task of their `after`.
extension BrokerCore {
    /// Checks tasks that came by SQL or were unblocked, as a client's would have been.
    mutating func check(_ tasks: [UncheckedTask], isCut: Bool) {
        uncheckedTasks = false
        let wasAtStart = checkedUpTo == nil
        moreIsUnchecked = isCut
        // What cannot be checked now is passed: the next look begins behind it, and after the end again at the start.
        checkedUpTo = moreIsUnchecked ? tasks.last?.id : nil
        guard !tasks.isEmpty else {
            if !wasAtStart { lookForUnchecked() }
            return
        }
        lanes.add(.adopt(tasks.map { verdict($0) }), to: .adopt)
    }

    private mutating func verdict(_ task: UncheckedTask) -> Adoption {
        do throws(ContractError) {
            let submission = try task.checked()
            var seed = task.seed ?? submission.parameters.seed
            let isAssigned = task.seed != nil ? task.seedAssigned : seed == nil && submission.parameters.needsSeed
            if isAssigned, seed == nil { seed = Seed.assigned(using: &random) }
            return .accept(
                task: task.id, parameters: submission.parameters, after: submission.after, seed: seed, seedAssigned: isAssigned)
        } catch {
            return .reject(task: task.id, error: error)
        }
    }

    mutating func adopted(_ reply: AdoptReply) {
        for ready in reply.ready {
            queues.ready(ready.queue, rank: ready.rank)
            emit(.queued, task: ready.task, attempt: 0, sequence: 0)
        }
        for ended in reply.ended { emitEnd(ended.task, ended.attempt, ended.state, ended.error, sequence: nil) }
        // Where nothing could be checked (a dataset is on its way, somebody holds the rows) the next sweep is soon enough.
        if uncheckedTasks || moreIsUnchecked && !reply.isEmpty { lookForUnchecked() }
        moreIsUnchecked = false
    }
}
