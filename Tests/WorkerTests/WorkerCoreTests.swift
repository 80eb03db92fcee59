import TaskProtocol
import Testing
import Worker

@Suite struct LeaseTests {
    @Test("a grant is confirmed each time it comes and started once")
    func confirms() {
        var bench = CoreBench.joined()
        for _ in 0..<3 { bench.say(.grant(CoreBench.grant(1))) }
        #expect(bench.started == [CoreBench.grant(1).lease])
        #expect(bench.sent().filter { $0 == .confirm(session: CoreBench.session, lease: CoreBench.grant(1).lease) }.count == 3)
    }

    @Test("an end is reported again until it is recorded, and then a late grant starts nothing")
    func reportsUntilRecorded() {
        var bench = CoreBench.joined()
        let lease = CoreBench.grant(1).lease
        bench.say(.grant(CoreBench.grant(1)))
        bench.handle(.engine(.finished(lease, generations: [], result: nil)))
        #expect(bench.sent().filter(\.isComplete).count == 1)
        bench.pass(7000)
        #expect(bench.sent().filter(\.isComplete).count == 2)
        bench.say(.recorded(lease: lease))
        #expect(bench.core.leases.isEmpty)
        bench.pass(40_000)
        #expect(bench.sent().filter(\.isComplete).isEmpty)
        bench.say(.grant(CoreBench.grant(1)))
        #expect(bench.started.isEmpty && bench.core.leases.isEmpty)
    }

    @Test("an end goes to another broker at once")
    func reportsElsewhere() {
        var bench = CoreBench.joined()
        bench.say(.grant(CoreBench.grant(1)))
        bench.handle(.engine(.finished(CoreBench.grant(1).lease, generations: [], result: nil)))
        bench.pass(2200, beating: false)
        _ = bench.sent()
        bench.say(.welcome(broker: BrokerID(hi: 3, lo: 3), heartbeatMilliseconds: 1000))
        #expect(bench.sent().filter(\.isComplete).count == 1)
    }

    @Test("a stale lease is stopped and forgotten, and its slots stay taken until the engine has stopped")
    func forgetsStale() {
        var bench = CoreBench.joined(slots: 1)
        bench.say(.grant(CoreBench.grant(1)))
        bench.say(.grant(CoreBench.grant(2)))
        bench.say(.stale(lease: CoreBench.grant(1).lease))
        #expect(bench.stopped == [.stale])
        #expect(bench.started == [CoreBench.grant(1).lease])
        bench.handle(.engine(.stopped(CoreBench.grant(1).lease, resume: nil)))
        #expect(bench.started == [CoreBench.grant(1).lease, CoreBench.grant(2).lease])
        #expect(bench.core.leases == [CoreBench.grant(2).held])
    }

    @Test("slots are shared: tasks run while one is free, as many wait, the rest goes back")
    func sharesSlots() {
        var bench = CoreBench.joined(slots: 2)
        for number in 1...6 { bench.say(.grant(CoreBench.grant(UInt64(number)))) }
        #expect(bench.started.count == 2)
        let snoozed = bench.sent().filter { if case .release(_, .snooze, false, _) = $0 { true } else { false } }
        #expect(snoozed.count == 2)
        bench.handle(.engine(.finished(CoreBench.grant(1).lease, generations: [], result: nil)))
        #expect(bench.started == [CoreBench.grant(3).lease])
    }

    @Test("tasks of several sequences wait in greater number: nothing goes back of what a broker may grant at once")
    func keepsWhatWasGranted() {
        var bench = CoreBench.joined(slots: 4)
        for number in 1...9 { bench.say(.grant(CoreBench.grant(UInt64(number), sequences: 3))) }
        #expect(bench.started.count == 2)
        let snoozed = bench.sent().filter { if case .release(_, .snooze, false, _) = $0 { true } else { false } }
        #expect(snoozed == [.release(CoreBench.grant(9).held, reason: .snooze, ran: false, resume: nil)])
    }

