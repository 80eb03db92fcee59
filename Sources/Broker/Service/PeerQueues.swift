internal import DequeModule

/// Messages that a peer would not take yet, by peer, each with a bound: a slow client never holds up the reactor, nor fills its memory.
///
/// Token events go first where there is no room. A peer with too much waiting, or that has taken nothing for a minute, is given up.
package struct PeerQueues: Sendable {
    package struct Entry: Sendable {
        package var frames: [[UInt8]]
        package var isDroppable: Bool

        package init(frames: [[UInt8]], isDroppable: Bool) {
            self.frames = frames
            self.isDroppable = isDroppable
        }

        var byteCount: Int { frames.reduce(64) { $0 + $1.count } }
    }

    private struct Queue: Sendable {
        var entries: Deque<Entry> = []
        var byteCount = 0
        var blockedSince: Int64
    }

    private var queues: [[UInt8]: Queue] = [:]
    package private(set) var byteCount = 0
    package private(set) var dropped = 0
    private let bytesPerPeer: Int
    private let bytesInAll: Int
    private let patience: Int64

    package init(bytesPerPeer: Int = 64 << 20, bytesInAll: Int = 512 << 20, patience: Int64 = 60_000) {
        self.bytesPerPeer = bytesPerPeer
        self.bytesInAll = bytesInAll
        self.patience = patience
    }

    package var isEmpty: Bool { queues.isEmpty }

    func isWaiting(_ peer: [UInt8]) -> Bool { queues[peer] != nil }

    /// Keeps a message for later.
    /// - Returns: the peers that are given up for it, with all that waits for them: this one where it has too much waiting, and where all together have,
    ///   those with most.
    package mutating func add(_ entry: Entry, for peer: [UInt8], now: Int64) -> [[UInt8]] {
        var queue = queues[peer] ?? Queue(blockedSince: now)
        if entry.isDroppable, queue.byteCount > bytesPerPeer / 16 || byteCount > bytesInAll / 2 {
            dropped += 1
            return []
        }
        queue.entries.append(entry)
        queue.byteCount += entry.byteCount
        byteCount += entry.byteCount
        queues[peer] = queue
        var lost: [[UInt8]] = []
        if queue.byteCount > bytesPerPeer {
            remove(peer)
            lost.append(peer)
        }
        while byteCount > bytesInAll, let hoarder = queues.max(by: { $0.value.byteCount < $1.value.byteCount })?.key {
            remove(hoarder)
            lost.append(hoarder)
        }
        return lost
    }

    mutating func remove(_ peer: [UInt8]) {
        guard let queue = queues.removeValue(forKey: peer) else { return }
        byteCount -= queue.byteCount
        dropped += queue.entries.count
    }

    /// What became of a message that was offered to its peer.
    package enum Outcome: Sendable {
        case taken
        /// The peer has no room now, or is not connected and may come back.
        case later
        /// The peer is gone, and nobody else comes under its routing id.
        case gone
    }

    /// Tries every queue once.
    /// - Returns: peers that are gone, or have taken nothing for too long: they are given up.
    package mutating func flush(now: Int64, _ send: ([[UInt8]]) -> Outcome) -> [[UInt8]] {
        var lost: [[UInt8]] = []
        for peer in Array(queues.keys) {
            guard var queue = queues.removeValue(forKey: peer) else { continue }
            var outcome = Outcome.taken
            while let first = queue.entries.first {
                outcome = send(first.frames)
                guard outcome == .taken else { break }
                queue.entries.removeFirst()
                queue.byteCount -= first.byteCount
                byteCount -= first.byteCount
                queue.blockedSince = now
            }
            if queue.entries.isEmpty { continue }
            queues[peer] = queue
            if outcome == .gone || now - queue.blockedSince > patience {
                remove(peer)
                lost.append(peer)
            }
        }
        return lost
    }
}
