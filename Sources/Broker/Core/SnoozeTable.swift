package import TaskProtocol

/// How often tasks that need all of a worker were given back one after the other, and how long they rest for it.
///
/// Each try costs a worker all else that it could do: it becomes idle for the task's sake, and begins. One that no worker can take now (its data has no
/// room on any disk) is tried less and less often, up to once a minute, and keeps its place in line.
///
/// Known only here: another broker, or the next start of this one, counts anew.
package struct SnoozeTable: Sendable {
    private static let bound = 10_000
    private static let mostDoublings = 6
    private var counts: [TaskID: Int] = [:]

    package init() {}

    /// A task was given back.
    /// - Parameter first: the pause after the first time, in milliseconds; it doubles with each that follows.
    /// - Returns: how long it stays out of line, in milliseconds.
    package mutating func pause(_ task: TaskID, first: Int64, longest: Int64) -> Int64 {
        if counts.count >= Self.bound, counts[task] == nil { counts = [:] }
        let count = counts[task, default: 0]
        counts[task] = min(count + 1, Self.mostDoublings)
        return min(first << Int64(count), max(first, longest))
    }

    /// It runs.
    package mutating func started(_ task: TaskID) { counts[task] = nil }
}
