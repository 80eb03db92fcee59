internal import Encodings
internal import TaskProtocol

/// Reading tasks for `get`, `wait` and `cancel`.
extension StoreSession {
    private static let outline = Statement(
        "outlines",
        """
        SELECT v.ord, t.kind, t.queue, coalesce(o.state, CASE WHEN h.lease IS NULL THEN 'queued' ELSE 'running' END),
            coalesce(o.attempt, h.attempt), convert_to(o.error::text, 'UTF8'), floor(extract(epoch FROM o.finished_at) * 1000000)::bigint
        FROM unnest($1::uuid[]) WITH ORDINALITY AS v (id, ord)
        CROSS JOIN LATERAL (SELECT task.kind, task.queue FROM task WHERE task.id = v.id OFFSET 0) t
        LEFT JOIN LATERAL (SELECT * FROM hot WHERE hot.task = v.id OFFSET 0) h ON true
        LEFT JOIN LATERAL (SELECT * FROM outcome WHERE outcome.task = v.id OFFSET 0) o ON true
        """)

    func outlines(_ ids: [TaskID]) throws(StoreError) -> [TaskOutline?] {
        let rows = try connection.run(Self.outline, [.uuids(ids)])
        var found = [TaskOutline?](repeating: nil, count: ids.count)
        for row in rows.indices {
            let index = Int(try rows.requireInt(row, 0)) - 1
            found[index] = TaskOutline(
                id: ids[index], kind: try rows.requireString(row, 1), queue: try rows.requireString(row, 2),
                state: TaskState(rawValue: try rows.requireString(row, 3)) ?? .queued, attempt: Int(rows.int(row, 4) ?? 0),
                error: rows.bytes(row, 5).flatMap { ContractError(json: $0) }, endedAt: rows.int(row, 6))
        }
        return found
    }

    /// What the rows of so many tasks hold is bounded before it is read: a reply of more would be refused anyway. What is too much as it is stored,
    /// compressed, is not unpacked to be measured.
    private static let readLimit: Int64 = 64 << 20
    private static let measure = Statement(
        "measure_statuses",
        """
        WITH v AS MATERIALIZED (
            SELECT * FROM unnest($1::uuid[]) WITH ORDINALITY AS v (id, ord)
        ), d AS MATERIALIZED (
            SELECT u.id, s.stored FROM (SELECT DISTINCT v.id FROM v) u
            CROSS JOIN LATERAL (
                SELECT pg_column_size(task.params)
                    + CASE WHEN $3::bool THEN coalesce((SELECT pg_column_size(outcome.result) FROM outcome WHERE outcome.task = u.id), 0) ELSE 0 END AS stored
                FROM task WHERE task.id = u.id OFFSET 0
            ) s
        ), o AS MATERIALIZED (
            SELECT v.id, v.ord, sum(d.stored) OVER (ORDER BY v.ord) AS upto FROM v JOIN d ON d.id = v.id
        ), r AS MATERIALIZED (
            SELECT u.id, s.bytes FROM (SELECT DISTINCT o.id FROM o WHERE o.upto <= $2::bigint) u
            CROSS JOIN LATERAL (
                SELECT octet_length(task.params::text) + coalesce(octet_length(task.tags::text), 0)
                    + CASE WHEN $3::bool THEN
                        coalesce((SELECT octet_length(outcome.result::text) FROM outcome WHERE outcome.task = u.id), 0)
                    ELSE 0 END AS bytes
                FROM task WHERE task.id = u.id OFFSET 0
            ) s
        ), f AS (
            SELECT o.ord, sum(r.bytes) OVER (ORDER BY o.ord) AS upto FROM o JOIN r ON r.id = o.id WHERE o.upto <= $2::bigint
        )
        SELECT (SELECT count(*) FROM f WHERE f.upto <= $2::bigint), (SELECT count(*) FROM o)
        """)

