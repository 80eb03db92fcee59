package import TaskProtocol

/// A task as the model store holds it: everything that PostgreSQL spreads over its relations.
package struct ModelTask: Sendable {
    package let id: TaskID
    package var kind: TaskKind
    package var queue: String
    package var client = ""
    package var priority: Int
    package var maxAttempts: Int
    package var timeoutSeconds: Double?
    package var after: [TaskID] = []
    /// A priority given in SQL that its column cannot hold.
    package var publishedPriority: Int?
    package var params: [UInt8]
    package var parameters: TaskParameters?
    package var seed: Int64?
    package var seedAssigned = false
    package var createdAt: Int64
    package var runAt: Int64
    package var rank: Int64
    package var state: TaskState = .queued
    package var attempt = 0
    package var failures = 0
    package var losses = 0
    package var isolated = false
    package var lease: LeaseID?
    package var session: SessionID?
    package var cancelRequested = false
    /// Pinned; nil keeps it out of line.
    package var resolved: [UInt8]?
    package var resume: [UInt8]?
    package var error: ContractError?
    /// How each ended lease ended: an ending of `attempts`.
    package var endings: [LeaseID: String] = [:]
    /// The lease of the outcome.
    package var finalLease: LeaseID?
    /// Completions that were recorded: more than one is a broken invariant.
    package var recorded = 0
    package var generations: [GenerationRecord] = []

    /// Whether it waits in line now.
    func isInLine(at now: Int64) -> Bool { state == .queued && resolved != nil && runAt <= now }
}
