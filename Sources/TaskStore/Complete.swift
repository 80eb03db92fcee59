internal import TaskProtocol

/// Recording finished tasks: exactly once, each with all of its rows, in one transaction guarded by its lease.
extension StoreSession {
    private static let completeTasks = Statement(
        "complete_tasks",
        """
        WITH l AS MATERIALIZED (
            SELECT h.*, v.result
            FROM unnest($1::uuid[], $2::uuid[], $3::text[]) AS v (task, lease, result)
            CROSS JOIN LATERAL (SELECT * FROM hot WHERE hot.task = v.task AND hot.lease = v.lease FOR UPDATE) h
        ), d AS (
            DELETE FROM hot WHERE hot.task = ANY (ARRAY(SELECT l.task FROM l))
        )
        INSERT INTO outcome (
            task, created_at, finished_at, started_at, attempt, failures, losses, state, ending, lease, worker, broker, result
        )
        SELECT
            l.task, l.created_at, clock_timestamp(), l.started_at, l.attempt, l.failures, l.losses, 'succeeded', 'succeeded', l.lease, l.session,
            l.broker, l.result::jsonb
        FROM l
        RETURNING task, lease
        """)

    /// Of several completions of one task in a batch only the one under its lease is recorded, with its texts; the others are answered as if they came
    /// after it.
    func complete(_ completions: [Completion]) throws(StoreError) -> [SettlementReply] {
        let sorted = completions.sorted { $0.task < $1.task }
        return try connection.transaction { () throws(StoreError) in
            let rows = try connection.run(
                Self.completeTasks, [.uuids(sorted.map(\.task)), .uuids(sorted.map(\.lease)), .textBytes(sorted.map(\.result))])
            var recorded = Set<LeaseWrite>()
            for row in rows.indices { recorded.insert(LeaseWrite(task: try rows.requireUUID(row, 0), lease: try rows.requireUUID(row, 1))) }
            let done = sorted.filter { recorded.contains($0.write) }
            let refused = try moveModelNames(done)
            try insertGenerations(done)
            let earlier = try recordedEarlier(completions.map(\.write).filter { !recorded.contains($0) }, success: true)
            let ends = done.map { (task: $0.task, state: refused[$0.task] == nil ? TaskState.succeeded : .failed) }
            let dependents = try settleDependents(of: ends)
            var toldOnce = false
            return completions.map { completion in
                guard recorded.contains(completion.write) else {
                    return SettlementReply(settlement: earlier[completion.write] ?? .stale)
                }
                let error = refused[completion.task]
                var reply = SettlementReply(settlement: .recorded(error == nil ? .succeeded : .failed, error))
                if !toldOnce { (reply.unblocked, reply.ended, toldOnce) = (dependents.unblocked, dependents.ended, true) }
                return reply
            }
        }
    }

    // MARK: The name of a finetune's model

    private static let moveName = Statement(
        "move_name",
        """
        INSERT INTO models AS m (name, checkpoint_id, architecture, parameters, context_length)
        SELECT t.params ->> 'output', c.id, c.architecture, c.parameters, c.context_length
        FROM (SELECT * FROM task WHERE task.id = $1::uuid) t, (SELECT * FROM checkpoints WHERE checkpoints.id = $2::uuid) c
        ON CONFLICT (name) DO UPDATE SET
            checkpoint_id = excluded.checkpoint_id, architecture = excluded.architecture, parameters = excluded.parameters,
            context_length = excluded.context_length, updated_at = now()
        WHERE EXISTS (
            SELECT FROM task t
            WHERE t.id = $1::uuid AND (
                t.params -> 'overwrite' = 'true'
                OR split_part(t.params ->> 'model', '@', 1) = t.params ->> 'output'
                OR EXISTS (SELECT FROM checkpoints p WHERE p.id = m.checkpoint_id AND p.task_id = t.id)
            )
        )
        RETURNING name
        """)
    private static let outputConflict = ContractError(
        .conflict, "a model of this name was made meanwhile; the checkpoints are kept, set overwrite to true to replace it", field: "params.output")
    private static let turnIntoFailure = Statement(
        "turn_into_failure", "UPDATE outcome SET state = 'failed', ending = 'failed', error = $2::text::jsonb WHERE task = $1::uuid")

    /// Gives each finetune's output name to its checkpoint.
    /// - Returns: tasks whose name was taken meanwhile; they are recorded as failed, their checkpoints stay.
    private func moveModelNames(_ completions: [Completion]) throws(StoreError) -> [TaskID: ContractError] {
        var refused: [TaskID: ContractError] = [:]
        for completion in completions {
            guard let checkpoint = completion.modelCheckpoint else { continue }
            let rows = try connection.run(Self.moveName, [.uuid(completion.task), .uuid(checkpoint)])
            guard rows.count == 0 else { continue }
            refused[completion.task] = Self.outputConflict
            _ = try connection.run(Self.turnIntoFailure, [.uuid(completion.task), .bytes(Self.outputConflict.json)])
        }
        return refused
    }
}

extension Completion {
    fileprivate var write: LeaseWrite { LeaseWrite(task: task, lease: lease) }
}
