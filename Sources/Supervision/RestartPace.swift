/// How long a child that ended by itself waits for its next start: not at all the first time, then a second longer each time, up to half a minute.
///
/// One that has lived for a while is healthy again: what befell it weeks ago says nothing about now.
package struct RestartPace: Sendable {
    /// A child that lived for so long starts over.
    package static let healthySeconds = 60.0
    private static let longestPause = 30.0
    private var failures = 0

    package init() {}

    /// Takes an end.
    /// - Parameter life: seconds that the child has lived.
    /// - Returns: seconds to wait before it is started again.
    package mutating func pause(afterSeconds life: Double) -> Double {
        if life >= Self.healthySeconds { failures = 0 }
        defer { failures += 1 }
        return min(Self.longestPause, Double(failures))
    }
}
