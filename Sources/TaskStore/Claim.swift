internal import Encodings
internal import TaskProtocol

/// Leasing waiting tasks: lock a window of the queue in rank order, place it, mark what was placed.
extension StoreSession {
    /// The claim's scan: one index, one order. The fence (MATERIALIZED) keeps the planner from running the LIMIT twice.
    package static let claimScan = Statement(
        "claim_scan",
        """
        WITH c AS MATERIALIZED (
            SELECT hot.task, hot.rank, hot.attempt, hot.failures, hot.losses, hot.client, hot.run_at, hot.numerics
            FROM hot
            WHERE hot.queue = $1::text AND hot.rank >= $2::bigint AND hot.lease IS NULL AND hot.blocked IS NULL
                AND ($4::bool OR NOT EXISTS (SELECT FROM queues WHERE queues.name = $1::text AND (queues.paused OR queues.max_running IS NOT NULL)))
            ORDER BY hot.rank, hot.task
            LIMIT $3::bigint
            FOR UPDATE SKIP LOCKED
        )
        \(details)
        """)

    private static let details = """
        SELECT c.task, c.rank, c.attempt, c.failures, c.losses, t.kind, t.max_attempts, t.timeout_s,
            convert_to(coalesce(t.resolved, r.resolved)::text, 'UTF8'), j.json #>> '{model,sha256}',
            convert_to(p.resume::text, 'UTF8'), c.client,
            floor(extract(epoch FROM clock_timestamp() - greatest(
                c.run_at,
                CASE WHEN c.attempt > 0 THEN (SELECT tries.finished_at FROM tries WHERE tries.task = c.task AND tries.attempt = c.attempt) END
            )) * 1000)::bigint, j.json #>> '{params,precision}', array_to_string(c.numerics, ' '),
            convert_to(nullif((j.json -> 'params') - $5::text[], '{}'::jsonb)::text, 'UTF8')
        FROM c
        CROSS JOIN LATERAL (SELECT * FROM task WHERE task.id = c.task OFFSET 0) t
        LEFT JOIN LATERAL (SELECT * FROM resolutions WHERE resolutions.task = c.task OFFSET 0) r ON true
        CROSS JOIN LATERAL (SELECT coalesce(t.resolved, r.resolved)::jsonb AS json OFFSET 0) j
        LEFT JOIN LATERAL (SELECT * FROM task_resume WHERE task_resume.task = c.task OFFSET 0) p ON true
        ORDER BY c.rank, c.task
        """

