internal import TaskProtocol

/// Tasks stored without a check: those published in SQL, and those let go by the last task of their `after`.
extension StoreSession {
    /// The task's map is put together from its columns, or read as it was given where they cannot hold it.
    private static let unchecked = Statement(
        "unchecked",
        """
        WITH c AS MATERIALIZED (
            SELECT hot.task FROM hot WHERE hot.blocked = 'c' AND hot.task > $1::uuid ORDER BY hot.task LIMIT $2::bigint
        ), s AS MATERIALIZED (
            SELECT c.task, sum(w.bytes) OVER (ORDER BY c.task) - w.bytes AS before
            FROM c CROSS JOIN LATERAL (
                SELECT pg_column_size(task.params)
                    + coalesce((SELECT pg_column_size(task_given.given) FROM task_given WHERE task_given.task = c.task), 0) AS bytes
                FROM task WHERE task.id = c.task OFFSET 0
            ) w
        ), u AS MATERIALIZED (
            SELECT s.task, sum(w.bytes) OVER (ORDER BY s.task) - w.bytes AS before
            FROM s CROSS JOIN LATERAL (
                SELECT octet_length(task.params::text)
                    + coalesce((SELECT octet_length(task_given.given::text) FROM task_given WHERE task_given.task = s.task), 0) AS bytes
                FROM task WHERE task.id = s.task OFFSET 0
            ) w
            WHERE s.before < $4::bigint
        )
        SELECT h.task, convert_to(coalesce(g.given, v.given)::text, 'UTF8'), g.given IS NOT NULL, t.seed, t.seed_assigned, (SELECT count(*) FROM c)
        FROM u h
        CROSS JOIN LATERAL (SELECT * FROM task WHERE task.id = h.task OFFSET 0) t
        LEFT JOIN LATERAL (SELECT * FROM task_given WHERE task_given.task = h.task OFFSET 0) g ON true
        CROSS JOIN LATERAL (
            SELECT jsonb_strip_nulls(jsonb_build_object(
                'kind', t.kind, 'params', t.params, 'queue', t.queue, 'priority', t.priority, 'key', t.key, 'run_at', t.run_at,
                'timeout_s', t.timeout_s, 'max_attempts', t.max_attempts, 'after', t.after, 'tags', t.tags)) AS given
        ) v
        WHERE h.before < $3::bigint
        ORDER BY h.task
        """)
    /// What is read and pinned at a time: all of it travels to the broker and back, in one transaction.
    private static let batchBytes: Int64 = 32 << 20
    /// The same as it is stored. PostgreSQL's compression makes a ninetieth of what repeats itself, and only unpacking tells: of so much no more comes than
    /// can be measured in a moment.
    private static let storedBytes: Int64 = 4 << 20

    /// - Parameters:
    ///   - after: where to begin, behind this one; nil begins with the oldest.
    ///   - limit: how many at most; the oldest first. Large ones are fewer.
    /// - Returns: ``StoreReply/unchecked(_:isCut:)``.
    func unchecked(after: TaskID?, limit: Int) throws(StoreError) -> StoreReply {
        let rows = try connection.run(
            Self.unchecked,
            [.uuid(after ?? UUIDValue(hi: 0, lo: 0)), .int(Int64(limit)), .int(Self.batchBytes), .int(Self.storedBytes)])
        var found: [UncheckedTask] = []
        for row in rows.indices {
            found.append(
                UncheckedTask(
                    id: try rows.requireUUID(row, 0), given: try rows.requireBytes(row, 1), isMisfit: try rows.bool(row, 2), seed: rows.int(row, 3),
                    seedAssigned: try rows.bool(row, 4)))
        }
        let seen = rows.count == 0 ? 0 : Int(try rows.requireInt(0, 5))
        return .unchecked(found, isCut: seen >= limit || seen > found.count)
    }

    /// A task that was found valid.
    private struct Accepted {
        var task: TaskID
        var parameters: TaskParameters
        var after: [TaskID]
        var seed: Int64?
        var seedAssigned: Bool
    }

    private static let lockUnchecked = Statement(
        "lock_unchecked", "SELECT task FROM hot WHERE task = ANY ($1::uuid[]) AND blocked = 'c' ORDER BY task FOR UPDATE SKIP LOCKED")

    /// How long a batch waits, in milliseconds, for what its ends bring with them and somebody's open transaction holds: it is then halved until the one
    /// that meets it goes alone, and that one is left for the next check.
    private static let batchPatience = 50
    private static let singlePatience = 10

    /// Pins, fails or blocks tasks. Several brokers may check the same one: the first to lock it decides, the others find nothing. One that somebody's
    /// open transaction holds, or that waits for one that is held, is left for the next check: it holds up no other.
    func adopt(_ adoptions: [Adoption]) throws(StoreError) -> AdoptReply {
        try connection.transaction { () throws(StoreError) in
            let patience = adoptions.count > 1 ? Self.batchPatience : Self.singlePatience
            try connection.execute("SET LOCAL lock_timeout = '\(patience)ms'", name: "adopt_timeout")
            // Those waited for are locked before those that wait, as their ends do it.
            let (states, held) = try parentStates(adoptions)
            let adoptions = held.isEmpty ? adoptions : adoptions.filter { held.isDisjoint(with: $0.after) }
            let locked = try lockedUnchecked(adoptions)
            var accepted: [Accepted] = []
            var ends: [TaskEnd] = []
            for adoption in adoptions where locked.contains(adoption.task) {
                switch adoption {
                case .accept(let task, let parameters, let after, let seed, let seedAssigned):
                    accepted.append(Accepted(task: task, parameters: parameters, after: after, seed: seed, seedAssigned: seedAssigned))
                case .reject(let task, let error): ends.append(TaskEnd(task: task, state: .failed, ending: nil, error: error))
                }
            }
            let (free, waiting) = try withoutWaiting(accepted, states, &ends)
            let (ready, later) = try putInLine(free, &ends)
            let ended = try end(ends)
            let dependents = try settleDependents(of: ended.map { ($0.task, $0.state) })
            return AdoptReply(ready: ready, ended: ended + dependents.ended, setAside: waiting + later)
        }
    }

