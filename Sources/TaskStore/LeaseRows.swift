internal import TaskProtocol

/// A locked row of `hot`, with what decides over its future.
struct LockedTask {
    var task: TaskID
    var lease: LeaseID?
    var session: SessionID?
    var attempt: Int
    var failures: Int
    var losses: Int
    var isolated: Bool
    var cancelRequested: Bool
    var maxAttempts: Int

    func reference() -> LeaseReference? {
        lease.map { LeaseReference(task: task, lease: $0, session: session, attempt: attempt) }
    }
}

/// An end to be recorded.
struct TaskEnd {
    var task: TaskID
    var state: TaskState
    /// How the attempt under the present lease ended; nil where the task ends without one.
    var ending: String?
    var error: ContractError?
    /// Failed and lost attempts with this one, where it counts.
    var failures: Int?
    var losses: Int?
}

/// A return to the queue.
struct Requeue {
    var task: TaskID
    /// How the attempt ended.
    var outcome: String
    var error: [UInt8]?
    var failures: Int
    var losses: Int
    var delayMilliseconds: Int64
}

/// The three moves that every end of a lease is made of: lock, end, requeue. All go by id in ascending order, so that two brokers cannot
/// wait for each other; inside, a LATERAL sub-select with a lock fixes the plan to one index probe a task, whatever the statistics say.
extension StoreSession {
    private static let columns = """
        h.task, h.lease, h.session, h.attempt, h.failures, h.losses, h.isolated, h.cancel_requested, t.max_attempts
        """

    private static let lockByLease = Statement(
        "lock_by_lease",
        """
        SELECT \(columns)
        FROM unnest($1::uuid[], $2::uuid[]) AS v (task, lease)
        CROSS JOIN LATERAL (SELECT * FROM hot WHERE hot.task = v.task AND hot.lease = v.lease FOR UPDATE) h
        CROSS JOIN LATERAL (SELECT task.max_attempts FROM task WHERE task.id = v.task OFFSET 0) t
        """)

    private static let lockByID = Statement(
        "lock_by_id",
        """
        SELECT \(columns)
        FROM unnest($1::uuid[]) AS v (task)
        CROSS JOIN LATERAL (SELECT * FROM hot WHERE hot.task = v.task FOR UPDATE) h
        CROSS JOIN LATERAL (SELECT task.max_attempts FROM task WHERE task.id = v.task OFFSET 0) t
        """)

    private static let lockBySession = Statement(
        "lock_by_session",
        """
        SELECT \(columns)
        FROM (SELECT * FROM hot WHERE hot.session = $1::uuid AND hot.lease IS NOT NULL ORDER BY hot.task FOR UPDATE SKIP LOCKED) h
        CROSS JOIN LATERAL (SELECT task.max_attempts FROM task WHERE task.id = h.task OFFSET 0) t
        """)

    func lock(_ leases: [(task: TaskID, lease: LeaseID)]) throws(StoreError) -> [TaskID: LockedTask] {
        let sorted = leases.sorted { $0.task < $1.task }
        return try locked(connection.run(Self.lockByLease, [.uuids(sorted.map(\.task)), .uuids(sorted.map(\.lease))]))
    }

    func lock(ids: [TaskID]) throws(StoreError) -> [TaskID: LockedTask] {
        try locked(connection.run(Self.lockByID, [.uuids(Set(ids).sorted())]))
    }

    func lock(session: SessionID) throws(StoreError) -> [TaskID: LockedTask] {
        try locked(connection.run(Self.lockBySession, [.uuid(session)]))
    }

    private func locked(_ rows: StatementRows) throws(StoreError) -> [TaskID: LockedTask] {
        var found: [TaskID: LockedTask] = [:]
        for row in rows.indices {
            let task = try rows.requireUUID(row, 0)
            found[task] = LockedTask(
                task: task, lease: rows.uuid(row, 1), session: rows.uuid(row, 2), attempt: Int(try rows.requireInt(row, 3)),
                failures: Int(try rows.requireInt(row, 4)), losses: Int(try rows.requireInt(row, 5)), isolated: try rows.bool(row, 6),
                cancelRequested: try rows.bool(row, 7), maxAttempts: Int(try rows.requireInt(row, 8)))
        }
        return found
    }

    private static let endTasks = Statement(
        "end_tasks",
        """
        WITH l AS MATERIALIZED (
            SELECT h.*, v.state, v.ending, v.error, coalesce(v.new_failures, h.failures) AS all_failures, coalesce(v.new_losses, h.losses) AS all_losses
            FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::int[], $6::int[])
                AS v (task, state, ending, error, new_failures, new_losses)
            CROSS JOIN LATERAL (SELECT * FROM hot WHERE hot.task = v.task FOR UPDATE) h
        ), d AS (
            DELETE FROM hot WHERE hot.task = ANY (ARRAY(SELECT l.task FROM l))
        ), a AS (
            DELETE FROM task_after WHERE task_after.child = ANY (ARRAY(SELECT l.task FROM l))
        )
        INSERT INTO outcome (
            task, created_at, finished_at, started_at, attempt, failures, losses, state, ending, lease, worker, broker, error
        )
        SELECT
            l.task, l.created_at, clock_timestamp(), l.started_at, l.attempt, l.all_failures, l.all_losses, l.state, l.ending,
            CASE WHEN l.ending IS NOT NULL THEN l.lease END, l.session, l.broker, l.error::jsonb
        FROM l
        RETURNING task, attempt
        """)

