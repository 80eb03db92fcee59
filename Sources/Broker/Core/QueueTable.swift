package import TaskProtocol

/// What the broker knows of one queue's line.
package struct QueueLine: Sendable {
    /// Something may wait in line.
    package var hasWork = false
    /// Nothing that waits has a smaller rank, as far as this broker knows; nil scans all. Never the only way to find a task: each sweep lowers it to
    /// the oldest rank that stands in the store.
    package var lowWater: Int64?
    /// The last scan ended before its limit and placed all that it saw: what is published now is the next in line.
    var wasShort = true
    /// Paused, or limited: no claim at insert.
    var isHeldBack = false
    var isPaused = false
    /// The generation of room that the last scan saw; a scan in vain is repeated only under a newer one.
    var scannedGeneration: UInt64 = 0
    /// The client whose task was leased last from here: turns go on behind it.
    var lastClient: String?
    /// When a scan last looked behind a full window.
    var lookedFarther: Int64?
    /// The smallest rank that came while a scan was under way, which need not have seen it.
    var cameMeanwhile: Int64?

    /// The walk along a line whose first windows, whole, hold no task that can be placed: up to where it has come. Scans go on behind it, after a look
    /// at the front under each generation of room, and at most every second time.
    package var passed: LinePosition?
    /// Windows that it passed.
    private var windowsPassed = 0
    private var began = Int64.min
    /// How far walks have come along a line. Each second walk begins there, behind the front, so that nothing is hidden for ever, however much stands
    /// before it. Nil where none was passed, and once the end was reached.
    package private(set) var farthest: LinePosition?
    private var isFarWalk = false
    /// The generation of room under which the front was looked at last.
    private var frontGeneration: UInt64 = 0
    /// The last scan looked at the front: the next one goes on behind, whatever room there is by then.
    private var frontWasLast = false
    /// The walk was begun anew while a scan was under way.
    private var isAnew = false

    /// Where the next scan begins; nil at the front.
    func start(generation: UInt64) -> LinePosition? { frontWasLast || !frontIsDue(generation) ? passed : nil }

    /// Whether the front was not looked at under this generation of room.
    func frontIsDue(_ generation: UInt64) -> Bool { frontGeneration != generation }

    /// A scan begins: what comes from now on may escape it.
    mutating func scanning() { (cameMeanwhile, isAnew) = (nil, false) }

    /// A task came in line: one of a rank that was passed is looked for from the start. A far walk goes on all the same: the next one meets the task.
    mutating func lookAgain(from rank: Int64) {
        guard let passed, rank <= passed.rank else { return }
        if isFarWalk { frontGeneration = 0 } else { self.passed = nil }
    }

    /// The next scan begins at the front, and so does the walk.
    mutating func beginAnew() { (passed, windowsPassed, frontGeneration, frontWasLast, scannedGeneration, isAnew) = (nil, 0, 0, false, 0, true) }

    /// A sweep saw that tasks stand in line: the front is looked at again, and after a while a new walk begins.
    mutating func walkAnew(now: Int64, every interval: Int64) {
        guard began == .min || now - began >= interval else {
            // Where the front was looked at last the walk goes on first: sweeps may come faster than the scans of several lines.
            (frontGeneration, scannedGeneration) = (0, 0)
            return
        }
        beginAnew()
        began = now
        isFarWalk.toggle()
        if isFarWalk { passed = farthest }
    }

    /// A scan leased something: what room there is then is the front's first.
    mutating func foundSomething() { frontWasLast = false }

    /// A scan leased nothing: the next one goes on behind it where that was a whole window.
    mutating func foundNothing(_ reply: ClaimReply, behind: LinePosition?, generation: UInt64, isSameRoom: Bool, atMost limit: Int) {
        // Whatever it saw, a sweep came meanwhile and begins anew.
        guard !isAnew else { return }
        frontWasLast = behind == nil
        if behind == nil {
            frontGeneration = isSameRoom ? generation : 0
            if reply.exhausted { passed = nil }
        }
        scannedGeneration = isSameRoom && frontGeneration == generation ? generation : 0
        if behind == nil, passed != nil {
            scannedGeneration = 0
        } else if let seen = reply.lastSeen, behind == passed, windowsPassed < limit {
            (passed, windowsPassed, scannedGeneration) = (seen, windowsPassed + 1, 0)
            if farthest.map({ $0 < seen }) ?? true { farthest = seen }
        }
    }

    /// The end of the line was seen: far walks begin where the others do.
    mutating func reachedEnd() { farthest = nil }
}

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
        if lines.count > 10_000 { lines = lines.filter { $0.value.hasWork || names.contains($0.key) } }
    }

    /// Any error means a full scan.
    mutating func forgetMarks() {
        for name in lines.keys {
            lines[name]?.lowWater = nil
            lines[name]?.hasWork = true
            lines[name]?.beginAnew()
        }
    }

    /// Whether a queue's front was not looked at under this generation of room.
    func frontIsDue(_ name: String, generation: UInt64) -> Bool { self[name].frontIsDue(generation) }

    /// The next queue to scan, each in its turn; nil where none promises anything under this generation of room.
    /// - Parameter only: no queue but this one, where it is named.
    package mutating func next(generation: UInt64, only: String? = nil) -> String? {
        let promising = lines.filter {
            $0.value.hasWork && $0.value.scannedGeneration != generation && (only == nil || only == $0.key)
        }.keys.sorted()
        guard let name = promising.first(where: { $0 > lastScanned }) ?? promising.first else { return nil }
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
