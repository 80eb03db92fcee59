package import TaskProtocol

/// The queues that have, or had, work.
package struct QueueTable: Sendable {
    /// Windows that are passed between two sweeps: as far as a line is looked along at a time behind tasks that nobody can take now.
    private static let passedAtMost = 10

    private(set) var lines: [String: QueueLine] = [:]
    private var lastScanned = ""

    package init() {}

    package subscript(name: String) -> QueueLine { lines[name] ?? QueueLine() }

    /// Whether a task published to this queue now is the next to run, so that it can be leased as it is inserted.
    package func takesClaimAtInsert(_ name: String) -> Bool {
        let line = self[name]
        return !line.hasWork && line.wasShort && !line.isHeldBack
    }

    /// A task stands in line.
    package mutating func ready(_ name: String, rank: Int64) {
        var line = self[name]
        line.hasWork = true
        line.scannedGeneration = 0
        if let mark = line.lowWater, rank < mark { line.lowWater = rank }
        line.cameMeanwhile = min(line.cameMeanwhile ?? rank, rank)
        line.lookAgain(from: rank)
        lines[name] = line
    }

    /// One of its tasks ended: where a limit held others back, there is room for one.
    package mutating func ended(_ name: String) {
        guard let line = lines[name], line.isHeldBack, !line.isPaused else { return }
        lines[name]?.hasWork = true
        lines[name]?.scannedGeneration = 0
    }

    /// A scan begins: what comes from now on may escape it.
    package mutating func scanning(_ name: String) { lines[name]?.scanning() }

    /// Where the next scan of a queue begins; nil at the front, which comes first whenever there is other room.
    package func start(_ name: String, generation: UInt64) -> LinePosition? { self[name].start(generation: generation) }

    /// Whether a scan that begins now is to look behind a full window for clients that have nothing in it: once in an interval.
    mutating func looksFarther(_ name: String, now: Int64, every interval: Int64) -> Bool {
        if let time = self[name].lookedFarther, now - time < interval { return false }
        lines[name, default: QueueLine()].lookedFarther = now
        return true
    }

    /// The sweep's picture of all queues with work in line.
    /// - Parameter interval: between the beginnings of two walks along one line, in milliseconds; sweeps may come more often.
    package mutating func observe(_ waiting: [WaitingQueue], now: Int64, walkEvery interval: Int64) {
        let names = Set(waiting.map(\.name))
        for name in lines.keys where !names.contains(name) {
            lines[name]?.isHeldBack = false
            lines[name]?.isPaused = false
            if lines[name]?.passed != nil { lines[name]?.beginAnew() }
            lines[name]?.reachedEnd()
        }
        for queue in waiting {
            var line = self[queue.name]
            line.hasWork = line.hasWork || !queue.paused
            line.isHeldBack = queue.paused || queue.maxRunning != nil
            line.isPaused = queue.paused
            line.walkAnew(now: now, every: interval)
            line.lowWater = line.lowWater.map { min($0, queue.oldestRank) }
            if queue.paused { line.hasWork = false }
            lines[queue.name] = line
        }
        // After every event they are gone through: those of names that came once are no longer kept than needed.
        if lines.count > 256 { lines = lines.filter { $0.value.hasWork || names.contains($0.key) } }
    }

    /// Any error means a full scan of the queues that have work, which the next sweep names.
    mutating func forgetMarks() {
        for name in lines.keys {
            lines[name]?.lowWater = nil
            lines[name]?.wasShort = false
            lines[name]?.beginAnew()
        }
    }

    /// Whether a queue's front was not looked at under this generation of room.
    func frontIsDue(_ name: String, generation: UInt64) -> Bool { self[name].frontIsDue(generation) }

    /// The next queue to scan, each in its turn; nil where none promises anything under this generation of room.
    /// - Parameter only: no queue but this one, where it is named.
    package mutating func next(generation: UInt64, only: String? = nil) -> String? {
        var first: String?
        var next: String?
        for (name, line) in lines where line.hasWork && line.scannedGeneration != generation && (only == nil || only == name) {
            if first.map({ name < $0 }) ?? true { first = name }
            if name > lastScanned, next.map({ name < $0 }) ?? true { next = name }
        }
        guard let name = next ?? first else { return nil }
        lastScanned = name
        return name
    }

    /// Takes what a scan found.
    /// - Parameters:
    ///   - behind: where it began, if not at the front.
    ///   - isSameRoom: whether nobody may have got more room while it was under way.
    package mutating func scanned(_ reply: ClaimReply, behind: LinePosition? = nil, generation: UInt64, isSameRoom: Bool = true) {
        var line = self[reply.queue]
        line.lastClient = reply.lastClient ?? line.lastClient
        line.isHeldBack = line.isHeldBack || reply.heldBack
        if behind == nil {
            if let mark = reply.lowWater { line.lowWater = mark }
            line.wasShort = reply.exhausted && reply.unplaced == 0
            if line.wasShort { line.hasWork = false }
        }
        if reply.heldBack { line.hasWork = false }
        if reply.exhausted { line.reachedEnd() }
        if !reply.grants.isEmpty {
            line.foundSomething()
        } else if !reply.heldBack {
            line.foundNothing(reply, behind: behind, generation: generation, isSameRoom: isSameRoom, atMost: Self.passedAtMost)
        }
        if let rank = line.cameMeanwhile {
            line.hasWork = true
            line.scannedGeneration = 0
            line.lowWater = line.lowWater.map { min($0, rank) }
            line.lookAgain(from: rank)
        }
        lines[reply.queue] = line
    }

    var hasWork: Bool { lines.values.contains { $0.hasWork } }
}
