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
