internal import Encodings
internal import TaskProtocol

/// A task, and the lease under which somebody writes about it.
struct LeaseWrite: Hashable {
    var task: TaskID
    var lease: LeaseID
}

/// Ends of leases other than success: failures, releases, cancellations, retries.
extension StoreSession {
    /// Ends and requeues locked tasks, lets their dependents know, and says what became of each.
    func settle(_ tasks: [LockedTask], ends: [TaskEnd], requeues: [Requeue]) throws(StoreError) -> [TaskID: SettlementReply] {
        let ended = try end(ends)
        let returned = try requeue(requeues)
        var replies: [TaskID: SettlementReply] = [:]
        for (task, back) in returned { replies[task] = SettlementReply(settlement: .requeued(back.ready, runAtMilliseconds: back.runAt)) }
        for end in ended { replies[end.task] = SettlementReply(settlement: .recorded(end.state, end.error)) }
        guard let first = ended.first?.task else { return replies }
        // What an end brings about is told once, with the first of the batch.
        let dependents = try settleDependents(of: ended.map { ($0.task, $0.state) })
        replies[first]?.unblocked = dependents.unblocked
        replies[first]?.ended = dependents.ended
        return replies
    }

    /// Runs one batch of writes under leases: locks, decides, settles; what finds no lease is looked up among what was recorded before, or just now:
    /// of several writes under one lease the first counts, and one under an old lease is not answered for what the present one does.
    /// - Parameter epochs: of the sessions, for those writes that a broker decided by itself.
    private func underLeases(
        _ writes: [LeaseWrite], epochs: [Int?] = [], decide: (Int, LockedTask) -> Decision
    ) throws(StoreError) -> [SettlementReply] {
        try connection.transaction { () throws(StoreError) in
            let locked = try lock(writes.map { ($0.task, $0.lease) })
            let outranked = try outranked(writes, epochs, locked)
            var fenced = Set<Int>()
            var deciding: [LeaseWrite: Int] = [:]
            var ends: [TaskEnd] = []
            var requeues: [Requeue] = []
            for (index, write) in writes.enumerated() {
                guard let task = locked[write.task], task.lease == write.lease, deciding[write] == nil else { continue }
                if outranked.contains(index) {
                    fenced.insert(index)
                    continue
                }
                deciding[write] = index
                switch decide(index, task) {
                case .end(let end): ends.append(end)
                case .requeue(let requeue): requeues.append(requeue)
                }
            }
            let replies = try settle(Array(locked.values), ends: ends, requeues: requeues)
            let earlier = try recordedEarlier(
                writes.indices.filter { deciding[writes[$0]] != $0 && !fenced.contains($0) }.map { writes[$0] }, success: false)
            return writes.indices.map { index in
                let write = writes[index]
                if fenced.contains(index) { return SettlementReply(settlement: .fenced) }
                if deciding[write] == index, let reply = replies[write.task] { return reply }
                return SettlementReply(settlement: earlier[write] ?? .stale)
            }
        }
    }

    /// No session joins another broker before this transaction ends: who reads its leases then sees what was decided here. Beats do not wait for it.
    private static let lockEpochs = Statement(
        "lock_epochs", "SELECT id, epoch FROM sessions WHERE id = ANY ($1::uuid[]) ORDER BY id FOR KEY SHARE")

    /// Which writes a broker decided by itself before the session that holds the lease joined another.
    private func outranked(
        _ writes: [LeaseWrite], _ epochs: [Int?], _ locked: [TaskID: LockedTask]
    ) throws(StoreError) -> Set<Int> {
        var decided: [(index: Int, session: SessionID, epoch: Int)] = []
        for (index, (write, epoch)) in zip(writes, epochs).enumerated() {
            guard let epoch, let task = locked[write.task], task.lease == write.lease, let session = task.session else { continue }
            decided.append((index, session, epoch))
        }
        if decided.isEmpty { return [] }
        let rows = try connection.run(Self.lockEpochs, [.uuids(Set(decided.map(\.session)).sorted())])
        var present: [SessionID: Int] = [:]
        for row in rows.indices { present[try rows.requireUUID(row, 0)] = Int(try rows.requireInt(row, 1)) }
        return Set(decided.filter { $0.epoch < present[$0.session] ?? 0 }.map(\.index))
    }

