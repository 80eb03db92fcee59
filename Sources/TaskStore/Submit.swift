internal import Encodings
internal import TaskProtocol

/// Storing tasks: any number of client requests in one transaction, each stored whole or refused whole.
///
/// Sent again after a lost connection, the same ids change nothing: the task row is inserted ON CONFLICT DO NOTHING, which waits for a
/// commit still in flight, and only ids so inserted get a hot row. For the others the reply says what stands there now.
extension StoreSession {
    /// How long a batch waits for a lock that somebody's open transaction holds, such as a key's. All its groups wait with the one that meets it.
    private static let batchPatience = 50
    /// How long a group waits that goes alone: what lasts longer is no commit on its way, and others wait behind.
    private static let singlePatience = 10

    /// - Parameter patience: milliseconds to wait for keys that are held, where another number than the usual.
    func submit(_ groups: [SubmitGroup], patience: Int? = nil) throws(StoreError) -> [SubmitOutcome] {
        // Requests with keys go apart and in key order, and those that wait for tasks with them: a key, or a task, in an open transaction must not
        // hold up the others.
        let keyed = groups.indices.filter { groups[$0].mayMeetLocks }
        let free = groups.indices.filter { !keyed.contains($0) }
        var outcomes = [SubmitOutcome](repeating: .busy, count: groups.count)
        for part in [free, keyed.sorted { Self.firstKey(groups[$0]).lexicographicallyPrecedes(Self.firstKey(groups[$1])) }] where !part.isEmpty {
            for (index, outcome) in zip(part, try submitPart(part.map { groups[$0] }, patience)) { outcomes[index] = outcome }
        }
        return outcomes
    }

    private static func firstKey(_ group: SubmitGroup) -> [UInt8] {
        group.items.compactMap { item in item.submission.key.map { Array("\(item.submission.queue)\u{0}\($0)".utf8) } }
            .min { $0.lexicographicallyPrecedes($1) } ?? []
    }

    private func submitPart(_ groups: [SubmitGroup], _ patience: Int?) throws(StoreError) -> [SubmitOutcome] {
        let mayMeetLocks = groups.contains(where: \.mayMeetLocks)
        return try connection.transaction { () throws(StoreError) in
            if mayMeetLocks {
                let milliseconds = patience ?? (groups.count > 1 ? Self.batchPatience : Self.singlePatience)
                try connection.execute("SET LOCAL lock_timeout = '\(max(1, milliseconds))ms'", name: "key_timeout")
            }
            var draft = SubmitDraft(groups)
            try draft.pin(connection, artifacts)
            try draft.checkParents(connection)
            try draft.takeKeys(connection)
            try draft.insert(connection)
            return try draft.outcomes(self)
        }
    }
}

/// A batch of submits on its way through its transaction.
struct SubmitDraft {
    let groups: [SubmitGroup]
    /// Why a group is refused.
    private var refusals: [Int: (item: Int, error: ContractError)] = [:]
    /// The pinned task of each item, by group and item.
    private var resolved: [[[UInt8]?]]
    /// Items whose parents have not all succeeded yet.
    private var waiting: Set<TaskID> = []
    /// Items with parents that all have succeeded: pinned when a broker next checks it, like any of `after`.
    private var unchecked: Set<TaskID> = []
    /// Items that are not stored since their key names an earlier task.
    private var duplicates: [TaskID: TaskID] = [:]
    private var inserted: [TaskID: InsertedRow] = [:]

    private struct InsertedRow {
        var rank: Int64
        var leased: Bool
    }

    init(_ groups: [SubmitGroup]) {
        self.groups = groups
        resolved = groups.map { $0.items.map { _ in nil } }
    }

    /// The items of groups not refused.
    private var accepted: [(group: Int, item: Int, value: SubmitItem)] {
        groups.indices.filter { refusals[$0] == nil }.flatMap { group in
            groups[group].items.indices.map { (group, $0, groups[group].items[$0]) }
        }
    }

    private mutating func refuse(_ group: Int, _ item: Int, _ error: ContractError) {
        if refusals[group] == nil { refusals[group] = (item, error) }
    }

    // MARK: Names