    @Test("a task whose model has no room goes back unstarted; one that was cancelled meanwhile ends as that")
    func noRoom() {
        var bench = CoreBench.joined(slots: 2)
        for number in 1...2 { bench.say(.grant(CoreBench.grant(UInt64(number)))) }
        bench.say(.cancel(lease: CoreBench.grant(2).lease))
        bench.actions = []
        for number in 1...2 { bench.handle(.engine(.snoozed(CoreBench.grant(UInt64(number)).lease))) }
        #expect(
            bench.sent() == [
                .release(CoreBench.grant(1).held, reason: .snooze, ran: false, resume: nil), .cancelled(CoreBench.grant(2).held),
            ])
    }

    @Test("a task of many sequences frees slots as they end")
    func shrinks() {
        var bench = CoreBench.joined(slots: 4)
        bench.say(.grant(CoreBench.grant(1, sequences: 9)))
        bench.say(.grant(CoreBench.grant(2)))
        #expect(bench.started == [CoreBench.grant(1).lease])
        bench.handle(.engine(.remaining(CoreBench.grant(1).lease, sequences: 3)))
        #expect(bench.started == [CoreBench.grant(1).lease, CoreBench.grant(2).lease])
    }

    @Test("a finetune waits for an empty worker, and what would wait behind it goes back")
    func finetuneAlone() {
        var bench = CoreBench.joined()
        bench.say(.grant(CoreBench.grant(1)))
        bench.say(.grant(CoreBench.grant(2, sequences: 0)))
        bench.say(.grant(CoreBench.grant(3)))
        #expect(bench.started == [CoreBench.grant(1).lease])
        #expect(bench.sent().contains(.release(CoreBench.grant(3).held, reason: .snooze, ran: false, resume: nil)))
        bench.handle(.engine(.finished(CoreBench.grant(1).lease, generations: [], result: nil)))
        #expect(bench.started == [CoreBench.grant(2).lease])
        _ = bench.sent()
        bench.pass(1500)
        guard case .heartbeat(let heartbeat)? = bench.sent().last(where: \.isHeartbeat) else {
            Issue.record("no heartbeat")
            return
        }
        #expect(heartbeat.freeSlots == -4 && !heartbeat.idle)
    }

    @Test("a grant that cannot be read goes back as unsupported")
    func unreadable() {
        var bench = CoreBench.joined()
        bench.say(.grant(CoreBench.grant(1, sequences: nil)))
        #expect(bench.sent().contains(.release(CoreBench.grant(1).held, reason: .unsupported, ran: false, resume: nil)))
    }

    @Test("the end of a finetune waits for its checkpoints and names the last one's id")
    func checkpointsFirst() {
        var bench = CoreBench.joined()
        let lease = CoreBench.grant(1).lease
        let id = UUIDValue(hi: 7, lo: 7)
        bench.say(.grant(CoreBench.grant(1, sequences: 0)))
        bench.handle(.engine(.checkpoint(lease, step: 10, record: nil, resume: [1])))
        bench.handle(.engine(.finished(lease, generations: [], result: [2])))
        #expect(bench.sent().filter(\.isComplete).isEmpty)
        bench.pass(2500)
        #expect(bench.sent().contains(.checkpoint(CoreBench.grant(1).held, step: 10, record: nil, resume: [1])))
        bench.say(.checkpointRecorded(lease: lease, step: 10, checkpoint: id))
        #expect(bench.sent().contains(.complete(CoreBench.grant(1).held, generations: [], result: [2], checkpoint: id)))
    }

    @Test("training steps that nobody heard come once a broker is joined")
    func keepsSteps() {
        var bench = CoreBench.joined()
        let lease = CoreBench.grant(1).lease
        bench.say(.grant(CoreBench.grant(1, sequences: 0)))
        bench.pass(2200, beating: false)
        let step = TrainingStepRecord(step: 1, loss: 2, averageLoss: 2, learningRate: 1, gradientNorm: 1, tokensPerSecond: 1)
        bench.handle(.engine(.progress(lease, WorkerProgress(phase: .training, done: 1), steps: [step])))
        _ = bench.sent()
        bench.say(.welcome(broker: CoreBench.broker, heartbeatMilliseconds: 1000))
        bench.handle(.engine(.progress(lease, WorkerProgress(phase: .training, done: 2), steps: [])))
        let said = bench.sent()
        #expect(said.contains(.progress(CoreBench.grant(1).held, WorkerProgress(phase: .training, done: 1), steps: [step])))
        #expect(said.contains(.progress(CoreBench.grant(1).held, WorkerProgress(phase: .training, done: 2), steps: [])))
    }

    @Test("another broker is told the training steps since the last recorded checkpoint again, before the end")
    func tellsStepsAgain() throws {
        var bench = CoreBench.joined()
        let (lease, held) = (CoreBench.grant(1).lease, CoreBench.grant(1).held)
        bench.say(.grant(CoreBench.grant(1, sequences: 0)))
        let steps = (1...3).map { TrainingStepRecord(step: $0, loss: 2, averageLoss: 2, learningRate: 1, gradientNorm: 1, tokensPerSecond: 1) }
        for step in steps {
            bench.handle(.engine(.progress(lease, WorkerProgress(phase: .training, done: step.step), steps: [step])))
            guard step.step == 2 else { continue }
            bench.handle(.engine(.checkpoint(lease, step: 2, record: nil, resume: [1])))
            bench.say(.checkpointRecorded(lease: lease, step: 2, checkpoint: nil))
        }
        bench.handle(.engine(.finished(lease, generations: [], result: [2])))
        bench.pass(2200, beating: false)
        _ = bench.sent()
        bench.say(.welcome(broker: CoreBench.broker, heartbeatMilliseconds: 1000))
        let said = bench.sent()
        let again = try #require(said.firstIndex(of: .progress(held, WorkerProgress(phase: .training, done: 3), steps: [steps[2]])))
        let end = said.firstIndex { $0.isComplete }
        #expect(try again < #require(end))
    }

    @Test("a broker started anew behind the same connection is told the steps again, and one that only greets again is not")
    func stepsAfterARestart() throws {
        var bench = CoreBench.joined()
        bench.say(.grant(CoreBench.grant(1)))
        let lease = CoreBench.grant(1).lease
        let step = TrainingStepRecord(step: 1, loss: 2, averageLoss: 2, learningRate: 1, gradientNorm: 1, tokensPerSecond: 1)
        bench.handle(.engine(.started(lease)))
        bench.handle(.engine(.progress(lease, WorkerProgress(phase: .training, done: 1), steps: [step])))
        let told = WorkerMessage.progress(CoreBench.grant(1).held, WorkerProgress(phase: .training, done: 1), steps: [step])
        func tells(_ actions: [WorkerAction]) -> Bool { actions.contains { if case .send(_, told) = $0 { true } else { false } } }
        bench.actions = []
        bench.say(.welcome(broker: CoreBench.broker, heartbeatMilliseconds: 1000))
        #expect(!tells(bench.actions))
        bench.say(.welcome(broker: BrokerID(hi: 8, lo: 8), heartbeatMilliseconds: 1000))
        #expect(tells(bench.actions))
    }

    @Test("of kept training steps the newest ten thousand stay, and those that a recorded checkpoint covers go")
    func boundsSteps() {
        func steps(_ range: ClosedRange<Int>) -> [TrainingStepRecord] {
            range.map { TrainingStepRecord(step: $0, loss: 2, averageLoss: 2, learningRate: 1, gradientNorm: 1, tokensPerSecond: 1) }
        }
        var kept = KeptSteps()
        kept.add(steps(1...6000))
        #expect(kept.takeUntold().count == 6000)
        kept.add(steps(6001...11_000))
        #expect(kept.takeUntold().map(\.step) == Array(6001...11_000))
        kept.offerAnew()
        #expect(kept.takeUntold().first?.step == 1001)
        kept.recorded(upTo: 10_998)
        #expect(!kept.hasUntold)
        kept.offerAnew()
        #expect(kept.takeUntold().map(\.step) == [10_999, 11_000])
    }
}