    private enum Decision {
        case end(TaskEnd)
        case requeue(Requeue)
    }

    func fail(_ failures: [Failure]) throws(StoreError) -> [SettlementReply] {
        try underLeases(failures.map { LeaseWrite(task: $0.task, lease: $0.lease) }, epochs: failures.map(\.epoch)) { index, task in
            let failure = failures[index]
            let count = task.failures + 1
            if task.cancelRequested {
                return .end(TaskEnd(task: task.task, state: .cancelled, ending: failure.cause.rawValue, error: nil))
            }
            if failure.final || count >= task.maxAttempts {
                return .end(
                    TaskEnd(task: task.task, state: .failed, ending: failure.cause.rawValue, error: failure.error, failures: count))
            }
            return .requeue(
                Requeue(
                    task: task.task, outcome: failure.cause.rawValue, error: failure.error.json, failures: count, losses: task.losses,
                    delayMilliseconds: failure.delayMilliseconds))
        }
    }

    private static let saveResume = Statement(
        "save_resume",
        """
        INSERT INTO task_resume (task, resume)
        SELECT DISTINCT ON (v.task) v.task, v.resume::jsonb
        FROM unnest($1::uuid[], $2::text[], $3::uuid[]) WITH ORDINALITY AS v (task, resume, lease, place)
        WHERE EXISTS (SELECT FROM hot WHERE hot.task = v.task AND hot.lease = v.lease)
        ORDER BY v.task, v.resume::jsonb -> 'step' DESC NULLS LAST, v.place DESC
        ON CONFLICT (task) DO UPDATE SET resume = excluded.resume, saved_at = now()
        WHERE NOT coalesce(
            task_resume.saved_at >= (SELECT hot.started_at FROM hot WHERE hot.task = excluded.task)
                AND task_resume.resume -> 'step' > excluded.resume -> 'step', false)
        """)

    /// Saves where tasks can go on, under their leases. Within an attempt a state never gives way to an earlier one: a broker that its worker left may still
    /// write what it kept while the database was away from it.
    func saveResume(_ states: [(task: TaskID, lease: LeaseID, resume: [UInt8])]) throws(StoreError) {
        guard !states.isEmpty else { return }
        _ = try connection.run(
            Self.saveResume, [.uuids(states.map(\.task)), .textBytes(states.map { Optional($0.resume) }), .uuids(states.map(\.lease))])
    }

    func release(_ releases: [Release]) throws(StoreError) -> [SettlementReply] {
        // Of its own and before: a resume state is true whatever becomes of the release.
        try saveResume(releases.compactMap { release in release.resume.map { (task: release.task, lease: release.lease, resume: $0) } })
        return try underLeases(releases.map { LeaseWrite(task: $0.task, lease: $0.lease) }, epochs: releases.map(\.epoch)) { index, task in
            let release = releases[index]
            if task.cancelRequested { return .end(TaskEnd(task: task.task, state: .cancelled, ending: "released", error: nil)) }
            let reason: JSONObject = ["reason": .string(release.reason)]
            return .requeue(
                Requeue(
                    task: task.task, outcome: "released", error: JSONValue.object(reason).serialised, failures: task.failures,
                    losses: task.losses, delayMilliseconds: release.delayMilliseconds))
        }
    }

    /// Only a task that was asked to be cancelled ends so; a confirmation without a mark is a release.
    func confirmCancel(_ references: [LeaseReference]) throws(StoreError) -> [SettlementReply] {
        try underLeases(references.map { LeaseWrite(task: $0.task, lease: $0.lease) }) { _, task in
            guard task.cancelRequested else {
                return .requeue(
                    Requeue(
                        task: task.task, outcome: "released", error: nil, failures: task.failures, losses: task.losses, delayMilliseconds: 0))
            }
            return .end(TaskEnd(task: task.task, state: .cancelled, ending: "cancelled", error: nil))
        }
    }

    // MARK: Late writes