    /// Resolves all names of tasks that wait for no other; those are pinned when they are let go.
    mutating func pin(_ connection: StoreConnection, _ artifacts: ArtifactLookup?) throws(StoreError) {
        let items = accepted.filter { $0.value.submission.after.isEmpty }
        let resolver = try ReferenceResolver(connection, items.map(\.value.submission.parameters), artifacts: artifacts)
        if resolver.fitting < items.count {
            // Several clients' requests go again one by one; of one it is for the client to ask for less.
            guard groups.count == 1 else { throw .refused(sqlstate: StoreConnection.programLimitExceeded, statement: "pin", object: nil) }
            let first = items[resolver.fitting]
            let message = "the proofs of the texts that these tasks are to verify are too much for one request: submit fewer of them at once"
            return refuse(first.group, first.item, ContractError(.tooLarge, message, field: "params"))
        }
        var failed: [(group: Int, item: Int, value: SubmitItem, error: ContractError)] = []
        for (group, item, value) in items {
            do throws(ContractError) {
                let task = try resolver.resolve(value.submission.parameters, seed: value.seed, seedAssigned: value.seedAssigned)
                resolved[group][item] = task.json
            } catch {
                failed.append((group, item, value, error))
            }
        }
        guard !failed.isEmpty else { return }
        // What was stored by an earlier sending stays accepted, whatever its names mean by now.
        let stored = try StoreSession(connection).standingTasks(failed.map(\.value.id))
        for (group, item, value, error) in failed where stored[value.id] == nil { refuse(group, item, error) }
    }

    // MARK: after

    /// Looks at the tasks that items wait for, under locks that keep them from ending meanwhile.
    mutating func checkParents(_ connection: StoreConnection) throws(StoreError) {
        let items = accepted.filter { !$0.value.submission.after.isEmpty }
        guard !items.isEmpty else { return }
        let states = try StoreSession(connection).lockedStates(Set(items.flatMap(\.value.submission.after)))
        for (group, item, value) in items {
            if let missing = value.submission.after.firstIndex(where: { states[$0] == nil }) {
                refuse(group, item, StoreSession.unknownParent(missing))
            } else if value.submission.after.allSatisfy({ states[$0] == .some("succeeded") }) {
                unchecked.insert(value.id)
            } else {
                waiting.insert(value.id)
            }
        }
    }

    // MARK: Keys

    private static let insertKeys = Statement(
        "insert_keys",
        """
        INSERT INTO task_keys (queue, key, task) SELECT * FROM unnest($1::text[], $2::text[], $3::uuid[]) ON CONFLICT DO NOTHING
        RETURNING task
        """)
    /// What stands under keys, and whether it equals what is submitted now: jsonb compares by value, whatever the spelling.
    private static let compareKeys = Statement(
        "compare_keys",
        """
        SELECT v.ord, k.task, t.id IS NULL,
            t.kind = v.kind
            AND jsonb_strip_nulls(CASE WHEN t.seed_assigned THEN t.params - 'seed' ELSE t.params END) = jsonb_strip_nulls(v.params::jsonb)
        FROM unnest($1::text[], $2::text[], $3::text[], $4::text[]) WITH ORDINALITY AS v (queue, key, kind, params, ord)
        CROSS JOIN LATERAL (SELECT k.task FROM task_keys k WHERE k.queue = v.queue AND k.key = v.key OFFSET 0) k
        LEFT JOIN LATERAL (SELECT * FROM task WHERE task.id = k.task OFFSET 0) t ON true
        """)
    /// Keys whose tasks retention has dropped go after them.
    private static let dropKeys = Statement(
        "drop_keys", "DELETE FROM task_keys WHERE task = ANY ($1::uuid[]) AND NOT EXISTS (SELECT FROM task WHERE task.id = task_keys.task)")

    /// Compared byte for byte, as PostgreSQL does it: Swift takes a composed and a decomposed "é" for equal.
    private struct QueueKey: Hashable, Comparable {
        var queue: String
        var key: String

        static func == (left: QueueKey, right: QueueKey) -> Bool { left.queue == right.queue && left.key.utf8.elementsEqual(right.key.utf8) }

