internal import Encodings
internal import TaskProtocol

/// Leasing waiting tasks: lock a window of the queue in rank order, place it, mark what was placed.
extension StoreSession {
    /// The claim's scan: one index, one order. The fence (MATERIALIZED) keeps the planner from running the LIMIT twice.
    package static let claimScan = Statement(
        "claim_scan",
        """
        WITH c AS MATERIALIZED (
            SELECT hot.task, hot.rank, hot.attempt, hot.failures, hot.losses, hot.run_at
            FROM hot
            WHERE hot.queue = $1::text AND hot.rank >= $2::bigint AND hot.lease IS NULL AND hot.blocked IS NULL
            ORDER BY hot.rank, hot.task
            LIMIT $3::bigint
            FOR UPDATE SKIP LOCKED
        )
        SELECT c.task, c.rank, c.attempt, c.failures, c.losses, t.kind, t.max_attempts, t.timeout_s,
            convert_to(coalesce(t.resolved, r.resolved)::text, 'UTF8'), coalesce(t.resolved, r.resolved)::jsonb #>> '{model,sha256}',
            convert_to(p.resume::text, 'UTF8'),
            floor(extract(epoch FROM clock_timestamp() - greatest(
                c.run_at,
                CASE WHEN c.attempt > 0 THEN (SELECT tries.finished_at FROM tries WHERE tries.task = c.task AND tries.attempt = c.attempt) END
            )) * 1000)::bigint
        FROM c
        CROSS JOIN LATERAL (SELECT * FROM task WHERE task.id = c.task OFFSET 0) t
        LEFT JOIN LATERAL (SELECT * FROM resolutions WHERE resolutions.task = c.task OFFSET 0) r ON true
        LEFT JOIN LATERAL (SELECT * FROM task_resume WHERE task_resume.task = c.task OFFSET 0) p ON true
        ORDER BY c.rank, c.task
        """)

    private static let queueSettings = Statement(
        "queue_settings", "SELECT paused, max_running FROM queues WHERE name = $1::text")
    private static let lockQueue = Statement(
        "lock_queue", "SELECT paused, max_running FROM queues WHERE name = $1::text FOR UPDATE")
    private static let countRunning = Statement(
        "count_running", "SELECT count(*) FROM hot WHERE hot.queue = $1::text AND hot.session IS NOT NULL")
    private static let lockSessions = Statement(
        "lock_sessions", "SELECT id FROM sessions WHERE id = ANY ($1::uuid[]) ORDER BY id FOR KEY SHARE")

    private static let lease = Statement(
        "lease",
        """
        UPDATE hot SET
            attempt = hot.attempt + 1,
            lease = ($2::uuid[])[array_position($1::uuid[], hot.task)],
            session = ($3::uuid[])[array_position($1::uuid[], hot.task)],
            isolated = ($4::bool[])[array_position($1::uuid[], hot.task)],
            broker = $5::uuid,
            started_at = now()
        WHERE hot.task = ANY ($1::uuid[]) AND hot.lease IS NULL
        RETURNING hot.task
        """)

    /// A task lost with its worker so often is next run alone.
    private static let lossesBeforeIsolation = 2

