import TaskProtocol
import Testing
import Worker

/// A worker that cannot prepare tasks must not look like the idlest of all.
@Suite("A worker that is unfit for work") struct MachineFitnessTests {
    /// Nothing can be prepared.
    private static let fault = MachineFault(mend: "mount the store", artifact: nil)
    private static func fault(_ artifact: String) -> MachineFault { MachineFault(mend: "make room", artifact: artifact) }

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
        bench.handle(.engine(.unfit(CoreBench.grant(1).lease, fault)))
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
        for number in 1...3 { bench.say(.grant(CoreBench.grant(UInt64(number)))) }
        #expect(bench.started.count == 2, "a broker may grant one more")
        bench.actions = []
        bench.handle(.engine(.unfit(CoreBench.grant(1).lease, Self.fault)))
        let said = bench.sent()
        #expect(said.filter { !$0.isHeartbeat } == [1, 3].map(Self.release))
        guard case .heartbeat(let news)? = said.first(where: \.isHeartbeat) else { throw Missing() }
        #expect(news.freeSlots == -2, "it says so at once, not when its heartbeat is due")
        #expect(bench.core.snapshot.mend == Self.fault.mend)
        let heartbeat = try Self.heartbeat(&bench)
        #expect(heartbeat.freeSlots == -2 && !heartbeat.idle && !heartbeat.draining)
        bench.say(.grant(CoreBench.grant(5)))
        #expect(bench.started.isEmpty && bench.sent().contains(Self.release(5)))
        for number in [1, 3, 5] { bench.say(.recorded(lease: CoreBench.grant(UInt64(number)).lease)) }
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
            bench.handle(.engine(.unfit(CoreBench.grant(UInt64(number)).lease, Self.fault)))
            pauses.append(Self.pause(&bench))
        }
        #expect(pauses == [10_000, 20_000, 40_000, 80_000, 120_000, 120_000, 120_000])
        for number in 8...9 { bench.say(.grant(CoreBench.grant(UInt64(number)))) }
        bench.handle(.engine(.started(CoreBench.grant(8).lease)))
        bench.handle(.engine(.unfit(CoreBench.grant(9).lease, Self.fault)))
        #expect(Self.pause(&bench) == 10_000)
    }

    @Test("several tasks that fail in one pause are one trial")
    func oneTrial() {
        var bench = CoreBench.joined()
        for number in 1...3 { bench.say(.grant(CoreBench.grant(UInt64(number)))) }
        for number in 1...3 {
            bench.handle(.engine(.unfit(CoreBench.grant(UInt64(number)).lease, Self.fault)))
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
        bench.handle(.engine(.unfit(CoreBench.grant(1).lease, Self.fault)))
        #expect(bench.sent().filter { !$0.isHeartbeat } == [.cancelled(CoreBench.grant(1).held)])
        _ = Self.pause(&bench)
        bench.handle(.engine(.unfit(CoreBench.grant(2).lease, Self.fault)))
        #expect(bench.core.snapshot.mend != nil && bench.core.snapshot.slotsTaken == 0)
    }

    /// A task that cannot be prepared: it is granted, given back, and that is recorded.
    private static func fail(_ number: UInt64, _ fault: MachineFault, _ bench: inout CoreBench) {
        let lease = CoreBench.grant(number).lease
        bench.say(.grant(CoreBench.grant(number)))
        bench.handle(.engine(.unfit(lease, fault)))
        bench.say(.recorded(lease: lease))
    }

    @Test("with a model in memory it goes on, whatever cannot be prepared: its tasks start")
    func serves() throws {
        var bench = CoreBench.joined(slots: 2)
        bench.handle(.engine(.models(["m"])))
        for number in 1...3 { bench.say(.grant(CoreBench.grant(UInt64(number)))) }
        bench.actions = []
        bench.handle(.engine(.unfit(CoreBench.grant(1).lease, Self.fault)))
        #expect(bench.sent().filter { $0 != Self.release(1) }.isEmpty, "what waits for the model that is here stays")
        bench.say(.recorded(lease: CoreBench.grant(1).lease))
        bench.handle(.engine(.finished(CoreBench.grant(2).lease, generations: [], result: nil)))
        bench.handle(.engine(.finished(CoreBench.grant(3).lease, generations: [], result: nil)))
        for number in 2...3 { bench.say(.recorded(lease: CoreBench.grant(UInt64(number)).lease)) }
        #expect(try Self.heartbeat(&bench).freeSlots == 2)
        for number in 4...6 { Self.fail(UInt64(number), Self.fault("\(number)"), &bench) }
        #expect(bench.core.snapshot.mend == nil)
        bench.actions = []
        bench.say(.grant(CoreBench.grant(7)))
        #expect(bench.started == [CoreBench.grant(7).lease])
    }

    @Test("without one it does not rest for a single artifact, however often that fails, but once for each further one while nothing starts")
    func suspects() {
        var bench = CoreBench.joined()
        var number: UInt64 = 0
        /// Whether it rests after an artifact has failed, and for how long.
        func pause(_ artifact: String) -> Milliseconds {
            number += 1
            Self.fail(number, Self.fault(artifact), &bench)
            return bench.core.snapshot.mend != nil ? Self.pause(&bench) : 0
        }
        #expect(["a", "a", "a", "b", "a", "b", "c", "a"].map(pause) == [0, 0, 0, 10_000, 0, 0, 20_000, 0])
        number += 1
        bench.say(.grant(CoreBench.grant(number)))
        bench.handle(.engine(.started(CoreBench.grant(number).lease)))
        #expect(["a", "a", "b"].map(pause) == [0, 0, 10_000])
    }

    @Test("what waits for the same artifact goes back with the task that failed for it") func sameArtifact() {
        func grant(_ number: UInt64, manifest: String) -> WorkerGrant {
            let model = ResolvedModel(
                name: "demo", checkpoint: UUIDValue(hi: 1, lo: 1), sha256: String(repeating: "1", count: 64), manifest: manifest,
                tokenizerSHA256: nil, contextLength: 64, lineByLine: false)
            let task = ResolvedTask(parameters: EngineBench.generate(), seed: 1, seedAssigned: true, model: model)
            var grant = CoreBench.grant(number)
            grant.resolved = task.json
            return grant
        }
        let (broken, whole) = (String(repeating: "b", count: 64), String(repeating: "a", count: 64))
        var bench = CoreBench.joined(slots: 2)
        for number in 1...2 as ClosedRange<UInt64> { bench.say(.grant(grant(number, manifest: broken))) }
        bench.say(.grant(grant(3, manifest: whole)))
        bench.actions = []
        bench.handle(.engine(.unfit(CoreBench.grant(1).lease, Self.fault(broken))))
        #expect(bench.started == [CoreBench.grant(3).lease] && bench.sent() == [1, 2].map(Self.release))
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