    /// Behind a window that is full: the first tasks of clients that have none in it. A bounded look, without locks but for what it finds.
    private static let fartherScan = Statement(
        "farther_scan",
        """
        WITH w AS MATERIALIZED (
            SELECT hot.task, hot.rank, hot.client
            FROM hot
            WHERE hot.queue = $1::text AND hot.rank >= $2::bigint AND hot.lease IS NULL AND hot.blocked IS NULL
            ORDER BY hot.rank, hot.task
            LIMIT 10000
        ), f AS MATERIALIZED (
            SELECT w.task FROM w WHERE w.client <> ALL ($3::text[]) ORDER BY w.rank, w.task LIMIT $4::bigint
        ), c AS MATERIALIZED (
            SELECT h.task, h.rank, h.attempt, h.failures, h.losses, h.client, h.run_at, h.numerics
            FROM f CROSS JOIN LATERAL (
                SELECT * FROM hot WHERE hot.task = f.task AND hot.lease IS NULL AND hot.blocked IS NULL FOR UPDATE SKIP LOCKED
            ) h
        )
        \(details)
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

    private static let lease = Statement(
        "lease",
        """
        UPDATE hot SET
            attempt = hot.attempt + 1,
            lease = ($2::uuid[])[array_position($1::uuid[], hot.task)],
            session = ($3::uuid[])[array_position($1::uuid[], hot.task)],
            isolated = ($4::bool[])[array_position($1::uuid[], hot.task)],
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
            let near = try candidates(request, isLimited: room != .max)
            let exhausted = near.count < request.limit
            let all = exhausted || !request.looksFarther ? near : try near + farther(request, behind: near)
            let line = try preferringNumerics(all, request.offers)
            let live = try liveSessions(request.offers.map(\.session))
            let (grants, lastClient, keptFree) = Self.deal(line, request, request.offers.filter { live.contains($0.session) }, room: room)
            try mark(grants, request.broker)
            let granted = Set(grants.map(\.task))
            // The mark never passes a task that waits: it stops at the first that was not placed, or at the last that was seen.
            let lowWater = near.first { !granted.contains($0.grant.task) }?.rank ?? near.last?.rank ?? request.fromRank
            return ClaimReply(
                queue: request.queue, grants: grants, exhausted: exhausted, lowWater: lowWater,
                unplaced: near.count { !granted.contains($0.grant.task) }, heldBack: false, lastClient: lastClient, keptFree: keptFree)
        }
    }

    /// A task that waits in line, as far as leasing it needs.
    struct Candidate {
        /// All but its session and lease.
        var grant: Grant
        var rank: Int64
        /// Digest of the checkpoint it runs on.
        var model: String?
        /// What a generate's model is rounded to.
        var precision: Precision
        var client: String
        /// What the worker of its first attempt computed in; empty where it is the first.
        var pastNumerics: [String]
        /// Names of its parameters that not all offers know.
        var parameters: Set<String>
        var preference = NumericsPreference.none
    }

    /// Gives the offered room to the clients in turns.
    private static func deal(
        _ line: [Candidate], _ request: ClaimRequest, _ offers: [PlacementOffer], room: Int
    ) -> (grants: [Grant], lastClient: String?, keptFree: SessionID?) {
        let dealt = FairShare.order(line.map(\.client), after: request.lastClient).map { line[$0] }
        let placed = Placement.assign(
            candidates: dealt.map {
                PlacementCandidate(
                    task: $0.grant.task, kind: $0.grant.kind, model: $0.model, precision: $0.precision, isolated: $0.grant.isolated,
                    numerics: $0.preference.required, parameters: $0.parameters)
            }, offers: offers)
        var grants: [Grant] = []
        var lastClient: String?
        for (candidate, offer) in zip(dealt, placed.chosen) {
            guard let offer, grants.count < min(request.leases.count, room) else { continue }
            var grant = candidate.grant
            grant.session = offers[offer].session
            grant.lease = request.leases[grants.count]
            grant.newNumerics = candidate.preference.replacement(offers[offer].numerics)
            grants.append(grant)
            lastClient = candidate.client
        }
        return (grants, lastClient, placed.keptFree.map { offers[$0].session })
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

    private func candidates(_ request: ClaimRequest, isLimited: Bool) throws(StoreError) -> [Candidate] {
        let parameters: [StatementParameter] = [
            .text(request.queue), .int(request.fromRank ?? Int64.min), .int(Int64(request.limit)), .bool(isLimited),
            Self.knownToAll(request),
        ]
        return try candidates(connection.run(Self.claimScan, parameters), request.queue)
    }

    private func farther(_ request: ClaimRequest, behind near: [Candidate]) throws(StoreError) -> [Candidate] {
        let parameters: [StatementParameter] = [
            .text(request.queue), .int(near.last?.rank), .texts(Set(near.map(\.client)).sorted()), .int(Int64(request.leases.count)),
            Self.knownToAll(request),
        ]
        return try candidates(connection.run(Self.fartherScan, parameters), request.queue)
    }

    /// What need not be told of a task's parameters.
    private static func knownToAll(_ request: ClaimRequest) -> StatementParameter {
        Placement.knownToAll(request.offers).map { .texts($0.sorted()) } ?? .null
    }

    private func candidates(_ rows: StatementRows, _ queue: String) throws(StoreError) -> [Candidate] {
        var found: [Candidate] = []
        found.reserveCapacity(rows.count)
        for row in rows.indices {
            // A kind of a later release stays in line for its brokers.
            guard let kind = TaskKind(rawValue: try rows.requireString(row, 5)) else { continue }
            let grant = Grant(
                task: try rows.requireUUID(row, 0), lease: UUIDValue(hi: 0, lo: 0), session: UUIDValue(hi: 0, lo: 0),
                attempt: Int(try rows.requireInt(row, 2)) + 1, failures: Int(try rows.requireInt(row, 3)), kind: kind, queue: queue,
                isolated: try rows.requireInt(row, 4) >= Int64(Self.lossesBeforeIsolation), maxAttempts: Int(try rows.requireInt(row, 6)),
                timeoutSeconds: rows.double(row, 7), resolved: try rows.requireBytes(row, 8), resume: rows.bytes(row, 10),
                waitedMilliseconds: max(0, try rows.requireInt(row, 12)))
            // A precision of a later release, too.
            guard let precision = kind == .generate ? Precision(rawValue: rows.string(row, 13) ?? "float32") : .float32 else { continue }
            found.append(
                Candidate(
                    grant: grant, rank: try rows.requireInt(row, 1), model: rows.string(row, 9), precision: precision,
                    client: try rows.requireString(row, 11), pastNumerics: rows.string(row, 14)?.split(separator: " ").map(String.init) ?? [],
                    parameters: rows.bytes(row, 15).map(TaskParameters.names) ?? []))
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
        try forgetNumerics(grants.filter { $0.newNumerics != nil }.map(\.task))
    }
}
