internal import TaskProtocol

/// What each broker does once a second, and the figures it shows.
extension StoreSession {
    private static let wake = Statement(
        "wake_due",
        """
        UPDATE hot SET blocked = NULL
        WHERE hot.task = ANY (ARRAY(
            SELECT h.task FROM hot h WHERE h.blocked = 'r' AND h.run_at <= now() ORDER BY h.run_at LIMIT 1000 FOR UPDATE SKIP LOCKED
        ))
        RETURNING hot.task, hot.queue, hot.rank
        """)

    /// Blocked tasks that their parents' ends should have let go, with whether all of those succeeded. Ends do that themselves; this look, which goes
    /// round all blocked tasks in turn, is for what nobody thought of.
    private static let settledParents = Statement(
        "settled_parents",
        """
        SELECT b.task, b.good
        FROM (SELECT hot.task FROM hot WHERE hot.blocked = 'a' AND hot.task > $1::uuid AND hot.task <= $2::uuid) h
        CROSS JOIN LATERAL (
            SELECT h.task, bool_and(o.task IS NOT NULL AND o.state = 'succeeded') AS good, bool_or(o.state <> 'succeeded') AS bad
            FROM task_after a
            LEFT JOIN LATERAL (SELECT * FROM outcome WHERE outcome.task = a.parent OFFSET 0) o ON true
            WHERE a.child = h.task
        ) b
        WHERE b.good OR b.bad
        """)

    /// The last of the blocked tasks to look at this time; null where they end before.
    private static let lastBlocked = Statement(
        "last_blocked", "SELECT hot.task FROM hot WHERE hot.blocked = 'a' AND hot.task > $1::uuid ORDER BY hot.task OFFSET $2::bigint LIMIT 1")
    private static let blockedWindow = 10_000

    private static let overview = Statement(
        "overview",
        """
        SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint,
            least(
                (SELECT floor(extract(epoch FROM h.run_at) * 1000)::bigint FROM hot h WHERE h.blocked = 'r' ORDER BY h.run_at LIMIT 1),
                (SELECT floor(extract(epoch FROM s.next_run_at) * 1000)::bigint FROM schedules s
                    WHERE s.enabled AND s.next_run_at IS NOT NULL AND isfinite(s.next_run_at) ORDER BY s.next_run_at LIMIT 1)),
            (SELECT count(*) FROM (SELECT FROM hot h WHERE h.blocked = 'c' LIMIT 10000) c)
        """)

    /// Queues with work in line, by jumping from one to the next through the index, whatever their lengths.
    private static let waitingQueues = Statement(
        "waiting_queues",
        """
        WITH RECURSIVE w AS (
            (SELECT h.queue, h.rank FROM hot h WHERE h.lease IS NULL AND h.blocked IS NULL ORDER BY h.queue, h.rank, h.task LIMIT 1)
            UNION ALL
            SELECT n.queue, n.rank FROM w CROSS JOIN LATERAL (
                SELECT h.queue, h.rank FROM hot h WHERE h.queue > w.queue AND h.lease IS NULL AND h.blocked IS NULL
                ORDER BY h.queue, h.rank, h.task LIMIT 1
            ) n
        )
        SELECT w.queue, w.rank, coalesce(q.paused, false), q.max_running
        FROM w LEFT JOIN LATERAL (SELECT * FROM queues WHERE queues.name = w.queue OFFSET 0) q ON true
        """)

    /// Brokers that died marked idle would make every submit() notify.
    private static let tidyBrokers = Statement(
        "tidy_brokers", "UPDATE brokers SET idle = false WHERE idle AND seen_at < now() - interval '10 seconds'")
    private static let forgetBrokers = Statement(
        "forget_brokers", "DELETE FROM brokers WHERE seen_at < now() - interval '10 minutes'")

    /// Only retries: what was published for a later time keeps it, whatever the clock says. The rank moves with the time that it is made of: else they
    /// would be due, and stand behind all that comes within their pause.
    private static let endBackoffs = Statement(
        "end_backoffs",
        """
        UPDATE hot SET run_at = now(), rank = hot.rank + floor(extract(epoch FROM now() - hot.run_at) * 1000)::bigint
        WHERE hot.task = ANY (ARRAY(
            SELECT h.task FROM hot h
            WHERE h.blocked = 'r' AND h.attempt > 0 AND h.run_at > now() + $1::bigint * interval '1 millisecond'
            ORDER BY h.run_at FOR UPDATE SKIP LOCKED
        ))
        """)

    /// A clock that was set back by an hour would let the pauses of retries last an hour longer.
    func endBackoffs(longestMilliseconds: Int64) throws(StoreError) {
        _ = try connection.run(Self.endBackoffs, [.int(longestMilliseconds)])
    }

