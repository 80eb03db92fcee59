internal import Encodings
internal import TaskProtocol

/// Brokers and workers as rows: registration, beats, and what happens to leases when a session ends.
extension StoreSession {
    private static let upsertBroker = Statement(
        "upsert_broker",
        """
        INSERT INTO brokers (id, host, pid, version, endpoints, public_key)
        VALUES ($1::uuid, $2::text, $3::int, $4::text, $5::text::jsonb, $6::text)
        ON CONFLICT (id) DO UPDATE SET
            host = excluded.host, pid = excluded.pid, version = excluded.version, endpoints = excluded.endpoints,
            public_key = excluded.public_key, seen_at = now()
        """)
    private static let deleteBroker = Statement("delete_broker", "DELETE FROM brokers WHERE id = $1::uuid")
    private static let setIdle = Statement("set_idle", "UPDATE brokers SET idle = $2::bool WHERE id = $1::uuid")
    private static let upsertSession = Statement(
        "upsert_session",
        """
        INSERT INTO sessions (id, broker, host, pid, version, numerics, instruction_set, threads, slots, parameters, epoch, public_key)
        VALUES ($1::uuid, $2::uuid, $3::text, $4::int, $5::text, $6::text[], $7::text, $8::int, $9::int, $10::text[], $11::bigint, $12::text)
        ON CONFLICT (id) DO UPDATE SET
            broker = excluded.broker, counter = sessions.counter + 1, seen_at = now(), state = 'running', epoch = excluded.epoch,
            public_key = coalesce(excluded.public_key, sessions.public_key)
        WHERE sessions.epoch <= excluded.epoch AND coalesce(sessions.public_key = excluded.public_key, true)
        """)

    /// What brokers decide over its leases, and what they lease to it, is done before it joins another.
    private static let awaitDecisions = Statement(
        "await_decisions",
        """
        SELECT FROM sessions
        WHERE sessions.id = $1::uuid AND sessions.epoch < $2::bigint AND coalesce(sessions.public_key = $3::text, true)
        FOR UPDATE
        """)
    private static let withdrawSession = Statement(
        "withdraw_session",
        """
        DELETE FROM sessions
        WHERE sessions.id = $1::uuid AND sessions.epoch = $2::bigint AND sessions.counter = 0
            AND EXISTS (
                SELECT FROM ended_sessions e
                WHERE e.id = $1::uuid AND NOT (e.epoch <= $2::bigint AND coalesce(e.public_key = $3::text, true))
            )
        """)

    func registerBroker(_ registration: BrokerRegistration) throws(StoreError) {
        var endpoints = JSONObject()
        for (name, address) in registration.endpoints.sorted(by: { $0.key < $1.key }) { endpoints[name] = .string(address) }
        _ = try connection.run(
            Self.upsertBroker,
            [
                .uuid(registration.id), .text(registration.host), .int32(registration.pid), .text(registration.version),
                .bytes(JSONValue.object(endpoints).serialised), .text(registration.publicKey),
            ])
    }

    func endBroker(_ broker: BrokerID) throws(StoreError) { _ = try connection.run(Self.deleteBroker, [.uuid(broker)]) }

    func markIdle(_ broker: BrokerID, _ idle: Bool) throws(StoreError) {
        _ = try connection.run(Self.setIdle, [.uuid(broker), .bool(idle)])
    }

    /// - Returns: false where it does not count (``SessionRegistration/outranked``): nothing changed.
    func registerSession(_ registration: SessionRegistration) throws(StoreError) -> Bool {
        try connection.transaction { () throws(StoreError) in
            _ = try connection.run(
                Self.awaitDecisions, [.uuid(registration.session), .int(Int64(registration.epoch)), .text(registration.publicKey)])
            let written = try connection.run(
                Self.upsertSession,
                [
                    .uuid(registration.session), .uuid(registration.broker), .text(registration.host), .int32(registration.pid),
                    .text(registration.version), .texts(registration.numerics), .text(registration.instructionSet), .int32(registration.threads),
                    .int32(registration.slots), .texts(registration.parameters), .int(Int64(registration.epoch)),
                    .text(registration.publicKey),
                ])
            if written.affected == 0 { return false }
            // Looked up afterwards: the insert may have waited for the end of the row before. A row that was there already is not new, its counter not 0.
            let earlier = try connection.run(
                Self.withdrawSession, [.uuid(registration.session), .int(Int64(registration.epoch)), .text(registration.publicKey)])
            return earlier.affected == 0
        }
    }

    // MARK: Beats

