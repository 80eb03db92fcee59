internal import TaskProtocol

/// A task's life, read from every relation that knows of it.
extension StoreSession {
    private static let life = Statement(
        "task_life",
        """
        SELECT t.client, t.max_attempts::int, t.timeout_s, coalesce(h.failures, o.failures), coalesce(h.losses, o.losses),
            coalesce(h.cancel_requested, false), h.task IS NOT NULL AND h.lease IS NULL AND h.blocked IS NULL, h.rank,
            CASE WHEN t.resolved IS NULL AND r.task IS NULL THEN NULL
                ELSE floor(extract(epoch FROM coalesce(r.resolved_at, t.created_at)) * 1000)::bigint END,
            convert_to((coalesce(t.resolved, r.resolved)::jsonb -> 'model')::text, 'UTF8'), coalesce(t.seed, r.seed),
            CASE WHEN t.seed IS NULL THEN coalesce(r.seed_assigned, false) ELSE t.seed_assigned END,
            floor(extract(epoch FROM p.saved_at) * 1000)::bigint
        FROM (SELECT * FROM task WHERE task.id = $1::uuid OFFSET 0) t
        LEFT JOIN LATERAL (SELECT * FROM resolutions WHERE resolutions.task = t.id OFFSET 0) r ON true
        LEFT JOIN LATERAL (SELECT * FROM hot WHERE hot.task = t.id OFFSET 0) h ON true
        LEFT JOIN LATERAL (SELECT * FROM outcome WHERE outcome.task = t.id OFFSET 0) o ON true
        LEFT JOIN LATERAL (SELECT * FROM task_resume WHERE task_resume.task = t.id OFFSET 0) p ON true
        """)

    /// Attempts that an explanation tells of.
    private static let toldAttempts = 100

    private static let lastAttempts = Statement(
        "last_attempts",
        """
        SELECT a.attempt, a.worker, s.host, s.pid, a.broker, b.host, b.pid, floor(extract(epoch FROM a.started_at) * 1000)::bigint,
            floor(extract(epoch FROM a.finished_at) * 1000)::bigint, a.outcome, convert_to(a.error::text, 'UTF8')
        FROM (SELECT * FROM attempts WHERE attempts.task_id = $1::uuid ORDER BY attempts.attempt DESC LIMIT \(toldAttempts)) a
        LEFT JOIN LATERAL (SELECT * FROM sessions WHERE sessions.id = a.worker OFFSET 0) s ON true
        LEFT JOIN LATERAL (SELECT * FROM brokers WHERE brokers.id = a.broker OFFSET 0) b ON true
        ORDER BY a.attempt
        """)

    private static let parents = Statement(
        "task_parents",
        """
        SELECT u.id, coalesce(o.state, CASE WHEN h.task IS NOT NULL THEN CASE WHEN h.lease IS NULL THEN 'queued' ELSE 'running' END END)
        FROM (SELECT task.after FROM task WHERE task.id = $1::uuid OFFSET 0) t
        CROSS JOIN LATERAL unnest(t.after) WITH ORDINALITY AS u (id, ord)
        LEFT JOIN LATERAL (SELECT * FROM hot WHERE hot.task = u.id OFFSET 0) h ON true
        LEFT JOIN LATERAL (SELECT * FROM outcome WHERE outcome.task = u.id OFFSET 0) o ON true
        ORDER BY u.ord
        """)

    /// Tasks that are counted before a task at most.
    private static let countedAhead: Int64 = 10_000

    private static let ahead = Statement(
        "tasks_ahead",
        """
        SELECT count(*) FROM (
            SELECT FROM hot
            WHERE hot.queue = $1::text AND hot.lease IS NULL AND hot.blocked IS NULL AND (hot.rank, hot.task) < ($2::bigint, $3::uuid)
            LIMIT $4::bigint
        ) a
        """)

    func explain(_ id: TaskID) throws(StoreError) -> StoreReply {
        let unknown = StoreReply.refused(ContractError(.notFound, "there is no such task", field: "task"))
        return try connection.transaction { () throws(StoreError) in
            // One snapshot: what is told of a task that moves fits together.
            try connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY", name: "one_snapshot")
            guard case .statuses(let statuses) = try statuses([id], results: false), let status = statuses.first else { return unknown }
            let life = try connection.run(Self.life, [.uuid(id)])
            guard life.count > 0 else { return unknown }
            return .explained(try explanation(status, life))
        }
    }

    private func explanation(_ status: TaskStatus, _ life: StatementRows) throws(StoreError) -> TaskExplanation {
        let attempts = try lastAttempts(status.id)
        let publisher = try life.requireString(0, 0)
        let pinned = try life.int(0, 8).map { at throws(StoreError) in
            TaskExplanation.Pinned(at: at, model: life.bytes(0, 9), seed: life.int(0, 10), seedAssigned: try life.bool(0, 11))
        }
        // No row: it has neither settings nor open tasks.
        let queue = try queues(named: status.queue).first ?? QueueRow(name: status.queue, paused: false, maxRunning: nil, depth: 0, running: 0)
        return TaskExplanation(
            status: status, publisher: publisher.isEmpty ? nil : publisher, maxAttempts: Int(try life.requireInt(0, 1)),
            timeoutSeconds: life.double(0, 2), failures: Int(life.int(0, 3) ?? 0), losses: Int(life.int(0, 4) ?? 0),
            cancelRequested: try life.bool(0, 5), pinned: pinned, attempts: attempts, earlierAttempts: max(0, (attempts.first?.number ?? 1) - 1),
            after: try parents(status.id), line: try life.bool(0, 6) ? try line(status, rank: life.int(0, 7) ?? 0) : nil, queue: queue,
            resumeSavedAt: life.int(0, 12))
    }

    private func lastAttempts(_ id: TaskID) throws(StoreError) -> [TaskExplanation.Attempt] {
        let rows = try connection.run(Self.lastAttempts, [.uuid(id)])
        func process(_ row: Int, _ column: Int) -> TaskExplanation.Process? {
            rows.uuid(row, column).map {
                TaskExplanation.Process(id: $0, host: rows.string(row, column + 1), pid: rows.int(row, column + 2).map(Int.init))
            }
        }
        var attempts: [TaskExplanation.Attempt] = []
        for row in rows.indices {
            attempts.append(
                TaskExplanation.Attempt(
                    number: Int(try rows.requireInt(row, 0)), worker: process(row, 1), broker: process(row, 4),
                    startedAt: try rows.requireInt(row, 7),
                    finishedAt: rows.int(row, 8), outcome: rows.string(row, 9), error: rows.bytes(row, 10)))
        }
        return attempts
    }

    private func parents(_ id: TaskID) throws(StoreError) -> [TaskExplanation.Parent] {
        let rows = try connection.run(Self.parents, [.uuid(id)])
        var parents: [TaskExplanation.Parent] = []
        for row in rows.indices {
            parents.append(
                TaskExplanation.Parent(id: try rows.requireUUID(row, 0), state: rows.string(row, 1).flatMap(TaskState.init(rawValue:))))
        }
        return parents
    }

    private func line(_ status: TaskStatus, rank: Int64) throws(StoreError) -> TaskExplanation.Line {
        let rows = try connection.run(Self.ahead, [.text(status.queue), .int(rank), .uuid(status.id), .int(Self.countedAhead)])
        let count = try rows.requireInt(0, 0)
        return TaskExplanation.Line(ahead: Int(count), isAtLeast: count == Self.countedAhead)
    }
}
