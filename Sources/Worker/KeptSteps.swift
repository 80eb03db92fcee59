package import TaskProtocol

/// Logged training steps of a lease that no broker is known to have committed: those since the last checkpoint that was recorded, the newest 10,000.
///
/// A broker may die with what it was told; the next one is told all of them again. Rows that stand already are written once more, the same.
package struct KeptSteps: Sendable, Equatable {
    private var steps: [TrainingStepRecord] = []
    /// How many of the first the joined broker was told.
    private var toldCount = 0
    private static let most = 10_000

    package init() {}

    package var hasUntold: Bool { toldCount < steps.count }

    package mutating func add(_ more: [TrainingStepRecord]) {
        steps += more
        drop(max(0, steps.count - Self.most))
    }

    /// What the joined broker has not been told; from now on it has.
    package mutating func takeUntold() -> [TrainingStepRecord] {
        defer { toldCount = steps.count }
        return Array(steps[toldCount...])
    }

    /// Another broker was joined: it has been told nothing.
    package mutating func offerAnew() { toldCount = 0 }

    /// A checkpoint is committed, and with it what a broker was told before it.
    package mutating func recorded(upTo step: Int) { drop(steps.prefix { $0.step <= step }.count) }

    private mutating func drop(_ count: Int) {
        steps.removeFirst(count)
        toldCount = max(0, toldCount - count)
    }
}