    private static let earlierOutcomes = Statement(
        "earlier_outcomes",
        """
        SELECT v.lease, o.state, o.ending, convert_to(o.error::text, 'UTF8'), a.outcome, v.task, h.queue, h.rank,
            floor(extract(epoch FROM h.run_at) * 1000)::bigint, h.lease IS NULL
        FROM unnest($1::uuid[], $2::uuid[]) AS v (task, lease)
        LEFT JOIN LATERAL (SELECT * FROM outcome WHERE outcome.task = v.task AND outcome.lease = v.lease OFFSET 0) o ON true
        LEFT JOIN LATERAL (SELECT * FROM tries WHERE tries.task = v.task AND tries.lease = v.lease OFFSET 0) a ON true
        LEFT JOIN LATERAL (SELECT * FROM hot WHERE hot.task = v.task OFFSET 0) h ON true
        """)
    private static let supersedeTries = Statement(
        "supersede_tries",
        """
        UPDATE tries SET outcome = 'superseded'
        WHERE task = ANY ($1::uuid[]) AND outcome IN ('lost', 'released', 'timed_out')
            AND EXISTS (SELECT FROM unnest($1::uuid[], $2::uuid[]) AS v (task, lease) WHERE v.task = tries.task AND v.lease = tries.lease)
        """)
    private static let supersedeOutcomes = Statement(
        "supersede_outcomes",
        """
        UPDATE outcome SET ending = 'superseded'
        WHERE task = ANY ($1::uuid[]) AND ending IN ('lost', 'released', 'timed_out')
            AND EXISTS (SELECT FROM unnest($1::uuid[], $2::uuid[]) AS v (task, lease) WHERE v.task = outcome.task AND v.lease = outcome.lease)
        """)

    /// What stands recorded under leases that hold nothing any more.
    ///
    /// The same write sent again is answered as recorded; another is stale. Where a stale completion's attempt had been given up, the audit
    /// says from now on that it was superseded: it did run to its end. From then on all that comes under its lease is stale.
    /// - Parameter success: whether the write is a completion.
    func recordedEarlier(_ writes: [LeaseWrite], success: Bool) throws(StoreError) -> [LeaseWrite: Settlement] {
        guard !writes.isEmpty else { return [:] }
        let rows = try connection.run(Self.earlierOutcomes, [.uuids(writes.map(\.task)), .uuids(writes.map(\.lease))])
        var found: [LeaseWrite: Settlement] = [:]
        var superseded: [LeaseWrite] = []
        for row in rows.indices {
            let write = LeaseWrite(task: try rows.requireUUID(row, 5), lease: try rows.requireUUID(row, 0))
            let tried = rows.string(row, 4)
            if let state = rows.string(row, 1).flatMap(TaskState.init(rawValue:)), let ending = rows.string(row, 2) {
                let error = rows.bytes(row, 3).flatMap { ContractError(json: $0) }
                if success ? state == .succeeded || Self.isStoreVerdict(error) : !Self.endingsOfOthers.contains(ending) {
                    found[write] = .alreadyRecorded(state, error)
                    continue
                }
            } else if let tried, !success, !Self.endingsOfOthers.contains(tried), let queue = rows.string(row, 6), let rank = rows.int(row, 7),
                let at = rows.int(row, 8), try rows.bool(row, 9)
            {
                found[write] = .requeued(ReadyTask(task: write.task, queue: queue, rank: rank), runAtMilliseconds: at)
                continue
            }
            found[write] = .stale
            if success { superseded.append(write) }
        }
        if !superseded.isEmpty {
            let parameters: [StatementParameter] = [.uuids(superseded.map(\.task)), .uuids(superseded.map(\.lease))]
            _ = try connection.run(Self.supersedeTries, parameters)
            _ = try connection.run(Self.supersedeOutcomes, parameters)
        }
        return found
    }

    /// Endings that no failure, release or cancellation under the lease itself brought about.
    private static let endingsOfOthers: Set = ["succeeded", "lost", "superseded"]

    /// A completion that the store itself turned into a failure (a taken output name, data that cannot be stored).
    private static func isStoreVerdict(_ error: ContractError?) -> Bool { error?.code == .conflict || error?.code == .internalError }

