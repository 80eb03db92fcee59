package import TaskProtocol

/// Answers store requests over one connection; lives on that connection's thread.
///
/// Each request is one transaction. A collision is repeated, a missing partition is made and the batch repeated, and a batch that fails
/// for its data is repeated member by member, so that only the guilty one fails.
package struct StoreSession {
    let connection: StoreConnection
    /// How an artifact stands that a task is to be pinned to; nil: nobody looks.
    let artifacts: ArtifactLookup?
    private static let repetitions = 8

    package init(_ connection: StoreConnection, artifacts: ArtifactLookup? = nil) {
        self.connection = connection
        self.artifacts = artifacts
    }

    /// Does what a request says. Never throws: every trouble has its reply.
    package func perform(_ request: StoreRequest) -> StoreReply {
        do throws(StoreError) {
            return try repeating { () throws(StoreError) in try answer(request) }
        } catch {
            switch error {
            case .connectionLost(let why): return .failed(connection.mayHaveCommitted ? .unavailable(why) : .unreached(why))
            case .notDurable, .pooledTransactions: return .failed(.unreached(error.description))
            // Eight collisions in a row are a lock that was not free.
            case .lockTimeout, .statementTimeout, .collision: return busyReply(request)
            case .refused where error.isAboutValues: return singly(request) ?? .failed(.internalError(error.description))
            case .refused, .partitionMissing, .unexpectedRow: return .failed(.unfit(error.description))
            }
        }
    }

    private func repeating<Value>(_ body: () throws(StoreError) -> Value) throws(StoreError) -> Value {
        var left = Self.repetitions
        while true {
            do throws(StoreError) {
                return try body()
            } catch {
                left -= 1
                guard left > 0 else { throw error }
                switch error {
                case .collision: continue
                case .partitionMissing: try makePartitions()
                default: throw error
                }
            }
        }
    }

    private func busyReply(_ request: StoreRequest) -> StoreReply {
        switch request {
        case .submit(let groups) where groups.count == 1: .submitted([.busy])
        case .submitPatiently: .submitted([.busy])
        default: .failed(.busy)
        }
    }

    private func answer(_ request: StoreRequest) throws(StoreError) -> StoreReply {
        switch request {
        case .submit(let groups): .submitted(try submit(groups))
        case .submitPatiently(let group, let milliseconds): .submitted(try submit([group], patience: milliseconds))
        case .claim(let claim): .claimed(try self.claim(claim))
        case .beat(let beat): .beaten(try self.beat(beat))
        case .sweep(let dead): .swept(try sweep(dead))
        case .registerBroker(let registration): try done { () throws(StoreError) in try registerBroker(registration) }
        case .endBroker(let broker): try done { () throws(StoreError) in try endBroker(broker) }
        case .markIdle(let broker, let idle): try done { () throws(StoreError) in try markIdle(broker, idle) }
        case .registerSession(let registration): try registerSession(registration) ? .done : .refused(SessionRegistration.outranked)
        case .endSession(let session): .swept(try endSession(session))
        case .leases(let sessions): .leases(try leases(of: sessions))
        case .complete(let completions): .completed(try complete(completions))
        case .fail(let failures): .settled(try fail(failures))
        case .release(let releases): .settled(try release(releases))
        case .confirmCancel(let references): .settled(try confirmCancel(references))
        case .cancel(let ids): try cancel(ids)
        case .retry(let ends): try retry(ends)
        case .progress(let updates): try done { () throws(StoreError) in try updateProgress(updates) }
        case .trainingSteps(let updates): try done { () throws(StoreError) in try addTrainingSteps(updates) }
        case .checkpoint(let commits): .settled(try commitCheckpoints(commits))
        case .get(let ids, let results): try statuses(ids, results: results)
        case .states(let ids): .outlines(try outlines(ids))
        case .explain(let id): try explain(id)
        case .resolveModels(let references): .resolvedModels(try resolve(references))
        case .models: .models(try models())
        case .datasets: .datasets(try datasets())
        case .registerModel(let registration): try registerModel(registration)
        case .registerDataset(let registration): try registerDataset(registration)
        case .unchecked(let after, let limit): try unchecked(after: after, limit: limit)
        case .adopt(let adoptions): .adopted(try adopt(adoptions))
        case .dueSweep(let blocked): .due(try dueSweep(after: blocked))
        case .endBackoffs(let longest): try done { () throws(StoreError) in try endBackoffs(longestMilliseconds: longest) }
        case .administer(let administration): try administer(administration)
        case .retain(let policy): .retained(try retain(policy))
        case .figures: .figures(try figures())
        case .durability: .durability(try durability())
        }
    }

    private func done(_ body: () throws(StoreError) -> Void) throws(StoreError) -> StoreReply {
        try body()
        return .done
    }

    /// Repeats a batch member by member.
    /// - Returns: nil where the request has no members, or only one that has no reply of its own for its own guilt.
    private func singly(_ request: StoreRequest) -> StoreReply? {
        switch request {
        case .submit(let groups) where groups.count > 1: return joined(groups.map { .submit([$0]) })
        case .submit(let groups):
            let error = ContractError(.internalError, "the database refused the task's data")
            return .submitted(groups.map { _ in .refused(item: 0, error: error) })
        case .submitPatiently(let group, _): return singly(.submit([group]))
        case .complete(let completions) where completions.count > 1: return joined(completions.map { .complete([$0]) })
        case .complete(let completions): return failGuilty(completions)
        case .fail(let failures) where failures.count > 1: return joined(failures.map { .fail([$0]) })
        case .release(let releases) where releases.count > 1: return joined(releases.map { .release([$0]) })
        case .confirmCancel(let references) where references.count > 1: return joined(references.map { .confirmCancel([$0]) })
        case .checkpoint(let commits) where commits.count > 1: return joined(commits.map { .checkpoint([$0]) })
        case .progress(let updates) where updates.count > 1: return joined(updates.map { .progress([$0]) })
        case .trainingSteps(let updates) where updates.count > 1: return joined(updates.map { .trainingSteps([$0]) })
        case .adopt(let adoptions) where adoptions.count > 1: return joined(adoptions.map { .adopt([$0]) })
        default: return nil
        }
    }

    /// A result that cannot be stored ends its task: no other attempt would have another.
    private func failGuilty(_ completions: [Completion]) -> StoreReply? {
        let error = ContractError(.internalError, "the database refused the task's result")
        let reply = perform(
            .fail(
                completions.map {
                    Failure(task: $0.task, lease: $0.lease, attempt: $0.attempt, error: error, cause: .failed, final: true, delayMilliseconds: 0)
                }))
        guard case .settled(let settled) = reply else { return reply }
        return .completed(settled)
    }

    private func joined(_ requests: [StoreRequest]) -> StoreReply {
        var submitted: [SubmitOutcome] = []
        var completed: [SettlementReply] = []
        var settled: [SettlementReply] = []
        var adopted = AdoptReply(ready: [], ended: [])
        var done = false
        for request in requests {
            switch perform(request) {
            case .submitted(let outcomes): submitted += outcomes
            case .completed(let replies): completed += replies
            case .settled(let replies): settled += replies
            case .adopted(let reply):
                adopted = AdoptReply(
                    ready: adopted.ready + reply.ready, ended: adopted.ended + reply.ended, setAside: adopted.setAside + reply.setAside)
            case .done: done = true
            case let failure: return failure
            }
        }
        if !submitted.isEmpty { return .submitted(submitted) }
        if !completed.isEmpty { return .completed(completed) }
        if !settled.isEmpty { return .settled(settled) }
        return done ? .done : .adopted(adopted)
    }

    private static let partitions = Statement("make_partitions", "SELECT make_partitions(now() - interval '1 day', 4)")

    /// Makes the months of history that lie ahead.
    package func makePartitions() throws(StoreError) { _ = try connection.run(Self.partitions) }
}