        static func < (left: QueueKey, right: QueueKey) -> Bool {
            left.queue == right.queue ? left.key.utf8.lexicographicallyPrecedes(right.key.utf8) : left.queue < right.queue
        }

        func hash(into hasher: inout Hasher) {
            hasher.combine(queue)
            for byte in key.utf8 { hasher.combine(byte) }
        }
    }

    private static func queueKey(_ item: SubmitItem) -> QueueKey? {
        item.submission.key.map { QueueKey(queue: item.submission.queue, key: $0) }
    }

    /// Gives each key to its first task. Keys that stand already make duplicates, or refuse the whole group.
    ///
    /// Nothing is inserted before it is settled which groups stand, so that a refused group leaves no key behind. A key that appears between
    /// look and insert rolls the transaction back as a collision; the repetition sees it.
    mutating func takeKeys(_ connection: StoreConnection) throws(StoreError) {
        let keyed = accepted.compactMap { entry in Self.queueKey(entry.value).map { (entry: entry, key: $0) } }
        guard !keyed.isEmpty else { return }
        var owners = try standing(connection, keyed.map { ($0.entry, $0.key) })
        for (group, members) in Dictionary(grouping: keyed, by: \.entry.group).sorted(by: { $0.key < $1.key }) {
            var own: [QueueKey: SubmitItem] = [:]
            var found: [TaskID: TaskID] = [:]
            for (entry, key) in members {
                if let owner = owners[key] {
                    let verdict = owner.verdict(entry.value)
                    if verdict == .differs { refuse(group, entry.item, Self.keyConflict) }
                    if verdict == .same { found[entry.value.id] = owner.task }
                } else if let first = own[key] {
                    if first.submission.paramsDigest != entry.value.submission.paramsDigest { refuse(group, entry.item, Self.keyConflict) }
                    found[entry.value.id] = first.id
                } else {
                    own[key] = entry.value
                }
            }
            guard refusals[group] == nil else { continue }
            duplicates.merge(found) { first, _ in first }
            for (key, item) in own { owners[key] = KeyOwner(task: item.id, comparison: .digest(item.submission.paramsDigest)) }
        }
        try insertKeys(connection)
    }

    private func insertKeys(_ connection: StoreConnection) throws(StoreError) {
        let new = accepted.map(\.value).filter { duplicates[$0.id] == nil }
            .compactMap { item in Self.queueKey(item).map { (key: $0, id: item.id) } }.sorted { $0.key < $1.key }
        guard !new.isEmpty else { return }
        let rows = try connection.run(Self.insertKeys, [.texts(new.map(\.key.queue)), .texts(new.map(\.key.key)), .uuids(new.map(\.id))])
        guard rows.count < new.count else { return }
        // Either this very submit was committed before, or somebody else was faster.
        let own = try connection.run(Self.keyTasks, [.uuids(new.map(\.id))])
        guard own.count == new.count else { throw .collision(sqlstate: "40001", statement: Self.insertKeys.name) }
    }

    private static let keyTasks = Statement("key_tasks", "SELECT task FROM task_keys WHERE task = ANY ($1::uuid[])")

    private static let keyConflict = ContractError(.conflict, "this key was used for a task with another kind or other params", field: "key")

    /// The task that a key names, and how a new one compares with it.
    private struct KeyOwner {
        enum Comparison {
            /// Owned by a task of this batch, with this digest.
            case digest([UInt8])
            /// Owned by a stored task, equal to the items with these ids.
            case equals(Set<TaskID>)
        }
        enum Verdict { case own, same, differs }

        var task: TaskID
        var comparison: Comparison

        func verdict(_ item: SubmitItem) -> Verdict {
            // The same id: this very submit, sent again.
            if task == item.id { return .own }
            switch comparison {
            case .digest(let digest): return digest == item.submission.paramsDigest ? .same : .differs
            case .equals(let ids): return ids.contains(item.id) ? .same : .differs
            }
        }
    }

