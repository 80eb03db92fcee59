internal import Encodings
internal import TaskProtocol

/// Leasing waiting tasks: look along the queue in rank order, choose whose turn it is, lock what there is room for, mark what was placed.
///
/// The look takes no locks and reads no task: a window is a thousand rows, of which most claims lease a few.
extension StoreSession {
    /// The claim's scan: one index, one order.
    package static let claimScan = Statement(
        "claim_scan",
        """
        SELECT hot.task, hot.rank, hot.client
        FROM hot
        WHERE hot.queue = $1::text AND hot.rank >= $2::bigint AND hot.lease IS NULL AND hot.blocked IS NULL
            AND ($5::uuid IS NULL OR (hot.rank, hot.task) > ($2::bigint, $5::uuid))
            AND ($4::bool OR NOT EXISTS (SELECT FROM queues WHERE queues.name = $1::text AND (queues.paused OR queues.max_running IS NOT NULL)))
        ORDER BY hot.rank, hot.task
        LIMIT $3::bigint
        """)

    /// Behind a window that is full: the first tasks of clients that have none in it. A bounded look.
    private static let fartherScan = Statement(
        "farther_scan",
        """
        WITH w AS MATERIALIZED (
            SELECT hot.task, hot.rank, hot.client
            FROM hot
            WHERE hot.queue = $1::text AND hot.rank >= $2::bigint AND hot.lease IS NULL AND hot.blocked IS NULL
            ORDER BY hot.rank, hot.task
            LIMIT 10000
        )
        SELECT w.task, w.rank, w.client FROM w WHERE w.client <> ALL ($3::text[]) ORDER BY w.rank, w.task LIMIT $4::bigint
        """)

    /// Locks tasks that a scan found, and reads what leasing them needs. Those that somebody else took since, or is taking, are left out.
    ///
    /// The condition is spelled so that it does not imply hot_ready's: the planner would go through all of that index for each task.
    package static let claimLock = Statement(
        "claim_lock",
        """
        WITH c AS MATERIALIZED (
            SELECT h.task, h.attempt, h.failures, h.losses, h.run_at, h.numerics
            FROM unnest($1::uuid[]) AS w (task) CROSS JOIN LATERAL (
                SELECT * FROM hot WHERE hot.task = w.task AND num_nonnulls(hot.lease, hot.blocked) = 0 FOR UPDATE SKIP LOCKED
            ) h
        )
        SELECT c.task, c.attempt, c.failures, c.losses, t.kind, t.max_attempts, t.timeout_s,
            convert_to(coalesce(t.resolved, r.resolved), 'UTF8'), convert_to(p.resume::text, 'UTF8'),
            floor(extract(epoch FROM clock_timestamp() - greatest(
                c.run_at,
                CASE WHEN c.attempt > 0 THEN (SELECT tries.finished_at FROM tries WHERE tries.task = c.task AND tries.attempt = c.attempt) END
            )) * 1000)::bigint, array_to_string(c.numerics, ' ')
        FROM c
        CROSS JOIN LATERAL (SELECT * FROM task WHERE task.id = c.task OFFSET 0) t
        LEFT JOIN LATERAL (SELECT * FROM resolutions WHERE resolutions.task = c.task OFFSET 0) r ON true
        LEFT JOIN LATERAL (SELECT * FROM task_resume WHERE task_resume.task = c.task OFFSET 0) p ON true
        """)

    /// A queue without limit is locked together with others who lease from it; that fails while somebody changes its settings.
    private static let queueSettings = Statement(
        "queue_settings",
        """
        SELECT coalesce(q.paused, false), q.max_running,
            CASE WHEN coalesce(q.paused, false) OR q.max_running IS NOT NULL THEN true
                ELSE pg_try_advisory_xact_lock_shared(queue_lock($1::text)) END
        FROM (SELECT) one LEFT JOIN (SELECT * FROM queues WHERE queues.name = $1::text) q ON true
        """)
    private static let takeQueue = Statement("take_queue", "SELECT take_queue($1::text)")
    private static let queueRoom = Statement(
        "queue_room",
        """
        SELECT q.paused, q.max_running - (
            SELECT count(*) FROM (SELECT FROM hot WHERE hot.session IS NOT NULL AND hot.queue = q.name LIMIT q.max_running) running
        )
        FROM queues q WHERE q.name = $1::text
        """)
    private static let lockSessions = Statement(
        "lock_sessions", "SELECT id FROM sessions WHERE id = ANY ($1::uuid[]) ORDER BY id FOR KEY SHARE")

