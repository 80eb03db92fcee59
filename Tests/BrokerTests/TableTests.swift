import Broker
import QueueSimulation
import TaskProtocol
import TestSupport
import Testing

@Suite struct DatabaseClockTests {
    @Test("a clock that is set back is noticed, and so is the first reading; a slow answer and a clock set forwards are not")
    func setBack() {
        var clock = DatabaseClock()
        let readings: [(database: Int64, now: Int64)] = [
            (1_000_000, 100), (1_001_500, 1_600), (1_003_000, 7_000), (4_600_000, 8_000), (1_006_000, 9_000),
        ]
        let noticed = readings.map { clock.read($0.database, at: $0.now) }
        #expect(noticed == [true, false, false, false, true])
        #expect(clock.milliseconds(at: 10_000) == 1_007_000)
    }
}

@Suite struct TableTests {
    @Test("a session is dead after five beats that saw the same counter, and not one sooner")
    func lifeCount() {
        var life = LifeCount()
        let session = UUIDValue(hi: 1, lo: 1)
        let still = [SessionCounter(session: session, counter: 7, broker: nil)]
        for _ in 0..<4 {
            let early = life.observe(still, beatsUntilDead: 5)
            #expect(early.isEmpty)
        }
        let holds1 = life.observe(still, beatsUntilDead: 5) == [DeadSession(session: session, counter: 7)]
        #expect(holds1)
        let holds2 = life.observe([SessionCounter(session: session, counter: 8, broker: nil)], beatsUntilDead: 5).isEmpty
        #expect(holds2)
    }

    @Test("retries wait twice as long each time, at most a minute, by less than a fifth less, and the same when asked again")
    func backoff() {
        var random = SeededGenerator(seed: 3)
        for _ in 0..<200 {
            let task = UUIDValue.random(using: &random)
            for failures in 1...12 {
                let whole = min(60_000, 1_000 << Int64(failures - 1))
                let wait = Backoff.milliseconds(task: task, failures: failures, settings: BrokerSettings())
                #expect(wait <= whole && wait >= whole * 4 / 5)
                #expect(wait == Backoff.milliseconds(task: task, failures: failures, settings: BrokerSettings()))
            }
        }
        #expect(Backoff.milliseconds(task: UUIDValue(hi: 0, lo: 0), failures: .max, settings: BrokerSettings()) <= 60_000)
    }

    @Test("the low-water mark falls to whatever comes below it, also during a scan")
    func lowWater() {
        var queues = QueueTable()
        queues.ready("q", rank: 50)
        let holds3 = queues.next(generation: 1) == "q"
        #expect(holds3)
        queues.scanning("q")
        queues.scanned(ClaimReply(queue: "q", grants: [], exhausted: true, lowWater: 50, unplaced: 0, heldBack: false), generation: 1)
        #expect(queues["q"].lowWater == 50)
        let holds4 = queues.next(generation: 1) == nil
        #expect(holds4)
        #expect(queues.takesClaimAtInsert("q"))
        queues.scanning("q")
        queues.ready("q", rank: 20)
        queues.scanned(ClaimReply(queue: "q", grants: [], exhausted: true, lowWater: 60, unplaced: 0, heldBack: false), generation: 1)
        #expect(queues["q"].lowWater == 20)
        let holds5 = queues.next(generation: 1) == "q"
        #expect(holds5)
    }

    @Test("a queue scanned in vain is scanned again only when there is more room")
    func generations() {
        var queues = QueueTable()
        queues.ready("a", rank: 1)
        queues.ready("b", rank: 1)
        let holds6 = [queues.next(generation: 1), queues.next(generation: 1), queues.next(generation: 1)] == ["a", "b", "a"]
        #expect(holds6)
        queues.scanning("a")
        queues.scanned(ClaimReply(queue: "a", grants: [], exhausted: false, lowWater: nil, unplaced: 3, heldBack: false), generation: 1)
        let holds7 = queues.next(generation: 1) == "b"
        #expect(holds7)
        let holds8 = queues.next(generation: 2) == "a"
        #expect(holds8)
    }

    private func reply(_ grants: [Grant] = [], seen: Int64?, unplaced: Int) -> ClaimReply {
        ClaimReply(
            queue: "q", grants: grants, exhausted: seen == nil, lowWater: 1,
            lastSeen: seen.map { LinePosition(rank: $0, task: UUIDValue(hi: 0, lo: 1)) },
            unplaced: unplaced, heldBack: false)
    }

