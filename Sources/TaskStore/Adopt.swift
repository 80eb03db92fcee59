internal import TaskProtocol

/// Tasks stored without a check: those published in SQL, and those let go by the last task of their `after`.
extension StoreSession {
    private static let unchecked = Statement(
        "unchecked",
        """
        SELECT h.task, t.kind, t.queue, t.priority::int, t.max_attempts::int, t.timeout_s, convert_to(t.params::text, 'UTF8'), t.seed,
            t.seed_assigned
        FROM (SELECT * FROM hot WHERE hot.blocked = 'c' ORDER BY hot.task LIMIT $1::bigint) h
        CROSS JOIN LATERAL (SELECT * FROM task WHERE task.id = h.task OFFSET 0) t
        ORDER BY h.task
        """)

    /// - Parameter limit: how many at most; the oldest first.
    func unchecked(limit: Int) throws(StoreError) -> [UncheckedTask] {
        let rows = try connection.run(Self.unchecked, [.int(Int64(limit))])
        var found: [UncheckedTask] = []
        for row in rows.indices {
            found.append(
                UncheckedTask(
                    id: try rows.requireUUID(row, 0), kind: try rows.requireString(row, 1), queue: try rows.requireString(row, 2),
                    priority: Int(try rows.requireInt(row, 3)), maxAttempts: Int(try rows.requireInt(row, 4)), timeoutSeconds: rows.double(row, 5),
                    params: try rows.requireBytes(row, 6), seed: rows.int(row, 7), seedAssigned: try rows.bool(row, 8)))
        }
        return found
    }

    private static let lockUnchecked = Statement(
        "lock_unchecked", "SELECT task FROM hot WHERE task = ANY ($1::uuid[]) AND blocked = 'c' ORDER BY task FOR UPDATE")
    private static let insertResolutions = Statement(
        "insert_resolutions",
        """
        INSERT INTO resolutions (task, resolved, seed, seed_assigned)
        SELECT v.task, v.resolved, v.seed, v.seed_assigned
        FROM unnest($1::uuid[], $2::text[], $3::bigint[], $4::bool[]) AS v (task, resolved, seed, seed_assigned)
        ON CONFLICT (task) DO NOTHING
        """)
    private static let putInLine = Statement(
        "put_in_line",
        """
        UPDATE hot SET blocked = CASE WHEN hot.run_at > now() THEN 'r' END
        WHERE hot.task = ANY ($1::uuid[]) AND hot.blocked = 'c'
        RETURNING hot.task, hot.queue, hot.rank, hot.blocked IS NULL
        """)

    /// Pins or fails tasks. Several brokers may check the same one: the first to lock it decides, the others find nothing.
    func adopt(_ adoptions: [Adoption]) throws(StoreError) -> AdoptReply {
        try connection.transaction { () throws(StoreError) in
            let locked = try lockedUnchecked(adoptions)
            var accepted: [(task: TaskID, parameters: TaskParameters, seed: Int64?, seedAssigned: Bool)] = []
            var ends: [TaskEnd] = []
            for adoption in adoptions {
                switch adoption {
                case .accept(let task, let parameters, let seed, let seedAssigned) where locked.contains(task):
                    accepted.append((task, parameters, seed, seedAssigned))
                case .reject(let task, let error) where locked.contains(task):
                    ends.append(TaskEnd(task: task, state: .failed, ending: nil, error: error))
                default: break
                }
            }
            let resolver = try ReferenceResolver(connection, accepted.map(\.parameters), artifacts: artifacts)
            var pinned: [(task: TaskID, json: [UInt8], seed: Int64?, seedAssigned: Bool)] = []
            for item in accepted {
                do throws(ContractError) {
                    let resolved = try resolver.resolve(item.parameters, seed: item.seed, seedAssigned: item.seedAssigned)
                    pinned.append((item.task, resolved.json, item.seed, item.seedAssigned))
                } catch {
                    // An artifact store that cannot be looked into says nothing about the task: it is checked again.
                    if error.code == .unavailable { continue }
                    ends.append(TaskEnd(task: item.task, state: .failed, ending: nil, error: error))
                }
            }
            let ready = try putInLine(pinned)
            let ended = try end(ends)
            let dependents = try settleDependents(of: ended.map { ($0.task, $0.state) })
            return AdoptReply(ready: ready, ended: ended + dependents.ended)
        }
    }

    private func lockedUnchecked(_ adoptions: [Adoption]) throws(StoreError) -> Set<TaskID> {
        let ids = adoptions.map { adoption in
            switch adoption {
            case .accept(let task, _, _, _), .reject(let task, _): task
            }
        }
        let rows = try connection.run(Self.lockUnchecked, [.uuids(Set(ids).sorted())])
        var locked = Set<TaskID>()
        for row in rows.indices { locked.insert(try rows.requireUUID(row, 0)) }
        return locked
    }

    private func putInLine(_ pinned: [(task: TaskID, json: [UInt8], seed: Int64?, seedAssigned: Bool)]) throws(StoreError) -> [ReadyTask] {
        guard !pinned.isEmpty else { return [] }
        _ = try connection.run(
            Self.insertResolutions,
            [
                .uuids(pinned.map(\.task)), .textBytes(pinned.map { Optional($0.json) }), .ints(pinned.map(\.seed)),
                .bools(pinned.map(\.seedAssigned)),
            ])
        let rows = try connection.run(Self.putInLine, [.uuids(pinned.map(\.task).sorted())])
        var ready: [ReadyTask] = []
        for row in rows.indices where try rows.bool(row, 3) {
            ready.append(ReadyTask(task: try rows.requireUUID(row, 0), queue: try rows.requireString(row, 1), rank: try rows.requireInt(row, 2)))
        }
        return ready
    }
}
