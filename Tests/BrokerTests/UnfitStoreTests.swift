import Broker
import QueueSimulation
import TaskProtocol
import Testing

/// A database that needs its operator: it answers, and takes one thing or another not yet.
@Suite struct UnfitStoreTests {
    private func stores(_ actions: [BrokerAction]) -> [(ticket: Int, request: StoreRequest)] {
        actions.compactMap { if case .store(let ticket, _, let request) = $0 { (ticket, request) } else { nil } }
    }

    @Test("a broker whose row is refused asks for it again until it stands") func registering() throws {
        var core = BrokerCore(id: UUIDValue(hi: 2, lo: 2), random: IdentitySource(seed: 1))
        let registration = BrokerRegistration(id: core.id, host: "h", pid: 1, version: "1", endpoints: [:], publicKey: nil)
        var actions: [BrokerAction] = []
        core.handle(.start(registration), now: 0, into: &actions)
        var store = ModelStore()
        var asked = 0
        var now: Int64 = 0
        while now < 20_000, !core.isReady {
            let requests = stores(actions)
            actions = []
            for (ticket, request) in requests {
                var reply = store.perform(request, now: CoreBench.epoch + now)
                if case .registerBroker = request {
                    asked += 1
                    if asked <= 3 { reply = .failed(.unfit("no privilege")) }
                }
                core.handle(.storeReply(ticket: ticket, reply), now: now, into: &actions)
            }
            now += 100
            core.handle(.tick, now: now, into: &actions)
        }
        #expect(asked == 4 && now >= 6_000, "asked \(asked) times in \(now) ms")
        #expect(core.isReady)
    }

    @Test("a mark that is refused is tried again when the broker has been quiet for a while") func marking() throws {
        var bench = CoreBench()
        var marks = 0
        for _ in 0..<40 {
            bench.holds = true
            bench.pass(100)
            let held = bench.held
            bench.held = []
            for (ticket, request) in held {
                if case .markIdle = request { marks += 1 }
                if case .markIdle = request, marks < 3 {
                    bench.feed(.storeReply(ticket: ticket, .failed(.unfit("no privilege"))))
                } else {
                    bench.answer(ticket, request)
                }
            }
        }
        #expect(marks == 3)
    }

    @Test("training steps that are refused are counted as dropped") func steps() throws {
        var bench = CoreBench()
        bench.joinWorker()
        bench.finetune()
        let grant = try #require(bench.grants.first)
        bench.holds = true
        let step = TrainingStepRecord(step: 1, loss: 1, averageLoss: 1, learningRate: 1, gradientNorm: 1, tokensPerSecond: 1)
        bench.feed(.workerMessage(from: [7], .progress(grant.held, WorkerProgress(phase: .training, done: 1), steps: [step])))
        let asked = try #require(bench.held.first { if case .trainingSteps = $0.request { true } else { false } })
        bench.feed(.storeReply(ticket: asked.ticket, .failed(.unfit("no privilege"))))
        #expect(bench.core.counters.droppedTrainingSteps == 1)
    }

    @Test("a goodbye that meets a row which somebody holds is said again, and what was never run is not lost") func goodbye() throws {
        var bench = CoreBench()
        bench.joinWorker()
        bench.submit()
        let grant = try #require(bench.grants.first)
        bench.store.heldTasks = [grant.task]
        bench.feed(.workerMessage(from: [7], .goodbye(session: bench.session)))
        bench.pass(2_000)
        #expect(bench.store.sessions[bench.session] != nil)
        bench.store.heldTasks = []
        bench.pass(2_000)
        let task = try #require(bench.store.tasks[grant.task])
        #expect(bench.store.sessions[bench.session] == nil && task.state == .queued && task.losses == 0)
        #expect(task.endings[grant.lease] == "released")
    }

    @Test("a prefix longer than any topic goes to no other broker") func longPrefix() {
        var bench = CoreBench()
        bench.watchForeign(TaskEvent(task: UUIDValue(hi: 1, lo: 1), attempt: 0, sequence: 0, at: 0, body: .queued))
        let before = bench.links.values.first?.count ?? 0
        #expect(!bench.links.isEmpty)
        bench.feed(.subscription(prefix: [UInt8](repeating: 116, count: 4_090), isAdded: true))
        #expect(bench.links.values.first?.count == before)
        bench.feed(.subscription(prefix: Array("task.".utf8), isAdded: true))
        #expect(bench.links.values.first?.count == before + 1)
        bench.feed(.subscription(prefix: [UInt8](repeating: 116, count: 4_090), isAdded: false))
        #expect(bench.links.values.first?.count == before + 1)
    }

    @Test("after a look that was cut short by size the next one goes on behind it, at once") func cutLook() throws {
        var bench = CoreBench()
        var publication = ModelStore.Publication(params: Array(#"{"model":"demo"}"#.utf8))
        publication.runAt = nil
        for number in 1...2 as ClosedRange<UInt64> { bench.store.publish(publication, id: UUIDValue(hi: 1, lo: number), now: CoreBench.epoch) }
        bench.holds = true
        bench.feed(.notified)
        var afters: [TaskID?] = []
        for _ in 0..<20 {
            let held = bench.held
            bench.held = []
            for (ticket, request) in held {
                guard case .unchecked(let after, _) = request else {
                    bench.answer(ticket, request)
                    continue
                }
                afters.append(after)
                // As the store does where one task fills the measure.
                guard case .unchecked(let tasks, _) = bench.store.perform(request, now: CoreBench.epoch) else { return }
                bench.feed(.storeReply(ticket: ticket, .unchecked(Array(tasks.prefix(1)), isCut: tasks.count > 1)))
            }
        }
        #expect(afters.prefix(2) == [nil, UUIDValue(hi: 1, lo: 1)])
        #expect(bench.store.tasks.values.allSatisfy { $0.block != .check })
    }
}