    // MARK: Cancel and retry

    private static let requestCancel = Statement(
        "request_cancel", "UPDATE hot SET cancel_requested = true WHERE task = ANY ($1::uuid[]) AND NOT cancel_requested")

    func cancel(_ ids: [TaskID]) throws(StoreError) -> StoreReply {
        try connection.transaction { () throws(StoreError) in
            let locked = try lock(ids: ids)
            let known = try outlines(ids)
            if let unknown = known.firstIndex(where: { $0 == nil }) {
                return .refused(ContractError(.notFound, "there is no such task", field: "ids[\(unknown)]"))
            }
            let waiting = locked.values.filter { $0.lease == nil }
            let running = locked.values.filter { $0.lease != nil }
            let ended = try end(waiting.map { TaskEnd(task: $0.task, state: .cancelled, ending: nil, error: nil) })
            if !running.isEmpty { _ = try connection.run(Self.requestCancel, [.uuids(running.map(\.task).sorted())]) }
            if !ended.isEmpty { _ = try settleDependents(of: ended.map { ($0.task, .cancelled) }) }
            let changed = Set(ended.map(\.task))
            return .cancelled(
                zip(ids, known).map { id, outline in
                    let state = changed.contains(id) ? .cancelled : outline?.state ?? .cancelled
                    return CancelReply(
                        task: id, state: state, attempt: outline?.attempt ?? 0, changed: changed.contains(id), running: locked[id]?.reference())
                })
        }
    }

    private static let retryTasks = Statement(
        "retry_tasks",
        """
        WITH seen AS MATERIALIZED (
            SELECT o.task FROM unnest($1::uuid[], $2::int[], $3::bigint[]) AS v (task, attempt, ended)
            CROSS JOIN LATERAL (
                SELECT outcome.task FROM outcome
                WHERE outcome.task = v.task AND outcome.state <> 'succeeded' AND outcome.attempt = v.attempt
                    AND floor(extract(epoch FROM outcome.finished_at) * 1000000)::bigint = v.ended
                FOR UPDATE
            ) o
        ), o AS MATERIALIZED (
            DELETE FROM outcome WHERE outcome.task = ANY (ARRAY(SELECT seen.task FROM seen)) RETURNING outcome.*
        ), tried AS (
            INSERT INTO tries (task, attempt, lease, worker, broker, started_at, finished_at, outcome, error)
            SELECT o.task, o.attempt, o.lease, o.worker, o.broker, o.started_at, o.finished_at, o.ending, o.error FROM o
            WHERE o.lease IS NOT NULL
        )
        INSERT INTO hot (task, created_at, run_at, rank, queue, client, attempt, blocked)
        SELECT o.task, o.created_at, now(), floor(extract(epoch FROM now()) * 1000)::bigint - t.priority * 60000::bigint, t.queue, t.client,
            o.attempt, CASE WHEN t.resolved IS NULL AND r.task IS NULL THEN 'c' END
        FROM o
        CROSS JOIN LATERAL (SELECT * FROM task WHERE task.id = o.task OFFSET 0) t
        LEFT JOIN LATERAL (SELECT * FROM resolutions WHERE resolutions.task = o.task OFFSET 0) r ON true
        RETURNING task
        """)

    /// Queues failed or cancelled tasks anew: their failures are counted from 0, the numbering of attempts goes on. One that no longer stands where
    /// it was seen to have ended is left as it is: this very request was committed before, or another was faster.
    func retry(_ ends: [SeenEnd]) throws(StoreError) -> StoreReply {
        let sorted = Dictionary(ends.map { ($0.task, $0) }, uniquingKeysWith: { first, _ in first }).values.sorted { $0.task < $1.task }
        return try connection.transaction { () throws(StoreError) in
            _ = try connection.run(
                Self.retryTasks, [.uuids(sorted.map(\.task)), .int32s(sorted.map(\.attempt)), .ints(sorted.map(\.endedAt))])
            return .retried(try outlines(ends.map(\.task)).compactMap { $0 })
        }
    }
}