    /// A scan as a broker makes it: from where the table says, in vain or not.
    @discardableResult
    private func scan(_ queues: inout QueueTable, _ reply: ClaimReply, generation: UInt64 = 1, isSameRoom: Bool = true) -> Int64? {
        let isPromising = queues.next(generation: generation) == "q"
        #expect(isPromising)
        let start = queues.start("q", generation: generation)
        queues.scanning("q")
        queues.scanned(reply, behind: start, generation: generation, isSameRoom: isSameRoom)
        return start?.rank
    }

    /// A sweep, so many seconds after the table's beginning.
    private func sweep(_ queues: inout QueueTable, at second: Double) {
        queues.observe(
            [WaitingQueue(name: "q", oldestRank: 1, paused: false, maxRunning: nil)], now: Int64(second * 1_000), walkEvery: 1_000)
    }

    @Test("whole windows in which nothing can be placed are passed, up to the end of the line")
    func passedWindows() {
        var queues = QueueTable()
        queues.ready("q", rank: 1)
        let starts = [
            scan(&queues, reply(seen: 10, unplaced: 10)), scan(&queues, reply(seen: 20, unplaced: 10)), scan(&queues, reply(seen: nil, unplaced: 3)),
        ]
        #expect(starts == [nil, 10, 20])
        let isPromising = queues.next(generation: 1) == nil
        #expect(isPromising && queues["q"].lowWater == 1)
        #expect(!queues.takesClaimAtInsert("q"), "others stand in line")
        queues.ready("q", rank: 30)
        #expect(scan(&queues, reply(seen: nil, unplaced: 0)) == 20, "what comes at the end is looked for there")
        #expect(queues["q"].hasWork, "the front still waits")
        queues.ready("q", rank: 15)
        #expect(scan(&queues, reply(seen: nil, unplaced: 13)) == nil, "what comes before it, from the front")
    }

    @Test("under other room the front comes first, and the walk goes on from where it was")
    func frontFirst() {
        var queues = QueueTable()
        queues.ready("q", rank: 1)
        scan(&queues, reply(seen: 10, unplaced: 10))
        scan(&queues, reply(seen: 20, unplaced: 10))
        #expect(scan(&queues, reply(seen: 10, unplaced: 10), generation: 2) == nil)
        #expect(scan(&queues, reply(seen: nil, unplaced: 4), generation: 2) == 20)
        // Somebody got room while a scan was under way: the front is looked at once more, and does not keep the walk from going on.
        #expect(scan(&queues, reply(seen: 10, unplaced: 10), generation: 3, isSameRoom: false) == nil)
        #expect(scan(&queues, reply(seen: 30, unplaced: 10), generation: 3) == 20)
        #expect(scan(&queues, reply(seen: 10, unplaced: 10), generation: 3) == nil)
        #expect(scan(&queues, reply(seen: nil, unplaced: 4), generation: 3) == 30)
        let isDone = queues.next(generation: 3) == nil
        #expect(isDone)
    }

    @Test("what is leased behind does not keep the front from being first under other room") func frontAfterGrants() {
        var queues = QueueTable()
        queues.ready("q", rank: 1)
        scan(&queues, reply(seen: 10, unplaced: 10))
        #expect(scan(&queues, reply([grant], seen: 20, unplaced: 9)) == 10)
        #expect(scan(&queues, reply([grant], seen: 20, unplaced: 8), generation: 2) == nil, "a slot came free")
        #expect(scan(&queues, reply(seen: 10, unplaced: 10), generation: 2) == nil)
        #expect(scan(&queues, reply([grant], seen: 20, unplaced: 7), generation: 3) == 10, "in turns")
        #expect(scan(&queues, reply(seen: 10, unplaced: 10), generation: 3) == nil)
    }

    private var grant: Grant {
        let id = UUIDValue(hi: 4, lo: 4)
        return Grant(
            task: id, lease: id, session: id, attempt: 1, failures: 0, kind: .generate, queue: "q", isolated: false, maxAttempts: 5,
            timeoutSeconds: nil, resolved: [], resume: nil, waitedMilliseconds: 0)
    }