    private static let status = Statement(
        "statuses",
        """
        WITH full_queues AS MATERIALIZED (
            SELECT f.name FROM queues f
            WHERE f.max_running <= (
                SELECT count(*) FROM (SELECT FROM hot WHERE hot.session IS NOT NULL AND hot.queue = f.name LIMIT f.max_running) running
            )
        )
        SELECT v.ord, t.kind, t.queue, coalesce(o.state, CASE WHEN h.lease IS NULL THEN 'queued' ELSE 'running' END), t.priority::int, t.key,
            coalesce(o.attempt, h.attempt), floor(extract(epoch FROM coalesce(h.run_at, t.run_at)) * 1000)::bigint,
            floor(extract(epoch FROM t.created_at) * 1000)::bigint,
            floor(extract(epoch FROM coalesce(o.started_at, h.started_at)) * 1000)::bigint,
            floor(extract(epoch FROM o.finished_at) * 1000)::bigint, convert_to(t.params::text, 'UTF8'), convert_to(t.tags::text, 'UTF8'),
            CASE
                WHEN h.task IS NULL OR h.lease IS NOT NULL THEN NULL
                WHEN h.blocked = 'r' AND h.attempt > 0 THEN CASE l.reason WHEN 'snooze' THEN 'model' WHEN 'unsupported' THEN 'worker' ELSE 'retry_at' END
                WHEN h.blocked = 'r' OR h.run_at > now() THEN 'run_at'
                WHEN h.blocked = 'a' OR h.blocked = 'c' AND EXISTS (SELECT FROM task_after a WHERE a.child = h.task) THEN 'after'
                WHEN q.paused THEN 'paused'
                WHEN q.max_running IS NOT NULL AND h.queue IN (SELECT full_queues.name FROM full_queues) THEN 'limit'
                WHEN l.reason = 'unsupported' OR NOT EXISTS (
                    SELECT FROM sessions
                    CROSS JOIN LATERAL (
                        SELECT coalesce(r.pinned -> 'params', '{}') AS params,
                            CASE t.kind WHEN 'generate' THEN r.pinned #>> '{params,precision}'
                                WHEN 'verify' THEN r.pinned #>> '{texts,0,proof,precision}' END AS precision
                        FROM (
                            SELECT coalesce(t.resolved, (SELECT resolutions.resolved FROM resolutions WHERE resolutions.task = t.id))::jsonb AS pinned
                            OFFSET 0
                        ) r OFFSET 0
                    ) n
                    WHERE sessions.state = 'running' AND sessions.slots > 0
                        AND (sessions.parameters = '{}' OR n.params - sessions.parameters = '{}')
                        AND (
                            coalesce(n.precision, 'float32') = 'float32' OR EXISTS (
                                SELECT FROM unnest(sessions.numerics) AS a (version) WHERE starts_with(a.version, n.precision || '/')
                            )
                        )
                ) THEN 'worker'
                WHEN l.reason = 'snooze' THEN 'model'
                ELSE 'slot'
            END,
            convert_to(p.progress::text, 'UTF8'), convert_to(o.error::text, 'UTF8'), CASE WHEN $2::bool THEN convert_to(o.result::text, 'UTF8') END
        FROM unnest($1::uuid[]) WITH ORDINALITY AS v (id, ord)
        CROSS JOIN LATERAL (SELECT * FROM task WHERE task.id = v.id OFFSET 0) t
        LEFT JOIN LATERAL (SELECT * FROM hot WHERE hot.task = v.id OFFSET 0) h ON true
        LEFT JOIN LATERAL (
            SELECT tries.error ->> 'reason' AS reason FROM tries
            WHERE h.lease IS NULL AND h.attempt > 0 AND tries.task = v.id AND tries.attempt = h.attempt AND tries.outcome = 'released' OFFSET 0
        ) l ON true
        LEFT JOIN LATERAL (SELECT * FROM outcome WHERE outcome.task = v.id OFFSET 0) o ON true
        LEFT JOIN LATERAL (SELECT * FROM task_progress WHERE task_progress.task = v.id OFFSET 0) p ON true
        LEFT JOIN LATERAL (SELECT * FROM queues WHERE queues.name = t.queue OFFSET 0) q ON true
        """)

    /// - Returns: how many of the first ones fit; nil where all do.
    private func fitting(_ ids: [TaskID], results: Bool) throws(StoreError) -> Int? {
        let row = try connection.run(Self.measure, [.uuids(ids), .int(Self.readLimit), .bool(results)])
        let (fitting, all) = (try row.requireInt(0, 0), try row.requireInt(0, 1))
        return fitting < all ? Int(fitting) : nil
    }

    private static func tooMuch(_ fitting: Int, of ids: [TaskID]) -> StoreReply {
        let message = "so much does not go into one reply; the first \(fitting) of these \(ids.count) ids fit"
        return .refused(ContractError(.tooLarge, message, field: "ids"))
    }

    /// Reads tasks. Where they are too much at once, ``StoreReply/refused(_:)`` says how many of them fit: of several clients' requests that were
    /// joined, each then goes alone.
    func statuses(_ ids: [TaskID], results: Bool) throws(StoreError) -> StoreReply {
        // One task alone is within the limits of what can be stored.
        if ids.count > 1, let fitting = try fitting(ids, results: results) { return Self.tooMuch(fitting, of: ids) }
        let rows = try connection.run(Self.status, [.uuids(ids), .bool(results)])
        var found = [TaskStatus?](repeating: nil, count: ids.count)
        for row in rows.indices {
            let index = Int(try rows.requireInt(row, 0)) - 1
            found[index] = TaskStatus(
                id: ids[index], kind: try rows.requireString(row, 1), queue: try rows.requireString(row, 2),
                state: TaskState(rawValue: try rows.requireString(row, 3)) ?? .queued, priority: Int(rows.int(row, 4) ?? 0),
                key: rows.string(row, 5), attempt: Int(rows.int(row, 6) ?? 0), runAt: try rows.requireInt(row, 7),
                createdAt: try rows.requireInt(row, 8), startedAt: rows.int(row, 9), finishedAt: rows.int(row, 10),
                params: try rows.requireBytes(row, 11), tags: rows.bytes(row, 12) ?? Array("{}".utf8),
                waitingFor: rows.string(row, 13).flatMap(WaitingReason.init(rawValue:)), progress: rows.bytes(row, 14), error: rows.bytes(row, 15),
                result: rows.bytes(row, 16))
        }
        if let unknown = found.firstIndex(where: { $0 == nil }) {
            return .refused(ContractError(.notFound, "there is no such task", field: "ids[\(unknown)]"))
        }
        var statuses = found.compactMap { $0 }
        if results, let fitting = try addResults(&statuses) { return Self.tooMuch(fitting, of: ids) }
        return .statuses(statuses)
    }
}