@Suite struct StoppingTests {
    @Test("cancel ends a waiting task at once and a running one when the engine has stopped")
    func cancels() {
        var bench = CoreBench.joined(slots: 1)
        bench.say(.grant(CoreBench.grant(1)))
        bench.say(.grant(CoreBench.grant(2)))
        bench.actions = []
        bench.say(.cancel(lease: CoreBench.grant(2).lease))
        #expect(bench.sent().contains(.cancelled(CoreBench.grant(2).held)))
        for _ in 0..<2 { bench.say(.cancel(lease: CoreBench.grant(1).lease)) }
        #expect(bench.stopped == [.cancelled])
        bench.handle(.engine(.stopped(CoreBench.grant(1).lease, resume: nil)))
        #expect(bench.sent().contains(.cancelled(CoreBench.grant(1).held)))
    }

    @Test("an end that came before the stop stands")
    func endStands() {
        var bench = CoreBench.joined()
        bench.say(.grant(CoreBench.grant(1)))
        bench.say(.cancel(lease: CoreBench.grant(1).lease))
        bench.handle(.engine(.finished(CoreBench.grant(1).lease, generations: [], result: nil)))
        #expect(bench.sent().filter(\.isComplete).count == 1)
    }

    @Test("timeout_s counts from the start in the worker and ends timed_out, not final")
    func timesOut() {
        var bench = CoreBench.joined(slots: 1)
        bench.say(.grant(CoreBench.grant(1)))
        bench.say(.grant(CoreBench.grant(2, timeout: 3)))
        bench.pass(5000)
        #expect(bench.stopped.isEmpty)
        bench.handle(.engine(.finished(CoreBench.grant(1).lease, generations: [], result: nil)))
        bench.pass(2900)
        #expect(bench.stopped.isEmpty)
        bench.pass(200)
        #expect(bench.stopped == [.timedOut])
        bench.handle(.engine(.stopped(CoreBench.grant(2).lease, resume: nil)))
        let failure = bench.sent().compactMap { if case .failed(_, let error, let final) = $0 { (error.code, final) } else { nil } }
        #expect(failure.count == 1 && failure[0] == (.timedOut, false))
    }