    private func lockedUnchecked(_ adoptions: [Adoption]) throws(StoreError) -> Set<TaskID> {
        let rows = try connection.run(Self.lockUnchecked, [.uuids(Set(adoptions.map(\.task)).sorted())])
        var locked = Set<TaskID>()
        for row in rows.indices { locked.insert(try rows.requireUUID(row, 0)) }
        return locked
    }

    // MARK: after

    /// The tasks that the accepted ones wait for, kept from ending until this transaction does; nil states: not ended yet.
    /// - Returns: also those that others hold locked.
    private func parentStates(_ adoptions: [Adoption]) throws(StoreError) -> (states: [TaskID: String?], held: Set<TaskID>) {
        let parents = Set(adoptions.flatMap(\.after))
        return parents.isEmpty ? ([:], []) : try freeStates(parents)
    }

    private static let block = Statement("block", "UPDATE hot SET blocked = 'a' WHERE task = ANY ($1::uuid[])")

    /// Sets aside what waits for others, and ends what waits in vain.
    /// - Returns: the rest, and how many were set aside.
    private func withoutWaiting(
        _ accepted: [Accepted], _ states: [TaskID: String?], _ ends: inout [TaskEnd]
    ) throws(StoreError) -> (free: [Accepted], waiting: Int) {
        var free: [Accepted] = []
        var waiting: [Accepted] = []
        for item in accepted {
            if let missing = item.after.firstIndex(where: { states[$0] == nil }) {
                ends.append(TaskEnd(task: item.task, state: .failed, ending: nil, error: Self.unknownParent(missing)))
            } else if item.after.contains(where: { states[$0] == .some("failed") || states[$0] == .some("cancelled") }) {
                ends.append(TaskEnd(task: item.task, state: .failed, ending: nil, error: Self.dependencyError))
            } else if item.after.allSatisfy({ states[$0] == .some("succeeded") }) {
                free.append(item)
            } else {
                waiting.append(item)
            }
        }
        try forgetParents(of: free.filter { !$0.after.isEmpty }.map(\.task))
        try insertParents(waiting.flatMap { item in item.after.map { ($0, item.task) } })
        if !waiting.isEmpty { _ = try connection.run(Self.block, [.uuids(waiting.map(\.task).sorted())]) }
        return (free, waiting.count)
    }

    // MARK: Pinning

    private static let insertResolutions = Statement(
        "insert_resolutions",
        """
        INSERT INTO resolutions (task, resolved, seed, seed_assigned)
        SELECT v.task, v.resolved, v.seed, v.seed_assigned
        FROM unnest($1::uuid[], $2::text[], $3::bigint[], $4::bool[]) AS v (task, resolved, seed, seed_assigned)
        ON CONFLICT (task) DO NOTHING
        """)
    /// A time that was not asked for is the task's creation: it is no time ahead, even where the clock was set back since.
    private static let putInLine = Statement(
        "put_in_line",
        """
        UPDATE hot SET blocked = CASE WHEN hot.run_at > greatest(now(), hot.created_at) THEN 'r' END
        WHERE hot.task = ANY ($1::uuid[]) AND hot.blocked = 'c'
        RETURNING hot.task, hot.queue, hot.rank, hot.blocked IS NULL
        """)

    /// - Returns: those that stand in line now, and how many do later.
    private func putInLine(_ accepted: [Accepted], _ ends: inout [TaskEnd]) throws(StoreError) -> (ready: [ReadyTask], later: Int) {
        let resolver = try ReferenceResolver(connection, accepted.map(\.parameters), artifacts: artifacts)
        var pinned: [(item: Accepted, json: [UInt8])] = []
        // What would bring too many proofs at once is checked again.
        for item in accepted.prefix(resolver.fitting) {
            do throws(ContractError) {
                pinned.append((item, try resolver.resolve(item.parameters, seed: item.seed, seedAssigned: item.seedAssigned).json))
            } catch {
                // An artifact store that cannot be looked into, or a dataset on its way, says nothing about the task: it is checked again.
                if error.code == .unavailable || error.code == .busy { continue }
                ends.append(TaskEnd(task: item.task, state: .failed, ending: nil, error: error))
            }
        }
        guard !pinned.isEmpty else { return ([], 0) }
        _ = try connection.run(
            Self.insertResolutions,
            [
                .uuids(pinned.map(\.item.task)), .textBytes(pinned.map { Optional($0.json) }), .ints(pinned.map(\.item.seed)),
                .bools(pinned.map(\.item.seedAssigned)),
            ])
        let rows = try connection.run(Self.putInLine, [.uuids(pinned.map(\.item.task).sorted())])
        var ready: [ReadyTask] = []
        for row in rows.indices where try rows.bool(row, 3) {
            ready.append(ReadyTask(task: try rows.requireUUID(row, 0), queue: try rows.requireString(row, 1), rank: try rows.requireInt(row, 2)))
        }
        return (ready, rows.count - ready.count)
    }
}

extension Adoption {
    /// What it waits for; none where it is refused.
    fileprivate var after: [TaskID] { if case .accept(_, _, let after, _, _) = self { after } else { [] } }
}