    func claim(_ request: ClaimRequest) throws(StoreError) -> ClaimReply {
        try connection.transaction { () throws(StoreError) in
            let room = try roomUnderLimit(request.queue)
            guard room > 0 else {
                return ClaimReply(queue: request.queue, grants: [], exhausted: false, lowWater: nil, unplaced: 0, heldBack: true)
            }
            let candidates = try candidates(request)
            let live = try liveSessions(request.offers.map(\.session))
            let offers = request.offers.filter { live.contains($0.session) }
            let placed = Placement.assign(
                candidates: candidates.map {
                    PlacementCandidate(task: $0.grant.task, kind: $0.grant.kind, model: $0.model, isolated: $0.grant.isolated)
                }, offers: offers)
            var grants: [Grant] = []
            var firstUnplaced: Int64?
            for (candidate, offer) in zip(candidates, placed) {
                guard let offer, grants.count < min(request.leases.count, room) else {
                    firstUnplaced = firstUnplaced ?? candidate.rank
                    continue
                }
                var grant = candidate.grant
                grant.session = offers[offer].session
                grant.lease = request.leases[grants.count]
                grants.append(grant)
            }
            try mark(grants, request.broker)
            let exhausted = candidates.count < request.limit
            // The mark never passes a task that waits: it stops at the first that was not placed, or at the last that was seen.
            let lowWater = firstUnplaced ?? candidates.last?.rank ?? request.fromRank
            return ClaimReply(
                queue: request.queue, grants: grants, exhausted: exhausted, lowWater: lowWater, unplaced: candidates.count - grants.count,
                heldBack: false)
        }
    }

    /// How many more tasks of a queue may run. The running ones are counted under a lock of the queue's row, never kept in a counter.
    private func roomUnderLimit(_ queue: String) throws(StoreError) -> Int {
        let settings = try connection.run(Self.queueSettings, [.text(queue)])
        guard settings.count > 0 else { return .max }
        if try settings.bool(0, 0) { return 0 }
        guard settings.int(0, 1) != nil else { return .max }
        let locked = try connection.run(Self.lockQueue, [.text(queue)])
        guard locked.count > 0, let limit = locked.int(0, 1) else { return .max }
        if try locked.bool(0, 0) { return 0 }
        return max(0, Int(limit - (try connection.run(Self.countRunning, [.text(queue)]).requireInt(0, 0))))
    }

    private func candidates(_ request: ClaimRequest) throws(StoreError) -> [(grant: Grant, rank: Int64, model: String?)] {
        let rows = try connection.run(
            Self.claimScan, [.text(request.queue), .int(request.fromRank ?? Int64.min), .int(Int64(request.limit))])
        var found: [(grant: Grant, rank: Int64, model: String?)] = []
        found.reserveCapacity(rows.count)
        for row in rows.indices {
            // A kind of a later release stays in line for its brokers.
            guard let kind = TaskKind(rawValue: try rows.requireString(row, 5)) else { continue }
            let grant = Grant(
                task: try rows.requireUUID(row, 0), lease: UUIDValue(hi: 0, lo: 0), session: UUIDValue(hi: 0, lo: 0),
                attempt: Int(try rows.requireInt(row, 2)) + 1, failures: Int(try rows.requireInt(row, 3)), kind: kind, queue: request.queue,
                isolated: try rows.requireInt(row, 4) >= Int64(Self.lossesBeforeIsolation), maxAttempts: Int(try rows.requireInt(row, 6)),
                timeoutSeconds: rows.double(row, 7), resolved: try rows.requireBytes(row, 8), resume: rows.bytes(row, 10),
                waitedMilliseconds: max(0, try rows.requireInt(row, 11)))
            found.append((grant, try rows.requireInt(row, 1), rows.string(row, 9)))
        }
        return found
    }

    /// Sessions that stand, kept from going until this transaction ends.
    private func liveSessions(_ sessions: [SessionID]) throws(StoreError) -> Set<SessionID> {
        let rows = try connection.run(Self.lockSessions, [.uuids(Set(sessions).sorted())])
        var live = Set<SessionID>()
        for row in rows.indices { live.insert(try rows.requireUUID(row, 0)) }
        return live
    }

    private func mark(_ grants: [Grant], _ broker: BrokerID) throws(StoreError) {
        guard !grants.isEmpty else { return }
        _ = try connection.run(
            Self.lease,
            [
                .uuids(grants.map(\.task)), .uuids(grants.map(\.lease)), .uuids(grants.map(\.session)), .bools(grants.map(\.isolated)),
                .uuid(broker),
            ])
    }
}
