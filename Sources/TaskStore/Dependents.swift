internal import TaskProtocol

/// What the end of tasks means for those that wait for them (`after`).
extension StoreSession {
    private static let children = Statement(
        "dependents",
        """
        SELECT DISTINCT a.child, a.parent
        FROM unnest($1::uuid[]) AS v (id)
        CROSS JOIN LATERAL (SELECT * FROM task_after WHERE task_after.parent = v.id OFFSET 0) a
        """)

    private static let lockChildren = Statement(
        "lock_children", "SELECT task FROM hot WHERE task = ANY ($1::uuid[]) AND blocked = 'a' ORDER BY task FOR UPDATE")
    private static let letGo = Statement(
        "let_go",
        """
        UPDATE hot SET blocked = 'c'
        WHERE hot.task = ANY ($1::uuid[]) AND hot.blocked = 'a' AND NOT EXISTS (
            SELECT FROM task_after a
            WHERE a.child = hot.task AND NOT EXISTS (SELECT FROM outcome o WHERE o.task = a.parent AND o.state = 'succeeded')
        )
        RETURNING hot.task
        """)

    private static let forget = Statement("forget_after", "DELETE FROM task_after WHERE task_after.child = ANY ($1::uuid[])")

    static let dependencyError = ContractError(
        .dependencyFailed, "a task that it waits for failed or was cancelled", field: "after")

    static func unknownParent(_ place: Int) -> ContractError { ContractError(.notFound, "there is no such task", field: "after[\(place)]") }

    // MARK: Those waited for

    private static let lockParents = Statement(
        "lock_parents", "SELECT task FROM hot WHERE task = ANY ($1::uuid[]) ORDER BY task FOR SHARE")
    private static let lockFreeParents = Statement(
        "lock_free_parents", "SELECT task FROM hot WHERE task = ANY ($1::uuid[]) ORDER BY task FOR SHARE SKIP LOCKED")
    private static let livingParents = Statement("living_parents", "SELECT task FROM hot WHERE task = ANY ($1::uuid[])")
    private static let parentStates = Statement(
        "parent_states",
        """
        SELECT t.id, o.state
        FROM unnest($1::uuid[]) AS v (id)
        CROSS JOIN LATERAL (SELECT task.id FROM task WHERE task.id = v.id OFFSET 0) t
        LEFT JOIN LATERAL (SELECT state FROM outcome WHERE outcome.task = v.id OFFSET 0) o ON true
        """)
    private static let insertAfter = Statement(
        "insert_after", "INSERT INTO task_after (parent, child) SELECT DISTINCT * FROM unnest($1::uuid[], $2::uuid[]) ON CONFLICT DO NOTHING")

    /// How tasks ended that others wait for, under locks that keep the rest from ending before this transaction does; a nil state has not ended, one
    /// that is not there does not exist.
    func lockedStates(_ parents: Set<TaskID>) throws(StoreError) -> [TaskID: String?] {
        let sorted = parents.sorted()
        _ = try connection.run(Self.lockParents, [.uuids(sorted)])
        return try states(of: sorted)
    }

    /// The same without waiting for anybody.
    /// - Returns: also the parents that others hold locked, whose states mean nothing.
    func freeStates(_ parents: Set<TaskID>) throws(StoreError) -> (states: [TaskID: String?], held: Set<TaskID>) {
        let sorted = parents.sorted()
        let locked = try connection.run(Self.lockFreeParents, [.uuids(sorted)])
        let living = try connection.run(Self.livingParents, [.uuids(sorted)])
        var held = Set<TaskID>()
        for row in living.indices { held.insert(try living.requireUUID(row, 0)) }
        for row in locked.indices { held.remove(try locked.requireUUID(row, 0)) }
        return (try states(of: sorted), held)
    }

    private func states(of sorted: [TaskID]) throws(StoreError) -> [TaskID: String?] {
        let rows = try connection.run(Self.parentStates, [.uuids(sorted)])
        var states: [TaskID: String?] = [:]
        for row in rows.indices { states.updateValue(rows.string(row, 1), forKey: try rows.requireUUID(row, 0)) }
        return states
    }

    /// Notes which task waits for which.
    func insertParents(_ pairs: [(parent: TaskID, child: TaskID)]) throws(StoreError) {
        guard !pairs.isEmpty else { return }
        _ = try connection.run(Self.insertAfter, [.uuids(pairs.map(\.parent)), .uuids(pairs.map(\.child))])
    }

    /// Forgets whom tasks waited for.
    func forgetParents(of children: [TaskID]) throws(StoreError) {
        guard !children.isEmpty else { return }
        _ = try connection.run(Self.forget, [.uuids(children.sorted())])
    }

    // MARK: Ends

    /// Lets go the tasks whose last parent succeeded, and ends those of which one did not, with all that wait for them in turn.
    ///
    /// Runs in the transaction of the end, in a statement of its own, so that it sees children committed while the end waited for a lock.
    func settleDependents(of ends: [(task: TaskID, state: TaskState)]) throws(StoreError) -> (unblocked: Int, ended: [EndedTask]) {
        var unblocked = 0
        var ended: [EndedTask] = []
        var pending = ends
        while !pending.isEmpty {
            let states = Dictionary(pending.map { ($0.task, $0.state) }, uniquingKeysWith: { first, _ in first })
            let rows = try connection.run(Self.children, [.uuids(states.keys.sorted())])
            pending = []
            guard rows.count > 0 else { break }
            var doomed = Set<TaskID>()
            var hopeful = Set<TaskID>()
            for row in rows.indices {
                let child = try rows.requireUUID(row, 0)
                let parent = try rows.requireUUID(row, 1)
                if states[parent] == .succeeded { hopeful.insert(child) } else { doomed.insert(child) }
            }
            unblocked += try letGo(hopeful.subtracting(doomed))
            let gone = try end(doomed.sorted().map { TaskEnd(task: $0, state: .failed, ending: nil, error: Self.dependencyError) })
            ended += gone
            pending = gone.map { ($0.task, .failed) }
        }
        return (unblocked, ended)
    }

    /// Hands tasks whose parents all succeeded to the brokers' check.
    ///
    /// The tasks are locked first, and looked at in a statement of its own: of two parents that end at once, the later one sees the other's end.
    func letGo(_ children: Set<TaskID>) throws(StoreError) -> Int {
        guard !children.isEmpty else { return 0 }
        _ = try connection.run(Self.lockChildren, [.uuids(children.sorted())])
        let rows = try connection.run(Self.letGo, [.uuids(children.sorted())])
        guard rows.count > 0 else { return 0 }
        var freed: [TaskID] = []
        for row in rows.indices { freed.append(try rows.requireUUID(row, 0)) }
        try forgetParents(of: freed)
        return freed.count
    }
}
