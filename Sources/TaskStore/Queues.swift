internal import TaskProtocol

/// Settings of queues.
extension StoreSession {
    private static let list = Statement(
        "list_queues",
        """
        SELECT coalesce(q.name, w.queue), coalesce(q.paused, false), q.max_running, coalesce(w.waiting, 0), coalesce(w.running, 0)
        FROM queues q
        FULL JOIN (
            SELECT h.queue, count(*) FILTER (WHERE h.lease IS NULL) AS waiting, count(*) FILTER (WHERE h.lease IS NOT NULL) AS running
            FROM hot h WHERE $1::text IS NULL OR h.queue = $1::text GROUP BY h.queue
        ) w ON w.queue = q.name
        WHERE $1::text IS NULL OR coalesce(q.name, w.queue) = $1::text
        ORDER BY 1
        """)
    private static let set = Statement(
        "set_queue",
        """
        WITH changed AS (
            INSERT INTO queues AS q (name, paused, max_running) VALUES ($1::text, coalesce($2::bool, false), $3::int)
            ON CONFLICT (name) DO UPDATE SET
                paused = coalesce($2::bool, q.paused), max_running = CASE WHEN $4::bool THEN NULL ELSE coalesce($3::int, q.max_running) END
            RETURNING q.name
        )
        SELECT wake_brokers() FROM changed
        """)

    /// - Parameter name: nil lists all.
    func queues(named name: String? = nil) throws(StoreError) -> [QueueRow] {
        let rows = try connection.run(Self.list, [.text(name)])
        var found: [QueueRow] = []
        for row in rows.indices {
            found.append(
                QueueRow(
                    name: try rows.requireString(row, 0), paused: try rows.bool(row, 1), maxRunning: rows.int(row, 2).map(Int.init),
                    depth: Int(try rows.requireInt(row, 3)), running: Int(try rows.requireInt(row, 4))))
        }
        return found
    }

    func setQueue(_ change: QueueChange) throws(StoreError) -> StoreReply {
        _ = try connection.run(
            Self.set, [.text(change.name), change.paused.map { .bool($0) } ?? .null, .int32(change.maxRunning), .bool(change.unlimited)])
        guard let row = try queues(named: change.name).first else {
            return .refused(ContractError(.notFound, "the queue's settings were removed meanwhile", field: "queue.name"))
        }
        return .administered(.queue(row))
    }

    func administer(_ administration: Administration) throws(StoreError) -> StoreReply {
        switch administration {
        case .queues: .administered(.queues(try queues()))
        case .setQueue(let change): try setQueue(change)
        case .schedules: .administered(.schedules(try schedules()))
        case .setSchedule(let change): try setSchedule(change)
        case .removeSchedule(let name): try removeSchedule(name)
        }
    }
}