    /// The tasks ascend: width_bucket finds a place among them by bisection.
    private static let lease = Statement(
        "lease",
        """
        UPDATE hot SET
            attempt = hot.attempt + 1,
            lease = ($2::uuid[])[width_bucket(hot.task, $1::uuid[])],
            session = ($3::uuid[])[width_bucket(hot.task, $1::uuid[])],
            isolated = ($4::bool[])[width_bucket(hot.task, $1::uuid[])],
            broker = $5::uuid,
            started_at = clock_timestamp()
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
            let near = try scan(request, isLimited: room != .max)
            let isFull = near.count >= request.limit && request.looksFarther && request.behind == nil
            let farther = isFull ? try farther(request, behind: near) : []
            let live = try liveSessions(request.offers.map(\.session))
            var deal = ClaimDeal(request, near: near, farther: farther, isLive: live.contains, room: room)
            var places = deal.next()
            while !places.isEmpty {
                deal.place(places, try candidates(places, request))
                places = deal.next()
            }
            try mark(deal.grants, request.broker)
            return try deal.reply(keeping: stillWaiting(deal.passedOver))
        }
    }

    /// How many more tasks of a queue may run; `Int.max` where it has no limit.
    ///
    /// The running ones are counted under the queue's lock, never kept in a counter that could leak. A queue whose settings somebody is changing in an
    /// open transaction is held back until that is decided.
    private func roomUnderLimit(_ queue: String) throws(StoreError) -> Int {
        let settings = try connection.run(Self.queueSettings, [.text(queue)])
        if try settings.bool(0, 0) { return 0 }
        guard settings.int(0, 1) != nil else { return try settings.bool(0, 2) ? .max : 0 }
        guard try connection.run(Self.takeQueue, [.text(queue)]).bool(0, 0) else { return 0 }
        let room = try connection.run(Self.queueRoom, [.text(queue)])
        guard room.count > 0, try !room.bool(0, 0) else { return 0 }
        // The limit may have been taken away meanwhile: the next claim sees that.
        return Int(room.int(0, 1) ?? 0)
    }

    private func scan(_ request: ClaimRequest, isLimited: Bool) throws(StoreError) -> [LinePlace] {
        try places(
            connection.run(
                Self.claimScan,
                [
                    .text(request.queue), .int(request.behind?.rank ?? request.fromRank ?? Int64.min), .int(Int64(request.limit)), .bool(isLimited),
                    .uuid(request.behind?.task),
                ]))
    }

    private func farther(_ request: ClaimRequest, behind near: [LinePlace]) throws(StoreError) -> [LinePlace] {
        try places(
            connection.run(
                Self.fartherScan,
                [
                    .text(request.queue), .int(near.last?.rank), .texts(Set(near.map(\.client)).sorted()), .int(Int64(request.leases.count)),
                ]))
    }

    private func places(_ rows: StatementRows) throws(StoreError) -> [LinePlace] {
        var found: [LinePlace] = []
        found.reserveCapacity(rows.count)
        for row in rows.indices {
            found.append(
                LinePlace(task: try rows.requireUUID(row, 0), rank: try rows.requireInt(row, 1), client: try rows.requireString(row, 2)))
        }
        return found
    }

    /// Locks places of the line; those that are not there any more are left out.
    private func candidates(_ places: ArraySlice<LinePlace>, _ request: ClaimRequest) throws(StoreError) -> [TaskID: ClaimCandidate] {
        let rows = try connection.run(Self.claimLock, [.uuids(places.map(\.task))])
        let known = Placement.knownToAll(request.offers)
        var found: [TaskID: ClaimCandidate] = [:]
        for row in rows.indices {
            let task = try rows.requireUUID(row, 0)
            let kind = TaskKind(rawValue: try rows.requireString(row, 4))
            let resolved = try rows.requireBytes(row, 7)
            let grant = Grant(
                task: task, lease: UUIDValue(hi: 0, lo: 0), session: UUIDValue(hi: 0, lo: 0), attempt: Int(try rows.requireInt(row, 1)) + 1,
                failures: Int(try rows.requireInt(row, 2)), kind: kind ?? .generate, queue: request.queue,
                isolated: try rows.requireInt(row, 3) >= Int64(Self.lossesBeforeIsolation), maxAttempts: Int(try rows.requireInt(row, 5)),
                timeoutSeconds: rows.double(row, 6), resolved: resolved, resume: rows.bytes(row, 8),
                waitedMilliseconds: max(0, try rows.requireInt(row, 9)))
            found[task] = ClaimCandidate(
                grant: grant, needs: kind.flatMap { PlacementNeeds(of: resolved, kind: $0, known: known) },
                pastNumerics: rows.string(row, 10)?.split(separator: " ").map(String.init) ?? [])
        }
        return try preferringNumerics(found, request.offers)
    }

    private static let standing = Statement(
        "claim_standing", "SELECT hot.task FROM hot WHERE hot.task = ANY ($1::uuid[]) AND num_nonnulls(hot.lease, hot.blocked) = 0")

    /// Who holds a row may lease it, or only look at it: a publisher who names it in `after`, another claim that finds no place for it.
    private func stillWaiting(_ tasks: [TaskID]) throws(StoreError) -> Set<TaskID> {
        guard !tasks.isEmpty else { return [] }
        let rows = try connection.run(Self.standing, [.uuids(tasks)])
        var waiting = Set<TaskID>()
        for row in rows.indices { waiting.insert(try rows.requireUUID(row, 0)) }
        return waiting
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
        let ascending = grants.sorted { $0.task < $1.task }
        _ = try connection.run(
            Self.lease,
            [
                .uuids(ascending.map(\.task)), .uuids(ascending.map(\.lease)), .uuids(ascending.map(\.session)),
                .bools(ascending.map(\.isolated)), .uuid(broker),
            ])
        try forgetNumerics(grants.filter { $0.newNumerics != nil }.map(\.task))
    }
}
