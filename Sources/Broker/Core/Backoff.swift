package import TaskProtocol

/// How long a failed task waits before its next attempt: 1 s · 2^(failures − 1), at most 60 s, each with a jitter of up to a fifth.
///
/// The jitter comes from the task's id and the number of failures, so that a repetition of the same report asks for the same delay, while a
/// batch that failed together does not come back together.
package enum Backoff {
    package static func milliseconds(task: TaskID, failures: Int, settings: BrokerSettings) -> Int64 {
        let doublings = min(max(failures - 1, 0), 30)
        let whole = min(settings.retryLongest, settings.retryBase << Int64(doublings))
        let spread = whole / 5
        guard spread > 0 else { return whole }
        var z = (task.hi ^ task.lo) &+ UInt64(truncatingIfNeeded: failures) &* 0x9E37_79B9_7F4A_7C15
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return whole - Int64(z >> 33) % (spread + 1)
    }
}