    /// Ends tasks; those that have no hot row any more are left as they are.
    /// - Returns: what ended, with the number of the last attempt.
    @discardableResult
    func end(_ ends: [TaskEnd]) throws(StoreError) -> [EndedTask] {
        guard !ends.isEmpty else { return [] }
        let sorted = ends.sorted { $0.task < $1.task }
        let rows = try connection.run(
            Self.endTasks,
            [
                .uuids(sorted.map(\.task)), .texts(sorted.map(\.state.rawValue)), .texts(sorted.map(\.ending)),
                .textBytes(sorted.map { $0.error?.json }), .int32s(sorted.map(\.failures)), .int32s(sorted.map(\.losses)),
            ])
        var attempts: [TaskID: Int] = [:]
        for row in rows.indices { attempts[try rows.requireUUID(row, 0)] = Int(try rows.requireInt(row, 1)) }
        return ends.compactMap { end in
            attempts[end.task].map { EndedTask(task: end.task, attempt: $0, state: end.state, error: end.error) }
        }
    }

    private static let requeueTasks = Statement(
        "requeue_tasks",
        """
        WITH l AS MATERIALIZED (
            SELECT h.*, v.outcome, v.error, v.new_failures, v.new_losses, v.delay
            FROM unnest($1::uuid[], $2::text[], $3::text[], $4::int[], $5::int[], $6::bigint[])
                AS v (task, outcome, error, new_failures, new_losses, delay)
            CROSS JOIN LATERAL (SELECT * FROM hot WHERE hot.task = v.task AND hot.lease IS NOT NULL FOR UPDATE) h
        ), tried AS (
            INSERT INTO tries (task, attempt, lease, worker, broker, started_at, finished_at, outcome, error)
            SELECT l.task, l.attempt, l.lease, l.session, l.broker, l.started_at, clock_timestamp(), l.outcome, l.error::jsonb
            FROM l
        )
        UPDATE hot SET
            lease = NULL, session = NULL, broker = NULL, started_at = NULL, isolated = false, failures = l.new_failures, losses = l.new_losses,
            blocked = CASE WHEN l.delay > 0 THEN 'r' END,
            run_at = CASE WHEN l.delay > 0 THEN now() + l.delay * interval '1 millisecond' ELSE hot.run_at END,
            rank = CASE
                WHEN l.error::jsonb ->> 'reason' = 'snooze' THEN hot.rank
                WHEN l.delay > 0 THEN
                    hot.rank + floor(extract(epoch FROM now() - hot.run_at) * 1000)::bigint + l.delay
                ELSE hot.rank
            END,
            numerics = coalesce(
                hot.numerics,
                CASE WHEN l.outcome <> 'released' OR l.error::jsonb ->> 'reason' = 'draining' THEN
                    (SELECT sessions.numerics FROM sessions WHERE sessions.id = l.session)
                END)
        FROM l
        WHERE hot.task = l.task AND hot.task = ANY ($1::uuid[])
        RETURNING hot.task, hot.queue, hot.rank, floor(extract(epoch FROM hot.run_at) * 1000)::bigint
        """)

    /// Puts leased tasks back in line, at once or after their delay, and files the attempt. One that waits for a model keeps its place. What the first worker that began it computed in is kept; one
    /// that gave it back unbegun says nothing.
    func requeue(_ requeues: [Requeue]) throws(StoreError) -> [TaskID: (ready: ReadyTask, runAt: Int64)] {
        guard !requeues.isEmpty else { return [:] }
        let sorted = requeues.sorted { $0.task < $1.task }
        let rows = try connection.run(
            Self.requeueTasks,
            [
                .uuids(sorted.map(\.task)), .texts(sorted.map(\.outcome)), .textBytes(sorted.map(\.error)), .int32s(sorted.map(\.failures)),
                .int32s(sorted.map(\.losses)), .ints(sorted.map(\.delayMilliseconds)),
            ])
        var found: [TaskID: (ready: ReadyTask, runAt: Int64)] = [:]
        for row in rows.indices {
            let task = try rows.requireUUID(row, 0)
            found[task] = (
                ReadyTask(task: task, queue: try rows.requireString(row, 1), rank: try rows.requireInt(row, 2)), try rows.requireInt(row, 3)
            )
        }
        return found
    }
}
