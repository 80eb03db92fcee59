/// A task as `get`, `wait` and `watch` show it. Times are milliseconds since 1970.
///
/// What PostgreSQL or a client wrote as JSON stays JSON text here: it is embedded into a reply, never taken apart.
package struct TaskStatus: Sendable, Equatable {
    package var id: TaskID
    package var kind: String
    package var queue: String
    package var state: TaskState
    package var priority: Int
    package var key: String?
    /// Starts so far.
    package var attempt: Int
    package var runAt: Int64
    package var createdAt: Int64
    /// The last start.
    package var startedAt: Int64?
    package var finishedAt: Int64?
    /// JSON: as submitted, with the assigned seed.
    package var params: [UInt8]
    /// JSON object of strings.
    package var tags: [UInt8]
    package var waitingFor: WaitingReason?
    /// JSON object.
    package var progress: [UInt8]?
    /// JSON of a ``ContractError``.
    package var error: [UInt8]?
    /// JSON object.
    package var result: [UInt8]?

    package init(
        id: TaskID, kind: String, queue: String, state: TaskState, priority: Int = 0, key: String? = nil, attempt: Int = 0, runAt: Int64,
        createdAt: Int64, startedAt: Int64? = nil, finishedAt: Int64? = nil, params: [UInt8], tags: [UInt8] = Array("{}".utf8),
        waitingFor: WaitingReason? = nil, progress: [UInt8]? = nil, error: [UInt8]? = nil, result: [UInt8]? = nil
    ) {
        self.id = id
        self.kind = kind
        self.queue = queue
        self.state = state
        self.priority = priority
        self.key = key
        self.attempt = attempt
        self.runAt = runAt
        self.createdAt = createdAt
        self.startedAt = startedAt
        self.finishedAt = finishedAt
        self.params = params
        self.tags = tags
        self.waitingFor = waitingFor
        self.progress = progress
        self.error = error
        self.result = result
    }
}
