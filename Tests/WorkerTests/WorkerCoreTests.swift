import TaskProtocol
import Testing
import Worker

@Suite struct JoiningTests {
    @Test("a worker connects, registers, and beats each second once it is welcome")
    func joins() throws {
        var bench = CoreBench(brokers: ["tcp://a"])
        bench.handle(.tick)
        #expect(bench.actions.first == .connect(bench.link, endpoint: "tcp://a"))
        #expect(bench.sent().map(\.isRegister) == [true])
        bench.say(.welcome(broker: CoreBench.broker, heartbeatMilliseconds: 1000))
        #expect(bench.core.snapshot.joined)
        bench.pass(5000)
        let beats = bench.sent().filter(\.isHeartbeat).count
        #expect((5...6).contains(beats))
    }

    @Test("a silent broker is left after two seconds, and the next one gets the same session and leases")
    func leavesSilence() throws {
        var bench = CoreBench.joined()
        let first = bench.link
        bench.say(.grant(CoreBench.grant(1)))
        bench.actions = []
        bench.pass(1900, beating: false)
        #expect(!bench.actions.contains(.disconnect(first)))
        bench.pass(200, beating: false)
        #expect(bench.actions.contains(.disconnect(first)))
        #expect(bench.link != first)
        guard case .register(let registration)? = bench.sent().last(where: \.isRegister) else {
            Issue.record("no registration")
            return
        }
        #expect(registration.session == CoreBench.session)
        #expect(registration.leases == [CoreBench.grant(1).held])
    }

    @Test("what a left broker still grants is ignored")
    func ignoresLeft() {
        var bench = CoreBench.joined()
        let first = bench.link
        bench.pass(2500, beating: false)
        bench.actions = []
        bench.handle(.message(.grant(CoreBench.grant(1)), link: first))
        #expect(bench.started.isEmpty && bench.core.leases.isEmpty)
    }

    @Test("brokers that never answer are tried in turn, with pauses that grow")
    func backsOff() {
        var bench = CoreBench(brokers: ["tcp://a", "tcp://b"])
        bench.handle(.tick)
        bench.pass(60_000, beating: false)
        let tried = bench.actions.compactMap { if case .connect(_, let endpoint) = $0 { endpoint } else { nil } }
        #expect(Set(tried) == ["tcp://a", "tcp://b"])
        #expect(zip(tried, tried.dropFirst()).allSatisfy { $0 != $1 })
        #expect((14...28).contains(tried.count))
    }

    @Test("a broker that says leave is left for its peer, known or not")
    func movesOn() {
        var bench = CoreBench.joined()
        let first = bench.link
        bench.say(.leave(peers: [BrokerAddress(endpoint: "tcp://c", publicKey: "k")]))
        let peers = [BrokerAddress(endpoint: "tcp://c", publicKey: "k")]
        #expect(bench.actions.prefix(3) == [.learnKeys(of: peers), .disconnect(first), .connect(bench.link, endpoint: "tcp://c")])
    }

    @Test("brokers that a welcome names are gone to where all of the operator's are silent, and after these in every round")
    func learnsAtWelcome() {
        var bench = CoreBench.joined()
        let first = bench.link
        let peers = [BrokerAddress(endpoint: "tcp://c", publicKey: "k"), BrokerAddress(endpoint: "tcp://d")]
        bench.say(.welcome(broker: CoreBench.broker, heartbeatMilliseconds: 1000, peers: peers))
        #expect(bench.actions.contains(.learnKeys(of: peers)) && bench.link == first, "it stays where it is")
        bench.actions = []
        bench.pass(60_000, beating: false)
        var tried = bench.actions.compactMap { if case .connect(_, let endpoint) = $0 { endpoint } else { nil } }
        // It was at one of both; from the next round on all four come in turn.
        #expect(["tcp://a", "tcp://b"].contains(tried.removeFirst()))
        #expect(tried.prefix(2) == ["tcp://c", "tcp://d"])
        let rounds = tried.dropFirst(2)
        #expect(rounds.count > 12)
        for start in stride(from: rounds.startIndex, to: rounds.endIndex - 3, by: 4) {
            #expect(Set(rounds[start..<start + 2]) == ["tcp://a", "tcp://b"] && rounds[start + 2..<start + 4] == ["tcp://c", "tcp://d"])
        }
    }

    @Test("those that the last welcome names are tried before those of earlier ones, which may have gone for good")
    func learnsAnew() {
        var bench = CoreBench.joined()
        for endpoint in ["tcp://c", "tcp://d"] {
            bench.say(.welcome(broker: CoreBench.broker, heartbeatMilliseconds: 1000, peers: [BrokerAddress(endpoint: endpoint)]))
        }
        // An older broker, or one that has heard of nobody yet, names none.
        bench.say(.welcome(broker: CoreBench.broker, heartbeatMilliseconds: 1000))
        bench.actions = []
        bench.pass(60_000, beating: false)
        let tried = bench.actions.compactMap { if case .connect(_, let endpoint) = $0 { endpoint } else { nil } }
        #expect(tried.dropFirst().prefix(2) == ["tcp://d", "tcp://c"], "behind the operator's other one")
    }