    private static let beatBroker = Statement(
        "beat_broker",
        """
        UPDATE brokers SET counter = counter + 1, seen_at = now(), state = CASE WHEN $2::bool THEN 'draining' ELSE 'running' END
        WHERE id = $1::uuid RETURNING id
        """)
    private static let brokerRows = Statement("broker_rows", "SELECT id, counter, endpoints ->> 'peers', public_key, idle FROM brokers ORDER BY id")
    private static let beatSessions = Statement(
        "beat_sessions",
        """
        UPDATE sessions SET
            counter = sessions.counter + 1, seen_at = now(), broker = $3::uuid,
            state = CASE WHEN ($2::bool[])[array_position($1::uuid[], sessions.id)] THEN 'draining' ELSE 'running' END
        WHERE sessions.id = ANY (ARRAY(SELECT s.id FROM sessions s WHERE s.id = ANY ($1::uuid[]) ORDER BY s.id FOR NO KEY UPDATE))
        RETURNING sessions.id
        """)
    private static let counters = Statement(
        "session_counters", "SELECT id, counter, broker, floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint FROM sessions ORDER BY id")
    private static let clock = Statement("clock", "SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint")
    static let cancels = Statement(
        "cancels",
        """
        SELECT task, lease, session, attempt FROM hot
        WHERE cancel_requested AND lease IS NOT NULL AND ($1::uuid[] IS NULL OR session = ANY ($1::uuid[]))
        """)

    func beat(_ request: BeatRequest) throws(StoreError) -> BeatReply {
        try connection.transaction { () throws(StoreError) in
            let known = try connection.run(Self.beatBroker, [.uuid(request.broker), .bool(request.isDraining)]).count > 0
            let sessions = request.sessions.sorted { $0.session < $1.session }
            let rows = try connection.run(
                Self.beatSessions, [.uuids(sessions.map(\.session)), .bools(sessions.map(\.draining)), .uuid(request.broker)])
            var alive = Set<SessionID>()
            for row in rows.indices { alive.insert(try rows.requireUUID(row, 0)) }
            let all = try connection.run(Self.counters)
            var counters: [SessionCounter] = []
            for row in all.indices {
                counters.append(
                    SessionCounter(session: try all.requireUUID(row, 0), counter: try all.requireInt(row, 1), broker: all.uuid(row, 2)))
            }
            return BeatReply(
                databaseMilliseconds: try connection.run(Self.clock).requireInt(0, 0),
                unknown: sessions.map(\.session).filter { !alive.contains($0) }, counters: counters,
                cancels: try cancelRequests(of: Array(alive)), brokerKnown: known, brokers: try brokers())
        }
    }

    private func brokers() throws(StoreError) -> [BrokerRow] {
        let rows = try connection.run(Self.brokerRows)
        var found: [BrokerRow] = []
        for row in rows.indices {
            found.append(
                BrokerRow(
                    id: try rows.requireUUID(row, 0), counter: try rows.requireInt(row, 1), peersEndpoint: rows.string(row, 2),
                    publicKey: rows.string(row, 3), isIdle: try rows.bool(row, 4)))
        }
        return found
    }

    /// Leases whose tasks are to be cancelled; of all sessions where none are named.
    func cancelRequests(of sessions: [SessionID]?) throws(StoreError) -> [LeaseReference] {
        let rows = try connection.run(Self.cancels, [sessions.map { .uuids($0) } ?? .null])
        var found: [LeaseReference] = []
        for row in rows.indices {
            found.append(
                LeaseReference(
                    task: try rows.requireUUID(row, 0), lease: try rows.requireUUID(row, 1), session: rows.uuid(row, 2),
                    attempt: Int(try rows.requireInt(row, 3))))
        }
        return found
    }

    // MARK: Ends

    private static let lockDead = Statement(
        "lock_dead", "SELECT id FROM sessions WHERE id = $1::uuid AND counter = $2::bigint FOR UPDATE")
    private static let lockLeaving = Statement("lock_leaving", "SELECT id FROM sessions WHERE id = $1::uuid FOR UPDATE")
    private static let deleteSession = Statement(
        "delete_session",
        """
        WITH gone AS (
            DELETE FROM sessions
            WHERE sessions.id = $1::uuid AND NOT EXISTS (SELECT FROM hot WHERE hot.session = $1::uuid AND hot.lease IS NOT NULL)
            RETURNING sessions.id, sessions.epoch, sessions.public_key
        ), old AS (
            DELETE FROM ended_sessions WHERE ended_sessions.id = ANY (ARRAY(
                SELECT e.id FROM ended_sessions e WHERE e.ended_at < now() - interval '1 day' AND e.id <> $1::uuid
                ORDER BY e.ended_at LIMIT 100 FOR UPDATE SKIP LOCKED))
        )
        INSERT INTO ended_sessions (id, epoch, public_key) SELECT gone.id, gone.epoch, gone.public_key FROM gone
        ON CONFLICT (id) DO UPDATE SET
            epoch = greatest(ended_sessions.epoch, excluded.epoch), public_key = coalesce(excluded.public_key, ended_sessions.public_key),
            ended_at = excluded.ended_at
        """)

    private static let lostError = ContractError(.lost, "its workers died while they ran it, alone at last")

