import Broker
import Measures
import TaskProtocol
import Testing

@Suite("What a broker measures") struct MeasureTests {
    private func steps(_ range: ClosedRange<Int>) -> [TrainingStepRecord] {
        range.map {
            TrainingStepRecord(step: $0, loss: 1, averageLoss: 1, learningRate: 0.1, gradientNorm: 1, tokensPerSecond: 10)
        }
    }

    @Test("a task's wait runs from due to its start, and its time from start to end")
    func waitAndDuration() throws {
        var bench = CoreBench()
        bench.submit()
        bench.pass(3_000)
        bench.joinWorker()
        bench.pass(200)
        let grant = try #require(bench.grants.first)
        bench.pass(800)
        bench.feed(.workerMessage(from: [7], .started(grant.held)))
        bench.feed(.workerMessage(from: [7], .started(grant.held)))
        let wait = try #require(bench.core.counters.queueWait.series[["default"]])
        #expect(wait.count == 1)
        #expect((3.5...4.5).contains(wait.sum), "waited \(wait.sum) s")
        bench.pass(2_000)
        bench.feed(.workerMessage(from: [7], .complete(grant.held, generations: [], result: nil, checkpoint: nil)))
        let duration = try #require(bench.core.counters.taskDuration.series[["generate", "succeeded"]])
        #expect(duration.count == 1 && duration.sum == 2)
        bench.feed(.workerMessage(from: [7], .complete(grant.held, generations: [], result: nil, checkpoint: nil)))
        #expect(bench.core.counters.taskDuration.series.values.reduce(0) { $0 + $1.count } == 1)
    }

    @Test("an attempt that was retried is measured under how it ended, and each start waits anew")
    func retried() throws {
        var bench = CoreBench()
        bench.joinWorker()
        bench.submit()
        let first = try #require(bench.grants.first)
        bench.feed(.workerMessage(from: [7], .started(first.held)))
        bench.feed(.workerMessage(from: [7], .failed(first.held, error: ContractError(.internalError, "a test"), final: false)))
        #expect(bench.core.counters.taskDuration.series.keys.sorted { $0[1] < $1[1] } == [["generate", "failed"]])
        bench.pass(3_000)
        let second = try #require(bench.grants.last)
        #expect(second.attempt == 2)
        bench.feed(.workerMessage(from: [7], .started(second.held)))
        #expect(bench.core.counters.queueWait.series[["default"]]?.count == 2)
        #expect(bench.core.counters.retries == 1)
    }

    @Test("training steps gather in one work a lease while the database is away; beyond the bound the oldest go, counted")
    func steps() throws {
        var settings = BrokerSettings()
        settings.waitingSteps = 20
        var bench = CoreBench(settings: settings)
        bench.joinWorker()
        bench.submit()
        let held = try #require(bench.grants.first).held
        let progress = WorkerProgress(phase: .training, done: 1, total: 100)
        bench.holds = true
        bench.feed(.workerMessage(from: [7], .progress(held, progress, steps: steps(1...1))))
        for step in 2...50 { bench.feed(.workerMessage(from: [7], .progress(held, progress, steps: steps(step...step)))) }
        #expect(bench.core.counters.droppedTrainingSteps == 29)
        let sent = bench.held.compactMap { if case .trainingSteps(let updates) = $0.request { updates } else { nil } }
        #expect(sent.map { $0.flatMap { $0.steps.map(\.step) } } == [[1]])
        let (ticket, request) = try #require(bench.held.first { if case .trainingSteps = $0.request { true } else { false } })
        bench.held = []
        bench.answer(ticket, request)
        let next = bench.held.compactMap { if case .trainingSteps(let updates) = $0.request { updates } else { nil } }
        #expect(next.count == 1 && next[0].count == 1)
        #expect(next[0][0].steps.map(\.step) == Array(31...50))
        #expect(next[0][0].discardAfter == 1)
    }

    @Test("a broker started anew at the same address takes no report before its worker has registered: the steps before a checkpoint are told first")
    func reportsBeforeRegistration() throws {
        var bench = CoreBench()
        let held = WorkerLease(task: UUIDValue.random(), lease: .random(), attempt: 1)
        let reports: [WorkerMessage] = [
            .progress(held, WorkerProgress(phase: .training, done: 3, total: 100), steps: steps(1...3)),
            .checkpoint(held, step: 3, record: nil, resume: Array("{}".utf8)),
            .complete(held, generations: [], result: nil, checkpoint: UUIDValue.random()),
        ]
        func asked() -> [String] {
            bench.held.compactMap {
                switch $0.request {
                case .trainingSteps: "steps"
                case .checkpoint: "checkpoint"
                case .complete: "completion"
                default: nil
                }
            }
        }
        bench.holds = true
        for report in reports { bench.feed(.workerMessage(from: [7], report)) }
        #expect(asked() == [])
        bench.holds = false
        bench.joinWorker()
        bench.holds = true
        for report in reports { bench.feed(.workerMessage(from: [7], report)) }
        // The checkpoint and the end wait behind the steps.
        #expect(asked() == ["steps"])
    }

    @Test("a result that stands alone is taken from a worker whose session has lapsed: the audit is to say that it came")
    func lateResult() {
        var bench = CoreBench()
        let held = WorkerLease(task: UUIDValue.random(), lease: .random(), attempt: 1)
        bench.holds = true
        bench.feed(.workerMessage(from: [7], .complete(held, generations: [], result: Array("{}".utf8), checkpoint: nil)))
        let leases = bench.held.compactMap { if case .complete(let completions) = $0.request { completions.map(\.lease) } else { nil } }
        #expect(leases == [[held.lease]])
    }

    @Test("training steps do not pass a checkpoint of their own lease")
    func order() throws {
        var bench = CoreBench()
        bench.joinWorker()
        bench.submit()
        let held = try #require(bench.grants.first).held
        let progress = WorkerProgress(phase: .training, done: 1, total: 100)
        bench.holds = true
        for step in 1...3 { bench.feed(.workerMessage(from: [7], .progress(held, progress, steps: steps(step...step)))) }
        bench.feed(.workerMessage(from: [7], .checkpoint(held, step: 3, record: nil, resume: Array("{}".utf8))))
        for step in 4...5 { bench.feed(.workerMessage(from: [7], .progress(held, progress, steps: steps(step...step)))) }
        var seen: [String] = []
        while let index = bench.held.firstIndex(where: { Self.isTraining($0.request) }) {
            let (ticket, request) = bench.held.remove(at: index)
            switch request {
            case .trainingSteps(let updates): seen += updates.map { "steps \($0.steps.map(\.step))" }
            default: seen.append("checkpoint")
            }
            bench.answer(ticket, request)
        }
        #expect(seen == ["steps [1]", "steps [2, 3]", "checkpoint", "steps [4, 5]"])
    }

    private static func isTraining(_ request: StoreRequest) -> Bool {
        switch request {
        case .trainingSteps, .checkpoint: true
        default: false
        }
    }
}