    @Test("ten windows are passed in a second; a sweep looks at the front, also while a scan is under way")
    func sweptWhilePassing() {
        var queues = QueueTable()
        queues.ready("q", rank: 1)
        sweep(&queues, at: 0)
        for window in 1...10 { scan(&queues, reply(seen: Int64(window) * 10, unplaced: 10)) }
        #expect(scan(&queues, reply(seen: 110, unplaced: 10)) == 100)
        let isDone = queues.next(generation: 1) == nil
        #expect(isDone && queues["q"].passed?.rank == 100)
        // An idle broker's sweeps: the front, and once behind.
        sweep(&queues, at: 0.25)
        #expect(scan(&queues, reply(seen: 10, unplaced: 10)) == nil)
        #expect(scan(&queues, reply(seen: 110, unplaced: 10)) == 100)
        let isDoneAgain = queues.next(generation: 1) == nil
        #expect(isDoneAgain)
        sweep(&queues, at: 1)
        #expect(scan(&queues, reply(seen: 10, unplaced: 10)) == nil)
        let start = queues.start("q", generation: 1)
        queues.scanning("q")
        sweep(&queues, at: 2)
        queues.scanned(reply(seen: 20, unplaced: 10), behind: start, generation: 1)
        #expect(scan(&queues, reply(seen: 10, unplaced: 10)) == nil)
    }

    /// Scans until nothing more is promised, along a line of so many full windows of ten ranks in which nothing can be placed.
    /// - Parameters:
    ///   - arriving: a rank that comes in line after each scan.
    ///   - most: scans, as many as there is time for between two sweeps.
    ///   - isSameRoom: whether nobody gets room meanwhile.
    /// - Returns: where the scans began.
    private func walk(
        _ queues: inout QueueTable, windows: Int, arriving: Int64? = nil, most: Int = 40, isSameRoom: Bool = true, generation: UInt64 = 1
    ) -> [Int64?] {
        var starts: [Int64?] = []
        while starts.count < most, queues.next(generation: generation) != nil {
            starts.append(scanInVain(&queues, "q", windows: windows, generation: generation, isSameRoom: isSameRoom)?.rank)
            if let arriving { queues.ready("q", rank: arriving) }
        }
        return starts
    }

    @Test("a line of any length is walked along to its end: each second walk goes on where those have come")
    func longLine() {
        var queues = QueueTable()
        queues.ready("q", rank: 1)
        let near: [Int64?] = [nil] + (1...10).map { $0 * 10 }
        #expect(walk(&queues, windows: 25) == near)
        sweep(&queues, at: 1)
        #expect(walk(&queues, windows: 25) == [nil] + (10...20).map { $0 * 10 })
        sweep(&queues, at: 2)
        #expect(walk(&queues, windows: 25) == near, "in between the first ten windows are looked at again")
        sweep(&queues, at: 3)
        #expect(walk(&queues, windows: 25) == [nil] + (20...25).map { $0 * 10 }, "the end")
        sweep(&queues, at: 4)
        #expect(walk(&queues, windows: 25) == near)
        sweep(&queues, at: 5)
        #expect(walk(&queues, windows: 25) == [nil] + (10...20).map { $0 * 10 }, "and again from where one walk ends")
    }

    /// Walks along a line of 25 windows, for so many seconds, until its end was seen.
    private func seconds(arriving: Int64? = nil, most: Int = 40, isSameRoom: Bool = true) -> Int? {
        var queues = QueueTable()
        queues.ready("q", rank: 1)
        for second in 1...200 {
            if walk(&queues, windows: 25, arriving: arriving, most: most, isSameRoom: isSameRoom, generation: UInt64(second)).contains(250) {
                return second
            }
            sweep(&queues, at: Double(second))
        }
        return nil
    }

    @Test("the end is reached also where tasks come in line before it all the time, room changes, or there is little time")
    func longLineDisturbed() {
        #expect(seconds() == 4)
        #expect(seconds(arriving: 5) != nil)
        #expect(seconds(isSameRoom: false) != nil)
        #expect(seconds(most: 3) != nil)
        #expect(seconds(arriving: 5, most: 3, isSameRoom: false) != nil)
    }