    /// - Parameter blocked: the blocked task after which the last sweep's look ended; nil begins anew.
    func dueSweep(after blocked: TaskID?) throws(StoreError) -> DueReply {
        let ready = try wakeDue()
        let (ended, looked) = try settleBlocked(after: blocked)
        let unreadable = try runSchedules()
        _ = try connection.run(Self.tidyBrokers)
        _ = try connection.run(Self.forgetBrokers)
        let overview = try connection.run(Self.overview)
        return DueReply(
            databaseMilliseconds: try overview.requireInt(0, 0), ready: ready, ended: ended, nextDueMilliseconds: overview.int(0, 1),
            unchecked: Int(try overview.requireInt(0, 2)), queues: try queuesWithWork(), cancels: try cancelRequests(of: nil),
            blockedLookedAt: looked, unreadableSchedules: unreadable)
    }

    private func wakeDue() throws(StoreError) -> [ReadyTask] {
        let rows = try connection.run(Self.wake)
        var ready: [ReadyTask] = []
        for row in rows.indices {
            ready.append(ReadyTask(task: try rows.requireUUID(row, 0), queue: try rows.requireString(row, 1), rank: try rows.requireInt(row, 2)))
        }
        return ready
    }

    private func settleBlocked(after first: TaskID?) throws(StoreError) -> (ended: [EndedTask], looked: TaskID?) {
        let first = first ?? UUIDValue(hi: 0, lo: 0)
        let last = try connection.run(Self.lastBlocked, [.uuid(first), .int(Int64(Self.blockedWindow - 1))])
        let looked = last.count > 0 ? try last.requireUUID(0, 0) : nil
        return (try settleBlocked(after: first, to: looked ?? UUIDValue(hi: .max, lo: .max)), looked)
    }

    private func settleBlocked(after first: TaskID, to last: TaskID) throws(StoreError) -> [EndedTask] {
        let rows = try connection.run(Self.settledParents, [.uuid(first), .uuid(last)])
        var hopeful = Set<TaskID>()
        var doomed = Set<TaskID>()
        for row in rows.indices {
            let task = try rows.requireUUID(row, 0)
            if try rows.bool(row, 1) { hopeful.insert(task) } else { doomed.insert(task) }
        }
        guard !(hopeful.isEmpty && doomed.isEmpty) else { return [] }
        do throws(StoreError) {
            return try connection.transaction { () throws(StoreError) in
                _ = try letGo(hopeful)
                let ended = try end(doomed.map { TaskEnd(task: $0, state: .failed, ending: nil, error: Self.dependencyError) })
                return try ended + settleDependents(of: ended.map { ($0.task, $0.state) }).ended
            }
        } catch {
            // Somebody's open transaction holds one of them: the next look finds them again, and all else that is due does not wait for it.
            if case .lockTimeout = error { return [] }
            throw error
        }
    }

    private func queuesWithWork() throws(StoreError) -> [WaitingQueue] {
        let rows = try connection.run(Self.waitingQueues)
        var queues: [WaitingQueue] = []
        for row in rows.indices {
            queues.append(
                WaitingQueue(
                    name: try rows.requireString(row, 0), oldestRank: try rows.requireInt(row, 1), paused: try rows.bool(row, 2),
                    maxRunning: rows.int(row, 3).map(Int.init)))
        }
        return queues
    }

    // MARK: Figures

    private static let figures = Statement(
        "figures",
        """
        SELECT h.queue, count(*) FILTER (WHERE h.lease IS NULL), count(*) FILTER (WHERE h.lease IS NOT NULL),
            coalesce(extract(epoch FROM now() - min(h.run_at) FILTER (WHERE h.lease IS NULL AND h.blocked IS NULL))::float8, 0)
        FROM hot h GROUP BY h.queue ORDER BY h.queue
        """)

    func figures() throws(StoreError) -> [QueueFigures] {
        let rows = try connection.run(Self.figures)
        var figures: [QueueFigures] = []
        for row in rows.indices {
            figures.append(
                QueueFigures(
                    name: try rows.requireString(row, 0), depth: Int(try rows.requireInt(row, 1)), running: Int(try rows.requireInt(row, 2)),
                    oldestSeconds: max(0, rows.double(row, 3) ?? 0)))
        }
        return figures
    }

    private static let durability = Statement(
        "durability",
        """
        SELECT current_setting('synchronous_commit'),
            array_to_string(ARRAY(SELECT application_name FROM pg_stat_replication WHERE sync_state IN ('sync', 'quorum') ORDER BY 1), ','),
            coalesce((SELECT max(age(backend_xmin)) FROM pg_stat_activity), 0)::bigint,
            coalesce((SELECT extract(epoch FROM now() - min(xact_start)) FROM pg_stat_activity WHERE backend_xmin IS NOT NULL), 0)::float8
        """)

    func durability() throws(StoreError) -> Durability {
        let rows = try connection.run(Self.durability)
        return Durability(
            synchronousCommit: try rows.requireString(0, 0),
            synchronousStandbys: (rows.string(0, 1) ?? "").split(separator: ",").map(String.init), xminAge: rows.int(0, 2) ?? 0,
            xminAgeSeconds: max(0, rows.double(0, 3) ?? 0))
    }
}