    private func standing(
        _ connection: StoreConnection, _ keyed: [(entry: (group: Int, item: Int, value: SubmitItem), key: QueueKey)]
    ) throws(StoreError) -> [QueueKey: KeyOwner] {
        let items = keyed.map(\.entry.value)
        let rows = try connection.run(
            Self.compareKeys,
            [
                .texts(keyed.map(\.key.queue)), .texts(keyed.map(\.key.key)), .texts(items.map(\.submission.kind.rawValue)),
                .textBytes(items.map { $0.submission.submittedParams }),
            ])
        var owners: [QueueKey: KeyOwner] = [:]
        var orphaned = Set<TaskID>()
        for row in rows.indices {
            let (entry, key) = keyed[Int(try rows.requireInt(row, 0)) - 1]
            let task = try rows.requireUUID(row, 1)
            if try rows.bool(row, 2) {
                orphaned.insert(task)
                continue
            }
            var equal: Set<TaskID> = try rows.bool(row, 3) ? [entry.value.id] : []
            if case .equals(let others)? = owners[key]?.comparison { equal.formUnion(others) }
            owners[key] = KeyOwner(task: task, comparison: .equals(equal))
        }
        if !orphaned.isEmpty { _ = try connection.run(Self.dropKeys, [.uuids(orphaned.sorted())]) }
        return owners
    }

    // MARK: Rows

    /// The rows of tasks, with whether their queue's lock could be shared, which a lease needs. It is taken here so that the next statement sees all
    /// settings that were committed before; a queue whose settings somebody is changing leases nothing, and nobody waits for it.
    private static let insertTasks = Statement(
        "insert_tasks",
        """
        WITH q AS MATERIALIZED (
            SELECT n.name, pg_try_advisory_xact_lock_shared(queue_lock(n.name)) AS locked
            FROM (SELECT DISTINCT u.name FROM unnest($16::text[]) AS u (name)) n
        ), stored AS (
        INSERT INTO task (
            id, created_at, kind, queue, priority, max_attempts, seed_assigned, seed, timeout_s, run_at, key, client, params, resolved, tags, after
        )
        SELECT
            v.id, uuid_time(v.id), v.kind, v.queue, v.priority, v.max_attempts, v.seed_assigned, v.seed, v.timeout_s,
            coalesce(to_timestamp(v.run_at / 1000.0), uuid_time(v.id)), v.key, v.client,
            CASE WHEN v.seed_assigned THEN v.params::jsonb || jsonb_build_object('seed', v.seed) ELSE v.params::jsonb END,
            v.resolved, v.tags::jsonb, v.after::uuid[]
        FROM unnest(
            $1::uuid[], $2::text[], $3::text[], $4::int[], $5::int[], $6::bool[], $7::bigint[], $8::float8[], $9::bigint[], $10::text[],
            $11::text[], $12::text[], $13::text[], $14::text[], $15::text[]
        ) AS v (id, kind, queue, priority, max_attempts, seed_assigned, seed, timeout_s, run_at, key, client, params, resolved, tags, after)
        ON CONFLICT (id) DO NOTHING
        RETURNING id, queue
        )
        SELECT stored.id, coalesce((SELECT q.locked FROM q WHERE q.name = stored.queue), false) FROM stored
        """)