    @Test("sweeps that come after every scan do not end a walk, also where lines are scanned in turns", arguments: [1, 3])
    func frequentSweeps(lines: Int) {
        var queues = QueueTable()
        let names = (0..<lines).map { "q\($0)" }
        for name in names { queues.ready(name, rank: 1) }
        var reached: Int64 = 0
        for count in 0..<4_000 where reached < 250 {
            if let name = queues.next(generation: 1) { reached = max(reached, scanInVain(&queues, name, windows: 25)?.rank ?? 0) }
            queues.observe(
                names.map { WaitingQueue(name: $0, oldestRank: 1, paused: false, maxRunning: nil) }, now: Int64(count) * 50, walkEvery: 1_000)
        }
        #expect(reached == 250)
    }

    /// Scans a line of so many full windows of ten ranks in which nothing can be placed.
    /// - Returns: where the scan began.
    private func scanInVain(
        _ queues: inout QueueTable, _ name: String, windows: Int, generation: UInt64 = 1, isSameRoom: Bool = true
    ) -> LinePosition? {
        let start = queues.start(name, generation: generation)
        let seen = (start?.rank ?? 0) + 10
        queues.scanning(name)
        let end = seen > 10 * windows ? nil : LinePosition(rank: Int64(seen), task: UUIDValue(hi: 0, lo: 1))
        queues.scanned(
            ClaimReply(queue: name, grants: [], exhausted: end == nil, lowWater: 1, lastSeen: end, unplaced: 10, heldBack: false), behind: start,
            generation: generation, isSameRoom: isSameRoom)
        return start
    }

    @Test("several lines in which nothing can be placed are each looked along, and then there is quiet")
    func severalLines() {
        var queues = QueueTable()
        for name in ["a", "b", "c"] { queues.ready(name, rank: 1) }
        var scans = 0
        while scans < 1_000, let name = queues.next(generation: 1) {
            _ = scanInVain(&queues, name, windows: 100)
            scans += 1
        }
        #expect(scans == 3 * 11)
    }

    @Test("a line that was passed and is empty at the next sweep is looked at once more, and is quiet then")
    func emptiedWhilePassed() {
        var queues = QueueTable()
        queues.ready("q", rank: 1)
        scan(&queues, reply(seen: 10, unplaced: 10))
        scan(&queues, reply(seen: nil, unplaced: 2))
        queues.observe([], now: 1_000, walkEvery: 1_000)
        #expect(scan(&queues, reply(seen: nil, unplaced: 0)) == nil)
        #expect(!queues["q"].hasWork && queues.takesClaimAtInsert("q"))
    }

    @Test("a broker marks itself idle after a while of quiet, and busy again when notifications pour in")
    func idleMark() {
        var idle = IdleMark()
        let holds9 = idle.observe(isQuiet: true, now: 0, after: 500) == nil
        #expect(holds9)
        let holds10 = idle.observe(isQuiet: false, now: 300, after: 500) == nil
        #expect(holds10)
        let holds11 = idle.observe(isQuiet: true, now: 400, after: 500) == nil
        #expect(holds11)
        let holds12 = idle.observe(isQuiet: true, now: 900, after: 500) == true
        #expect(holds12)
        let holds13 = idle.observe(isQuiet: true, now: 2_000, after: 500) == nil
        #expect(holds13)
        idle.written()
        #expect(idle.state == .idle)
        let marks = (0..<30).compactMap { idle.notified(now: 3_000 + $0) }
        #expect(marks == [false])
        idle.written()
        #expect(idle.state == .busy)
    }

    @Test("only what somebody subscribed to is wanted")
    func subscriptions() {
        let topic = Array("task.01890000-0000-7000-8000-000000000001".utf8)
        var table = SubscriptionTable()
        #expect(!table.wants(topic))
        table.add(topic)
        #expect(table.wants(topic))
        table.remove(topic)
        table.add(Array("task.".utf8))
        #expect(table.wants(topic))
        table.remove(Array("task.".utf8))
        table.add([])
        #expect(table.wants(topic))
    }