    @Test("a drain gives back what waits, lets generates end in time, and says goodbye when nothing is held")
    func drains() {
        var bench = CoreBench.joined(slots: 1)
        bench.say(.grant(CoreBench.grant(1)))
        bench.say(.grant(CoreBench.grant(2)))
        bench.actions = []
        bench.handle(.drain)
        // The broker hears of the drain first: what comes back would be granted here again.
        let said = bench.sent()
        guard said.count == 2, case .heartbeat(let beat) = said[0] else {
            Issue.record("said \(said)")
            return
        }
        #expect(beat.draining)
        #expect(said[1] == .release(CoreBench.grant(2).held, reason: .draining, ran: false, resume: nil))
        bench.say(.grant(CoreBench.grant(3)))
        #expect(bench.started.isEmpty)
        #expect(bench.sent().contains(.release(CoreBench.grant(3).held, reason: .draining, ran: false, resume: nil)))
        bench.pass(3000)
        #expect(bench.stopped.isEmpty)
        bench.handle(.engine(.finished(CoreBench.grant(1).lease, generations: [], result: nil)))
        for number in 1...3 { bench.say(.recorded(lease: CoreBench.grant(UInt64(number)).lease)) }
        #expect(bench.actions.contains(.exit))
        #expect(bench.sent().contains(.goodbye(session: CoreBench.session)))
    }

    @Test("a drain stops what is not done in time, and a finetune at once, which names its state")
    func drainStops() {
        var bench = CoreBench.joined(drain: 1000)
        bench.say(.grant(CoreBench.grant(1, sequences: 0)))
        bench.handle(.drain)
        #expect(bench.stopped == [.draining])
        bench.handle(.engine(.stopped(CoreBench.grant(1).lease, resume: [9])))
        #expect(bench.sent().contains(.release(CoreBench.grant(1).held, reason: .draining, ran: true, resume: [9])))
        var other = CoreBench.joined(drain: 1000)
        other.say(.grant(CoreBench.grant(1)))
        other.handle(.drain)
        other.pass(900)
        #expect(other.stopped.isEmpty)
        other.pass(200)
        #expect(other.stopped == [.draining])
    }

    @Test("a drain without a broker ends all the same")
    func drainAlone() {
        var bench = CoreBench.joined(drain: 1000)
        bench.say(.grant(CoreBench.grant(1)))
        bench.handle(.drain)
        bench.handle(.engine(.finished(CoreBench.grant(1).lease, generations: [], result: nil)))
        bench.pass(20_000, beating: false)
        #expect(bench.actions.contains(.exit))
        #expect(bench.core.isGone)
    }
}