    /// The hot rows of tasks just inserted, leased at once where their session still stands and nothing holds them back. The session rows
    /// are locked first, so that none can go between the look and the foreign key's check.
    private static let insertHot = Statement(
        "insert_hot",
        """
        WITH s AS MATERIALIZED (
            SELECT sessions.id FROM sessions WHERE sessions.id = ANY ($8::uuid[]) ORDER BY sessions.id FOR KEY SHARE
        ), q AS MATERIALIZED (
            SELECT queues.name FROM queues WHERE queues.name = ANY ($3::text[]) AND (queues.paused OR queues.max_running IS NOT NULL)
        ), v AS (
            SELECT v.*,
                coalesce(v.blocked, CASE WHEN coalesce(v.run_at > extract(epoch FROM now()) * 1000, false) THEN 'r' END)::"char" AS block,
                v.lease IS NOT NULL AND v.session IN (SELECT s.id FROM s) AND v.queue NOT IN (SELECT q.name FROM q) AS may
            FROM unnest($1::uuid[], $2::bigint[], $3::text[], $4::text[], $5::int[], $6::text[], $7::uuid[], $8::uuid[], $9::uuid[])
                AS v (id, run_at, queue, client, priority, blocked, lease, session, broker)
        )
        INSERT INTO hot (task, created_at, run_at, rank, queue, client, blocked, attempt, lease, session, broker, started_at)
        SELECT
            v.id, uuid_time(v.id), coalesce(to_timestamp(v.run_at / 1000.0), uuid_time(v.id)),
            coalesce(v.run_at, floor(extract(epoch FROM uuid_time(v.id)) * 1000)::bigint) - v.priority * 60000::bigint,
            v.queue, v.client, v.block, CASE WHEN v.may AND v.block IS NULL THEN 1 ELSE 0 END,
            CASE WHEN v.may AND v.block IS NULL THEN v.lease END, CASE WHEN v.may AND v.block IS NULL THEN v.session END,
            CASE WHEN v.may AND v.block IS NULL THEN v.broker END, CASE WHEN v.may AND v.block IS NULL THEN now() END
        FROM v
        RETURNING task, rank, lease IS NOT NULL
        """)

    /// Inserts what is neither refused nor a duplicate.
    mutating func insert(_ connection: StoreConnection) throws(StoreError) {
        let new = accepted.filter { duplicates[$0.value.id] == nil }.sorted { $0.value.id < $1.value.id }
        guard !new.isEmpty else { return }
        let tasks = new.map(\.value)
        let submissions = tasks.map(\.submission)
        let rows = try connection.run(
            Self.insertTasks,
            [
                .uuids(tasks.map(\.id)), .texts(submissions.map(\.kind.rawValue)), .texts(submissions.map(\.queue)),
                .int32s(submissions.map(\.priority)), .int32s(submissions.map(\.maxAttempts)), .bools(tasks.map(\.seedAssigned)),
                .ints(tasks.map(\.seed)), .doubles(submissions.map(\.timeoutSeconds)), .ints(submissions.map(\.runAt)),
                .texts(submissions.map(\.key)), .texts(new.map { groups[$0.group].client }), .textBytes(submissions.map(\.submittedParams)),
                .textBytes(new.map { resolved[$0.group][$0.item] }),
                .textBytes(submissions.map { $0.tags.isEmpty ? nil : $0.tagsJSON }), .texts(submissions.map { Self.arrayText($0.after) }),
                .texts(Set(tasks.filter { $0.grant != nil }.map(\.submission.queue)).sorted()),
            ])
        var leasable: [TaskID: Bool] = [:]
        for row in rows.indices { leasable[try rows.requireUUID(row, 0)] = try rows.bool(row, 1) }
        try insertHot(connection, new.filter { leasable[$0.value.id] != nil }, leasable)
    }

    private mutating func insertHot(
        _ connection: StoreConnection, _ new: [(group: Int, item: Int, value: SubmitItem)], _ leasable: [TaskID: Bool]
    ) throws(StoreError) {
        guard !new.isEmpty else { return }
        let tasks = new.map(\.value)
        let grants = tasks.map { leasable[$0.id] == true ? $0.grant : nil }
        let parents = tasks.filter { waiting.contains($0.id) }.flatMap { task in task.submission.after.map { (parent: $0, child: task.id) } }
        try StoreSession(connection).insertParents(parents)
        let rows = try connection.run(
            Self.insertHot,
            [
                .uuids(tasks.map(\.id)), .ints(tasks.map(\.submission.runAt)), .texts(tasks.map(\.submission.queue)),
                .texts(new.map { groups[$0.group].client }), .int32s(tasks.map(\.submission.priority)),
                .texts(tasks.map { waiting.contains($0.id) ? "a" : unchecked.contains($0.id) ? "c" : nil }),
                .uuids(grants.map { $0?.lease }), .uuids(grants.map { $0?.session }), .uuids(grants.map { $0?.broker }),
            ])
        for row in rows.indices {
            inserted[try rows.requireUUID(row, 0)] = InsertedRow(rank: try rows.requireInt(row, 1), leased: try rows.bool(row, 2))
        }
    }