    /// Ends sessions whose counter has not risen: the condition stands in the lock itself, so a beat that came meanwhile saves them.
    ///
    /// A task whose row somebody's open transaction holds is left for the next sweep, and its session with it: it holds up no other.
    func sweep(_ dead: [DeadSession]) throws(StoreError) -> SweepReply {
        var reply = SweepReply(ended: [], settled: [])
        for session in dead.sorted(by: { $0.session < $1.session }) {
            let one = try sweep(session)
            reply.ended += one.ended
            reply.settled += one.settled
            reply.standing += one.standing
        }
        return reply
    }

    private func sweep(_ session: DeadSession) throws(StoreError) -> SweepReply {
        do throws(StoreError) {
            return try connection.transaction { () throws(StoreError) in
                let isDead = try connection.run(Self.lockDead, [.uuid(session.session), .int(session.counter)]).count > 0
                return isDead ? try settle(session.session, lost: true) : SweepReply(ended: [], settled: [])
            }
        } catch {
            // Somebody holds what a lost task's end brings with it, such as the row of one that waits for it.
            if case .lockTimeout = error { return SweepReply(ended: [], settled: []) }
            throw error
        }
    }

    func endSession(_ session: SessionID) throws(StoreError) -> SweepReply {
        try connection.transaction { () throws(StoreError) in
            let stands = try connection.run(Self.lockLeaving, [.uuid(session)]).count > 0
            return stands ? try settle(session, lost: false) : SweepReply(ended: [], settled: [])
        }
    }

    /// Ends the leases of a locked session whose rows nobody else holds, then, where none is left, the session.
    private func settle(_ session: SessionID, lost: Bool) throws(StoreError) -> SweepReply {
        let tasks = try lock(session: session).values.sorted { $0.task < $1.task }
        var ends: [TaskEnd] = []
        var requeues: [Requeue] = []
        for task in tasks {
            let counted = lost && task.isolated
            let (failures, losses) = (task.failures + (counted ? 1 : 0), task.losses + (lost ? 1 : 0))
            let ending = lost ? "lost" : "released"
            if task.cancelRequested {
                ends.append(TaskEnd(task: task.task, state: .cancelled, ending: ending, error: nil, failures: failures, losses: losses))
            } else if counted && failures >= task.maxAttempts {
                ends.append(
                    TaskEnd(task: task.task, state: .failed, ending: ending, error: Self.lostError, failures: failures, losses: losses))
            } else {
                requeues.append(
                    Requeue(
                        task: task.task, outcome: ending, error: nil, failures: failures, losses: losses, delayMilliseconds: 0))
            }
        }
        let settlements = try settle(tasks, ends: ends, requeues: requeues)
        let isOver = try connection.run(Self.deleteSession, [.uuid(session)]).affected > 0
        let settled = tasks.compactMap { task -> SettledLease? in
            guard let reference = task.reference(), let settlement = settlements[task.task] else { return nil }
            return SettledLease(reference: reference, settlement: settlement.settlement)
        }
        return SweepReply(ended: isOver ? [session] : [], settled: settled, standing: isOver ? [] : [session])
    }

    // MARK: Leases

    private static let sessionLeases = Statement(
        "session_leases",
        """
        SELECT h.task, h.lease, h.session, h.attempt, h.failures, t.kind, h.queue, h.isolated, t.max_attempts, t.timeout_s,
            convert_to(coalesce(t.resolved, r.resolved)::text, 'UTF8'), convert_to(p.resume::text, 'UTF8'), h.cancel_requested
        FROM (SELECT * FROM hot WHERE hot.session = ANY ($1::uuid[]) AND hot.lease IS NOT NULL OFFSET 0) h
        CROSS JOIN LATERAL (SELECT * FROM task WHERE task.id = h.task OFFSET 0) t
        LEFT JOIN LATERAL (SELECT * FROM resolutions WHERE resolutions.task = h.task OFFSET 0) r ON true
        LEFT JOIN LATERAL (SELECT * FROM task_resume WHERE task_resume.task = h.task OFFSET 0) p ON true
        ORDER BY h.task
        """)

    func leases(of sessions: [SessionID]) throws(StoreError) -> [HeldLease] {
        let rows = try connection.run(Self.sessionLeases, [.uuids(sessions)])
        var found: [HeldLease] = []
        for row in rows.indices {
            guard let kind = TaskKind(rawValue: try rows.requireString(row, 5)) else { continue }
            let grant = Grant(
                task: try rows.requireUUID(row, 0), lease: try rows.requireUUID(row, 1), session: try rows.requireUUID(row, 2),
                attempt: Int(try rows.requireInt(row, 3)), failures: Int(try rows.requireInt(row, 4)), kind: kind,
                queue: try rows.requireString(row, 6), isolated: try rows.bool(row, 7), maxAttempts: Int(try rows.requireInt(row, 8)),
                timeoutSeconds: rows.double(row, 9), resolved: try rows.requireBytes(row, 10), resume: rows.bytes(row, 11))
            found.append(HeldLease(grant: grant, cancelRequested: try rows.bool(row, 12)))
        }
        return found
    }
}
