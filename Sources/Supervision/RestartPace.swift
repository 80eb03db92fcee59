/// How long a child that ended by itself waits for its next start: not at all the first time, then a second longer each time, up to half a minute.
///
/// One that has lived for a while is healthy again: what befell it weeks ago says nothing about now. A start that fails before there is a new child ends
/// at once, however long the child before it lived. All times are seconds of one monotonic clock.
package struct RestartPace: Sendable {
    /// A child that lived for so long starts over.
    package static let healthySeconds = 60.0
    private static let longestPause = 30.0
    private var failures = 0
    private var begunAt = 0.0

    package init() {}

    /// A start begins.
    package mutating func begins(at now: Double) { begunAt = now }

    /// Takes an end, or a start that came to nothing.
    /// - Parameter ended: when the last child ended; before the start where that one never came to be.
    /// - Returns: seconds to wait before it is started again.
    package mutating func pause(ended: Double) -> Double {
        if ended - begunAt >= Self.healthySeconds { failures = 0 }
        defer { failures += 1 }
        return min(Self.longestPause, Double(failures))
    }
}
