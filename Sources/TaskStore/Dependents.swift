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

    /// Lets go the tasks whose last parent succeeded, and ends those of which one did not, with all that wait for them in turn.
    ///
    /// Runs in the transaction of the end, in a statement of its own, so that it sees children committed while the end waited for a lock.
    /// What two simultaneous ends miss, the once-a-second sweep finds.
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
    func letGo(_ children: Set<TaskID>) throws(StoreError) -> Int {
        guard !children.isEmpty else { return 0 }
        let rows = try connection.run(Self.letGo, [.uuids(children.sorted())])
        guard rows.count > 0 else { return 0 }
        var freed: [TaskID] = []
        for row in rows.indices { freed.append(try rows.requireUUID(row, 0)) }
        _ = try connection.run(Self.forget, [.uuids(freed)])
        return freed.count
    }
}
