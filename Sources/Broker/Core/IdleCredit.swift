package import TaskProtocol

/// Finds work that stands in line beside free room, scan after scan: something has been missed (a mark that is too high, a notification that never
/// came), and only a look at everything finds it.
///
/// Work that no free worker can take (a finetune where all are at something) is not meant: the last scan saw it and said so.
package struct IdleCredit: Sendable {
    private var standing: [String: (rank: Int64, since: Int64)] = [:]

    package init() {}

    /// Takes a sweep's picture of the queues.
    /// - Parameters:
    ///   - isSeen: whether the last scan of a queue saw work there that it could not place.
    ///   - patience: how long the same task may stand first in line beside free room, in milliseconds.
    /// - Returns: whether everything is to be looked at again; true at most once a patience.
    package mutating func observe(
        _ waiting: [WaitingQueue], hasRoom: Bool, now: Int64, patience: Int64, isSeen: (String) -> Bool
    ) -> Bool {
        guard hasRoom else {
            standing = [:]
            return false
        }
        var next: [String: (rank: Int64, since: Int64)] = [:]
        for queue in waiting where !queue.paused && queue.maxRunning == nil && !isSeen(queue.name) {
            let since = standing[queue.name].flatMap { $0.rank == queue.oldestRank ? $0.since : nil } ?? now
            next[queue.name] = (queue.oldestRank, since)
        }
        let isMissed = next.values.contains { now - $0.since >= patience }
        standing = isMissed ? [:] : next
        return isMissed
    }
}
