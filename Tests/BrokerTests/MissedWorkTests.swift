import Broker
import Encodings
import QueueSimulation
import TaskProtocol
import Testing

/// Tasks that stand in line beside free room while scan after scan does not see them, for whatever reason.
@Suite struct MissedWorkTests {
    /// A broker with a worker that joins it, and tasks in line, each behind the one before.
    private func waiting(_ count: Int) -> CoreBench {
        var bench = CoreBench()
        for _ in 0..<count {
            bench.submit()
            bench.pass(100)
        }
        bench.holds = true
        bench.joinWorker()
        return bench
    }

    /// Lets time pass in which the store answers everything, and scans as if all that waits stood before the mark that they leave behind.
    /// - Returns: the marks that scans began at.
    private func passBlindly(_ bench: inout CoreBench, _ milliseconds: Int64) -> [Int64?] {
        var marks: [Int64?] = []
        let end = bench.now + milliseconds
        while bench.now < end {
            bench.pass(50, heartbeats: true)
            while !bench.held.isEmpty {
                let (ticket, request) = bench.held.removeFirst()
                guard case .claim(let claim) = request else {
                    bench.answer(ticket, request)
                    continue
                }
                marks.append(claim.fromRank)
                let nothing = ClaimReply(queue: claim.queue, grants: [], exhausted: true, lowWater: .max, unplaced: 0, heldBack: false)
                bench.feed(.storeReply(ticket: ticket, .claimed(nothing)))
            }
        }
        return marks
    }

    @Test("after three seconds everything is looked at, from no mark, and notifications are to come over a new connection")
    func missed() {
        var bench = waiting(1)
        let first = passBlindly(&bench, 2_900)
        #expect(first.count > 1 && first.dropFirst().allSatisfy { $0 != nil })
        #expect(bench.listensAnew == 0 && bench.core.counters.missedWork == 0)
        let second = passBlindly(&bench, 2_000)
        #expect(second.count { $0 == nil } == 1)
        #expect(bench.listensAnew == 1 && bench.core.counters.missedWork == 1)
        bench.release()
        bench.pass(1_000, heartbeats: true)
        #expect(bench.grants.count == 1)
    }

    @Test("a line whose first task another broker takes in time misses nothing, though it is never empty")
    func takenInTime() {
        var bench = waiting(4)
        let (other, session) = (UUIDValue(hi: 3, lo: 3), UUIDValue(hi: 6, lo: 6))
        _ = bench.store.perform(
            .registerSession(
                SessionRegistration(
                    session: session, broker: other, host: "h", pid: 2, version: "1", numerics: [], instructionSet: "plain", threads: 1, slots: 8,
                    parameters: [])), now: CoreBench.epoch + bench.now)
        for number in 1...3 {
            _ = passBlindly(&bench, 1_500)
            let offer = PlacementOffer(session: session, freeSlots: 1, idle: false, models: [], numerics: [])
            let lease = UUIDValue(hi: 8, lo: UInt64(number))
            _ = bench.store.perform(
                .claim(ClaimRequest(broker: other, queue: "default", offers: [offer], leases: [lease], fromRank: nil, limit: 10)),
                now: CoreBench.epoch + bench.now)
        }
        _ = passBlindly(&bench, 1_000)
        #expect(bench.store.tasks.values.count { $0.session == session } == 3 && bench.store.waiting.count == 1)
        #expect(bench.listensAnew == 0 && bench.core.counters.missedWork == 0)
    }

    @Test("work that waits for room, however long, is not missed work")
    func noRoom() {
        var bench = CoreBench()
        bench.joinWorker(slots: 1)
        for _ in 0..<4 { bench.submit() }
        for grant in bench.grants { bench.feed(.workerMessage(from: [7], .confirm(session: bench.session, lease: grant.lease))) }
        bench.pass(20_000, heartbeats: true)
        #expect(!bench.store.waiting.isEmpty)
        #expect(bench.listensAnew == 0 && bench.core.counters.missedWork == 0)
    }

    /// Sweeps in five seconds that all say that something was due at a time which is past.
    private func sweeps(ready: [ReadyTask]) -> Int {
        var bench = CoreBench()
        bench.pass(2_000)
        bench.holds = true
        let due = CoreBench.epoch + bench.now
        let before = bench.sweeps
        for _ in 0..<100 {
            bench.pass(50)
            while !bench.held.isEmpty {
                let (ticket, request) = bench.held.removeFirst()
                guard case .dueSweep = request else {
                    bench.answer(ticket, request)
                    continue
                }
                let reply = DueReply(
                    databaseMilliseconds: CoreBench.epoch + bench.now, ready: ready, ended: [], nextDueMilliseconds: due, unchecked: 0, queues: [],
                    cancels: [])
                bench.feed(.storeReply(ticket: ticket, .due(reply)))
            }
        }
        return bench.sweeps - before
    }

    @Test("what is due and held by somebody, or a schedule that cannot be made, is looked for as seldom as anything; what moves, at once")
    func heldAndDue() {
        #expect(sweeps(ready: []) <= 25)
        #expect(sweeps(ready: [ReadyTask(task: .random(), queue: "default", rank: 0)]) > 50)
    }
}
