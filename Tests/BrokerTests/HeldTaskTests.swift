import Broker
import Encodings
import QueueSimulation
import TaskProtocol
import Testing

/// Results of tasks whose rows somebody's open transaction holds, and those beside them.
@Suite struct HeldTaskTests {
    /// A broker whose worker runs so many tasks.
    private func running(_ count: Int) -> CoreBench {
        var bench = CoreBench()
        bench.joinWorker(slots: count)
        for _ in 0..<count { bench.submit() }
        for grant in bench.grants { bench.feed(.workerMessage(from: [7], .confirm(session: bench.session, lease: grant.lease))) }
        bench.holds = true
        return bench
    }

    /// Answers all but what concerns a task that is held: that is busy, as after `lock_timeout`.
    /// - Parameter patience: so often a request that holds only that task is answered so; then it is kept.
    /// - Returns: how often `busy` was said.
    @discardableResult
    private func answer(_ bench: inout CoreBench, held: TaskID, patience: Int = 1) -> Int {
        var said = 0
        var left = patience
        while let next = bench.held.firstIndex(where: { !Self.isAlone($0.request, held) || left > 0 }) {
            let (ticket, request) = bench.held.remove(at: next)
            guard Self.tasks(request).contains(held) else {
                bench.answer(ticket, request)
                continue
            }
            if Self.isAlone(request, held) { left -= 1 }
            said += 1
            bench.feed(.storeReply(ticket: ticket, .failed(.busy)))
        }
        return said
    }

    private static func tasks(_ request: StoreRequest) -> [TaskID] {
        switch request {
        case .complete(let completions): completions.map(\.task)
        case .fail(let failures): failures.map(\.task)
        case .checkpoint(let commits): commits.map(\.task)
        default: []
        }
    }

    private static func isAlone(_ request: StoreRequest, _ task: TaskID) -> Bool { tasks(request) == [task] }

    private func complete(_ bench: inout CoreBench, _ grant: WorkerGrant) {
        bench.feed(.workerMessage(from: [7], .complete(grant.held, generations: [], result: nil, checkpoint: nil)))
    }

    @Test("of many results one that meets an open transaction waits apart; the others, and later ones, are recorded", arguments: [5, 100])
    func apart(count: Int) throws {
        var bench = running(count)
        let held = try #require(bench.grants.dropFirst().first)
        for grant in bench.grants.dropLast() { complete(&bench, grant) }
        answer(&bench, held: held.task)
        #expect(bench.store.tasks.values.count { $0.state == .succeeded } == count - 2)
        #expect(bench.held.contains { Self.isAlone($0.request, held.task) }, "it waits in the store")
        complete(&bench, try #require(bench.grants.last))
        answer(&bench, held: held.task, patience: 0)
        #expect(bench.store.tasks.values.count { $0.state == .succeeded } == count - 1)
        // The transaction ends.
        bench.release()
        #expect(bench.store.tasks[held.task]?.recorded == 1)
        #expect(bench.told.contains(.recorded(lease: held.lease)))
    }

    @Test("a result that was sent again after a lost answer, and then meets an open transaction, stalls no other either")
    func repeated() throws {
        var bench = running(3)
        let held = try #require(bench.grants.first)
        complete(&bench, held)
        let lost = try #require(bench.held.firstIndex { Self.isAlone($0.request, held.task) })
        let (ticket, _) = bench.held.remove(at: lost)
        bench.feed(.storeReply(ticket: ticket, .failed(.unavailable("cut"))))
        bench.now += 300
        bench.feed(.tick)
        for grant in bench.grants.dropFirst() { complete(&bench, grant) }
        answer(&bench, held: held.task)
        #expect(bench.store.tasks.values.count { $0.state == .succeeded } == 2)
        bench.release()
        #expect(bench.store.tasks[held.task]?.recorded == 1)
    }

    @Test("a finetune's end does not pass its checkpoint that waits for an open transaction; another finetune's goes on")
    func order() throws {
        var bench = CoreBench()
        bench.joinWorker(slots: 1)
        let params = #"{"config":"gpt2-cpu","dataset":{"text":"a b c"},"output":"o","tokenizer":{"train":{}}}"#
        bench.ask(#""op":"submit","task":{"kind":"finetune","params":\#(params)}"#)
        let held = try #require(bench.grants.first)
        bench.feed(.workerMessage(from: [7], .confirm(session: bench.session, lease: held.lease)))
        bench.feed(.workerMessage(from: [7], .started(held.held)))
        bench.holds = true
        bench.feed(.workerMessage(from: [7], .checkpoint(held.held, step: 1, record: nil, resume: Array("{}".utf8))))
        bench.feed(.workerMessage(from: [7], .failed(held.held, error: ContractError(.modelError, "x"), final: true)))
        // The checkpoint meets the lock, alone, again and again: the end behind it is not sent.
        for _ in 0..<3 {
            answer(&bench, held: held.task)
            let waiting = bench.held.filter { Self.isAlone($0.request, held.task) }
            #expect(waiting.count == 1)
            if case .checkpoint? = waiting.first?.request { continue }
            Issue.record("the end passed the checkpoint: \(waiting)")
        }
        bench.release()
        #expect(bench.store.tasks[held.task]?.state == .failed)
    }

    @Test("steps that come while their finetune is held are gathered behind what waits: one request, however long it lasts")
    func steps() throws {
        var bench = CoreBench()
        bench.joinWorker(slots: 1)
        let params = #"{"config":"gpt2-cpu","dataset":{"text":"a b c"},"output":"o","tokenizer":{"train":{}}}"#
        bench.ask(#""op":"submit","task":{"kind":"finetune","params":\#(params)}"#)
        let held = try #require(bench.grants.first)
        bench.feed(.workerMessage(from: [7], .confirm(session: bench.session, lease: held.lease)))
        bench.feed(.workerMessage(from: [7], .started(held.held)))
        bench.holds = true
        bench.feed(.workerMessage(from: [7], .checkpoint(held.held, step: 1, record: nil, resume: Array("{}".utf8))))
        answer(&bench, held: held.task)
        for step in 2...9 {
            let record = TrainingStepRecord(step: step, loss: 1, averageLoss: 1, learningRate: 0.1, gradientNorm: 1, tokensPerSecond: 10)
            let progress = WorkerProgress(phase: .training, done: step, total: 100)
            bench.feed(.workerMessage(from: [7], .progress(held.held, progress, steps: [record])))
        }
        var sent: [[Int]] = []
        while !bench.held.isEmpty {
            let (ticket, request) = bench.held.removeFirst()
            if case .trainingSteps(let updates) = request { sent += updates.map { $0.steps.map(\.step) } }
            bench.answer(ticket, request)
        }
        #expect(sent == [Array(2...9)])
    }

    @Test("a drain does not wait for others' transactions")
    func drain() throws {
        var bench = running(2)
        let held = try #require(bench.grants.first)
        complete(&bench, held)
        answer(&bench, held: held.task)
        bench.feed(.drain)
        answer(&bench, held: held.task, patience: 0)
        for _ in 0..<20 {
            bench.now += 50
            bench.feed(.tick)
            answer(&bench, held: held.task, patience: 0)
        }
        #expect(bench.isDrained)
    }
}
