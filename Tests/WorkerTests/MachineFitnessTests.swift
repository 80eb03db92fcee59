import TaskProtocol
import Testing
import Worker

/// A worker that cannot prepare tasks must not look like the idlest of all.
@Suite("A worker that is unfit for work") struct MachineFitnessTests {
    private static let mend = "make room"

    private static func release(_ number: UInt64) -> WorkerMessage {
        .release(CoreBench.grant(number).held, reason: .snooze, ran: false, resume: nil)
    }

    /// What the last heartbeat said.
    private static func heartbeat(_ bench: inout CoreBench) throws -> WorkerHeartbeat {
        bench.actions = []
        bench.pass(1_000)
        guard case .heartbeat(let heartbeat)? = bench.sent().last(where: \.isHeartbeat) else { throw Missing() }
        return heartbeat
    }

    private struct Missing: Error {}

    /// A worker with one task whose preparation fails for its machine's sake.
    private static func unfit(slots: Int = 4) -> CoreBench {
        var bench = CoreBench.joined(slots: slots)
        bench.say(.grant(CoreBench.grant(1)))
        bench.handle(.engine(.unfit(CoreBench.grant(1).lease, mend: mend)))
        bench.say(.recorded(lease: CoreBench.grant(1).lease))
        return bench
    }

    /// How long the worker takes nothing, from now on.
    private static func pause(_ bench: inout CoreBench) -> Milliseconds {
        let from = bench.now
        while bench.core.snapshot.mend != nil { bench.pass(50) }
        return bench.now - from
    }

    @Test("it gives back the task and those that wait, has no room for others, and says what to mend until its pause is over")
    func takesNothing() throws {
        var bench = CoreBench.joined(slots: 2)
        for number in 1...4 { bench.say(.grant(CoreBench.grant(UInt64(number)))) }
        #expect(bench.started.count == 2)
        bench.actions = []
        bench.handle(.engine(.unfit(CoreBench.grant(1).lease, mend: Self.mend)))
        #expect(bench.sent() == [1, 3, 4].map(Self.release))
        #expect(bench.core.snapshot.mend == Self.mend)
        let heartbeat = try Self.heartbeat(&bench)
        #expect(heartbeat.freeSlots == -2 && !heartbeat.idle && !heartbeat.draining)
        bench.say(.grant(CoreBench.grant(5)))
        #expect(bench.started.isEmpty && bench.sent().contains(Self.release(5)))
        for number in [1, 3, 4, 5] { bench.say(.recorded(lease: CoreBench.grant(UInt64(number)).lease)) }
        // What ran goes on.
        bench.handle(.engine(.finished(CoreBench.grant(2).lease, generations: [], result: nil)))
        #expect(bench.sent().filter(\.isComplete).count == 1)
        bench.say(.recorded(lease: CoreBench.grant(2).lease))
        _ = Self.pause(&bench)
        #expect(try Self.heartbeat(&bench).freeSlots == 2)
        bench.say(.grant(CoreBench.grant(6)))
        #expect(bench.started == [CoreBench.grant(6).lease])
    }

    @Test("the pauses lengthen while nothing starts, up to two minutes, and are short again once something has")
    func lengthens() {
        var bench = Self.unfit()
        var pauses = [Self.pause(&bench)]
        for number in 2...7 {
            bench.say(.grant(CoreBench.grant(UInt64(number))))
            bench.handle(.engine(.unfit(CoreBench.grant(UInt64(number)).lease, mend: Self.mend)))
            pauses.append(Self.pause(&bench))
        }
        #expect(pauses == [10_000, 20_000, 40_000, 80_000, 120_000, 120_000, 120_000])
        for number in 8...9 { bench.say(.grant(CoreBench.grant(UInt64(number)))) }
        bench.handle(.engine(.started(CoreBench.grant(8).lease)))
        bench.handle(.engine(.unfit(CoreBench.grant(9).lease, mend: Self.mend)))
        #expect(Self.pause(&bench) == 10_000)
    }

    @Test("several tasks that fail in one pause are one trial")
    func oneTrial() {
        var bench = CoreBench.joined()
        for number in 1...3 { bench.say(.grant(CoreBench.grant(UInt64(number)))) }
        for number in 1...3 {
            bench.handle(.engine(.unfit(CoreBench.grant(UInt64(number)).lease, mend: Self.mend)))
            bench.pass(1_000)
        }
        #expect(Self.pause(&bench) == 7_000)
    }

    @Test("a task that was cancelled, or whose lease was lost, says as much about the machine")
    func stopped() {
        var bench = CoreBench.joined(slots: 2)
        for number in 1...2 { bench.say(.grant(CoreBench.grant(UInt64(number)))) }
        bench.say(.cancel(lease: CoreBench.grant(1).lease))
        bench.say(.stale(lease: CoreBench.grant(2).lease))
        bench.actions = []
        bench.handle(.engine(.unfit(CoreBench.grant(1).lease, mend: Self.mend)))
        #expect(bench.sent() == [.cancelled(CoreBench.grant(1).held)])
        _ = Self.pause(&bench)
        bench.handle(.engine(.unfit(CoreBench.grant(2).lease, mend: Self.mend)))
        #expect(bench.core.snapshot.mend == Self.mend && bench.core.snapshot.slotsTaken == 0)
    }

    @Test("where no model is ready and the one that tasks wait for takes long, there is no room for more until it is here, and then at once")
    func slowLoad() throws {
        var bench = CoreBench.joined()
        for number in 1...2 { bench.say(.grant(CoreBench.grant(UInt64(number)))) }
        bench.handle(.engine(.snoozed(CoreBench.grant(2).lease)))
        bench.handle(.engine(.loadingLong(true)))
        bench.say(.recorded(lease: CoreBench.grant(2).lease))
        #expect(try Self.heartbeat(&bench).freeSlots == -4)
        #expect(bench.core.snapshot.mend == nil)
        bench.handle(.engine(.models(["m"])))
        bench.actions = []
        bench.handle(.engine(.loadingLong(false)))
        guard case .heartbeat(let heartbeat)? = bench.sent().first(where: \.isHeartbeat) else { throw Missing() }
        #expect(heartbeat.freeSlots == 3)
        // Another one that takes long leaves room for tasks of the model that is here.
        bench.handle(.engine(.loadingLong(true)))
        #expect(try Self.heartbeat(&bench).freeSlots == 3)
    }
}