    @Test("a client's queue keeps its order, drops tokens first, and is given up when it is too long or too old")
    func peerQueues() {
        var queues = PeerQueues(bytesPerPeer: 10_000, bytesInAll: 100_000, patience: 1_000)
        func entry(_ byte: UInt8, _ count: Int, _ isDroppable: Bool = false) -> PeerQueues.Entry {
            PeerQueues.Entry(frames: [[1], [UInt8](repeating: byte, count: count)], isDroppable: isDroppable)
        }
        let holds14 = queues.add(entry(1, 1_000), for: [1], now: 0).isEmpty
        #expect(holds14)
        let holds15 = queues.add(entry(2, 10, true), for: [1], now: 0).isEmpty
        #expect(holds15)
        #expect(queues.dropped == 1)
        let holds16 = queues.add(entry(3, 10), for: [1], now: 0).isEmpty
        #expect(holds16)
        var sent: [UInt8] = []
        let lost = queues.flush(now: 500) { frames in
            sent.append(frames[1][0])
            return .taken
        }
        #expect(lost.isEmpty && sent == [1, 3] && queues.isEmpty && queues.byteCount == 0)
        let holds17 = queues.add(entry(4, 20_000), for: [1], now: 0) == [[1]]
        #expect(holds17)
        #expect(queues.isEmpty && queues.byteCount == 0)
        let holds18 = queues.add(entry(5, 10), for: [2], now: 0).isEmpty
        #expect(holds18)
        let holds19 = queues.flush(now: 900) { _ in .later }.isEmpty
        #expect(holds19)
        let holds20 = queues.flush(now: 1_100) { _ in .later } == [[2]]
        #expect(holds20)
        let holds21 = queues.add(entry(6, 10), for: [3], now: 1_200).isEmpty && queues.add(entry(7, 10), for: [4], now: 1_200).isEmpty
        #expect(holds21)
        let gone = queues.flush(now: 1_200) { frames in frames[1][0] == 6 ? .gone : .later }
        #expect(gone == [[3]], "who is gone for good is not tried for as long as who may come back")
        #expect(!queues.isEmpty)
    }

    @Test("where all clients together leave too much waiting, the one with most is given up, not the one that came last")
    func hoarder() {
        var queues = PeerQueues(bytesPerPeer: 10_000, bytesInAll: 12_000, patience: 1_000)
        func entry(_ count: Int) -> PeerQueues.Entry { PeerQueues.Entry(frames: [[1], [UInt8](repeating: 0, count: count)], isDroppable: false) }
        let first = queues.add(entry(9_000), for: [1], now: 0)
        let second = queues.add(entry(2_000), for: [2], now: 0)
        let third = queues.add(entry(3_000), for: [3], now: 0)
        #expect(first.isEmpty && second.isEmpty)
        #expect(third == [[1]])
        #expect(queues.dropped == 1)
        let kept = queues.flush(now: 2_000) { _ in .later }
        #expect(Set(kept) == [[2], [3]])
    }

    @Test("a table of subscriptions that is full publishes everything until those it could not keep have ended")
    func fullSubscriptions() {
        let topics = (0..<4).map { Array("task.01890000-0000-7000-8000-00000000000\($0)".utf8) }
        let other = Array("task.01890000-0000-7000-8000-000000000009".utf8)
        var table = SubscriptionTable(bound: 2)
        for topic in topics { table.add(topic) }
        #expect(table.wants(other))
        table.remove(topics[0])
        table.remove(topics[1])
        #expect(table.wants(topics[3]))
        table.remove(topics[2])
        #expect(table.wants(topics[3]))
        table.remove(topics[3])
        #expect(!table.wants(topics[3]) && !table.wants(other))
    }

    @Test("work that stands beside free room for three seconds is missed work; what was seen, or moves, is not")
    func idleCredit() {
        func queue(_ rank: Int64, paused: Bool = false) -> [WaitingQueue] {
            [WaitingQueue(name: "q", oldestRank: rank, paused: paused, maxRunning: nil)]
        }
        var credit = IdleCredit()
        func sees(_ waiting: [WaitingQueue], at now: Int64, hasRoom: Bool = true, isSeen: Bool = false) -> Bool {
            credit.observe(waiting, hasRoom: hasRoom, now: now, patience: 3_000) { _ in isSeen }
        }
        let found = [0, 1_000, 2_000, 3_000, 4_000].map { sees(queue(7), at: $0) }
        #expect(found == [false, false, false, true, false])
        let moving = (0..<6).map { sees(queue($0), at: 10_000 + $0 * 1_000) }
        let held = (0..<6).map { sees(queue(7, paused: true), at: 20_000 + $0 * 1_000) }
        let known = (0..<6).map { sees(queue(7), at: 30_000 + $0 * 1_000, isSeen: true) }
        let full = (0..<6).map { sees(queue(7), at: 40_000 + $0 * 1_000, hasRoom: $0 % 2 == 0) }
        #expect(!(moving + held + known + full).contains(true))
    }
}