    @Test("the list of brokers is bounded, whatever they name, and keeps those of the operator and the one that it is at")
    func boundedList() {
        let own = (0..<70).map { "tcp://own\($0)" }
        for given in [own, ["tcp://a"]] {
            var link = BrokerLink(endpoints: given, startingAt: 0)
            guard case .connect = link.due(now: 0) else { return #expect(Bool(false), "it begins") }
            _ = link.welcome(BrokerID(hi: 1, lo: 1), heartbeatMilliseconds: 1000, now: 0)
            _ = link.moveOn(to: ["tcp://here"], now: 0)
            guard case .connect(_, "tcp://here") = link.due(now: 0) else {
                #expect(given.count > 64, "there is room for it")
                continue
            }
            _ = link.welcome(BrokerID(hi: 1, lo: 2), heartbeatMilliseconds: 1000, now: 0)
            link.relearn((0..<200).map { "tcp://\($0)" })
            var tried: Set<String> = []
            for step in stride(from: Int64(0), to: 600_000, by: 100) {
                if case .connect(_, let endpoint) = link.due(now: step) { tried.insert(endpoint) }
            }
            #expect(tried.count == 64 && tried.isSuperset(of: given) && tried.contains("tcp://here"))
        }
    }

    @Test("who is sent on does not come back to the broker that sent it before all the others were tried")
    func sentOn() {
        var bench = CoreBench(brokers: ["tcp://a"])
        bench.handle(.tick)
        bench.say(.welcome(broker: CoreBench.broker, heartbeatMilliseconds: 1000))
        bench.actions = []
        bench.say(.leave(peers: [BrokerAddress(endpoint: "tcp://c"), BrokerAddress(endpoint: "tcp://d")]))
        bench.pass(10_000, beating: false)
        let tried = bench.actions.compactMap { if case .connect(_, let endpoint) = $0 { endpoint } else { nil } }
        #expect(tried.prefix(3) == ["tcp://c", "tcp://d", "tcp://a"])
    }

    @Test("a learned broker that does not answer is tried until another one does, then forgotten; those of the operator are not")
    func forgetsLearned() {
        var bench = CoreBench.joined()
        func tried() -> [String] { bench.actions.compactMap { if case .connect(_, let endpoint) = $0 { endpoint } else { nil } } }
        bench.say(.leave(peers: [BrokerAddress(endpoint: "tcp://c", publicKey: nil)]))
        bench.pass(60_000, beating: false)
        #expect(tried().first == "tcp://c")
        for endpoint in ["tcp://a", "tcp://b", "tcp://c"] { #expect(tried().count { $0 == endpoint } > 3, "\(endpoint) may come back") }
        // Until it is another one's turn, who then answers.
        for _ in 0..<1_000 where tried().last == "tcp://c" { bench.pass(100, beating: false) }
        bench.say(.welcome(broker: BrokerID(hi: 3, lo: 9), heartbeatMilliseconds: 1000))
        bench.actions = []
        bench.pass(60_000, beating: false)
        #expect(!tried().contains("tcp://c"))
        #expect(tried().count { $0 == "tcp://a" } > 3 && tried().count { $0 == "tcp://b" } > 3)
    }

    @Test("however many brokers were learned, the newest is gone to, and the oldest learned is forgotten for it")
    func learnsOn() {
        var bench = CoreBench.joined()
        for number in 0..<200 {
            bench.say(.leave(peers: [BrokerAddress(endpoint: "tcp://\(number)", publicKey: nil)]))
            #expect(bench.actions.contains(.connect(bench.link, endpoint: "tcp://\(number)")))
            bench.say(.welcome(broker: BrokerID(hi: 3, lo: UInt64(number)), heartbeatMilliseconds: 1000))
            bench.actions = []
        }
        bench.pass(600_000, beating: false)
        let tried = Set(bench.actions.compactMap { if case .connect(_, let endpoint) = $0 { endpoint } else { nil } })
        #expect(tried.contains("tcp://a") && tried.contains("tcp://b") && tried.contains("tcp://198") && !tried.contains("tcp://0"))
    }

    @Test("register_please is answered with every lease, the reported ones too")
    func registersAgain() {
        var bench = CoreBench.joined()
        bench.say(.grant(CoreBench.grant(1)))
        bench.say(.grant(CoreBench.grant(2)))
        bench.handle(.engine(.finished(CoreBench.grant(1).lease, generations: [], result: nil)))
        _ = bench.sent()
        bench.say(.registerPlease)
        guard case .register(let registration)? = bench.sent().first else {
            Issue.record("no registration")
            return
        }
        #expect(registration.leases == [CoreBench.grant(1).held, CoreBench.grant(2).held])
    }
}

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