    private static func arrayText(_ ids: [TaskID]) -> String? {
        ids.isEmpty ? nil : "{" + ids.map(\.description).joined(separator: ",") + "}"
    }

    // MARK: Reply

    /// What became of each group. Ids that stood already (a resent request, a duplicate) are read back with the lease they still carry.
    func outcomes(_ session: StoreSession) throws(StoreError) -> [SubmitOutcome] {
        let old = accepted.filter { inserted[$0.value.id] == nil }
        let standing = try session.standingTasks(old.map { duplicates[$0.value.id] ?? $0.value.id })
        return groups.indices.map { group in
            if let refusal = refusals[group] { return .refused(item: refusal.item, error: refusal.error) }
            return .accepted(groups[group].items.indices.map { submitted(group, $0, standing) })
        }
    }

    private func submitted(_ group: Int, _ item: Int, _ standing: [TaskID: StandingTask]) -> SubmittedTask {
        let value = groups[group].items[item]
        if let row = inserted[value.id] {
            let grant = row.leased ? granted(value, resolved[group][item]) : nil
            return SubmittedTask(
                id: value.id, state: row.leased ? .running : .queued, duplicate: false, queue: value.submission.queue, rank: row.rank, grant: grant)
        }
        let first = duplicates[value.id]
        if let first, let row = inserted[first] {
            return SubmittedTask(
                id: first, state: row.leased ? .running : .queued, duplicate: true, queue: value.submission.queue, rank: row.rank)
        }
        let found = standing[first ?? value.id]
        let ownLease = first == nil && found?.lease != nil && found?.lease == value.grant?.lease
        return SubmittedTask(
            id: first ?? value.id, state: found?.state ?? .queued, duplicate: first != nil, queue: value.submission.queue, rank: found?.rank ?? 0,
            grant: ownLease ? granted(value, found?.resolved) : nil)
    }

    private func granted(_ item: SubmitItem, _ resolved: [UInt8]?) -> Grant? {
        guard let offer = item.grant, let resolved else { return nil }
        var grant = Grant(
            task: item.id, lease: offer.lease, session: offer.session, attempt: 1, failures: 0, kind: item.submission.kind,
            queue: item.submission.queue, isolated: false, maxAttempts: item.submission.maxAttempts,
            timeoutSeconds: item.submission.timeoutSeconds, resolved: resolved, resume: nil, waitedMilliseconds: 0)
        // What a generate's name means its broker knows; a verify's model is that of its texts.
        if grant.kind == .verify { grant.modelKey = PlacementNeeds(of: resolved, kind: .verify, known: nil)?.modelKey }
        return grant
    }
}

/// What stands in the store for an id.
struct StandingTask {
    var state: TaskState
    var rank: Int64
    var lease: LeaseID?
    /// As it was pinned.
    var resolved: [UInt8]?
}

extension StoreSession {
    private static let standing = Statement(
        "standing_tasks",
        """
        SELECT v.id, coalesce(o.state, CASE WHEN h.lease IS NULL THEN 'queued' ELSE 'running' END), h.rank, h.lease,
            convert_to(t.resolved::text, 'UTF8')
        FROM unnest($1::uuid[]) AS v (id)
        CROSS JOIN LATERAL (SELECT task.resolved FROM task WHERE task.id = v.id OFFSET 0) t
        LEFT JOIN LATERAL (SELECT * FROM hot WHERE hot.task = v.id OFFSET 0) h ON true
        LEFT JOIN LATERAL (SELECT * FROM outcome WHERE outcome.task = v.id OFFSET 0) o ON true
        """)

    func standingTasks(_ ids: [TaskID]) throws(StoreError) -> [TaskID: StandingTask] {
        guard !ids.isEmpty else { return [:] }
        let rows = try connection.run(Self.standing, [.uuids(ids)])
        var found: [TaskID: StandingTask] = [:]
        for row in rows.indices {
            found[try rows.requireUUID(row, 0)] = StandingTask(
                state: TaskState(rawValue: try rows.requireString(row, 1)) ?? .queued, rank: rows.int(row, 2) ?? 0, lease: rows.uuid(row, 3),
                resolved: rows.bytes(row, 4))
        }
        return found
    }
}
