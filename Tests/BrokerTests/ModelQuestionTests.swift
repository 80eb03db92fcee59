import Broker
import QueueSimulation
import TaskProtocol
import Testing

/// Workers ask which model a reference means.
@Suite struct ModelQuestionTests {
    private func ask(_ bench: inout CoreBench, _ model: String, number: Int = 0, session: SessionID? = nil, from address: [UInt8] = [7]) {
        bench.feed(.workerMessage(from: address, .resolve(session: session ?? bench.session, number: number, model: model)))
    }

    private func answers(_ bench: inout CoreBench) -> [(number: Int, answer: Result<ResolvedModel, ContractError>)] {
        defer { bench.told = [] }
        return bench.told.compactMap { if case .resolved(let number, let answer) = $0 { (number, answer) } else { nil } }
    }

    private func code(_ answer: Result<ResolvedModel, ContractError>?) -> ErrorCode? {
        if case .failure(let error) = answer { error.code } else { nil }
    }

    @Test("a worker that has joined is told what a reference means, or that nobody knows it")
    func resolves() throws {
        var bench = CoreBench()
        bench.joinWorker()
        bench.toldTo = []
        ask(&bench, "demo", number: 5)
        let found = answers(&bench)
        #expect(found.map(\.number) == [5] && bench.toldTo == [[7]])
        #expect(try found.first?.answer.get().name == "demo")
        ask(&bench, "absent", number: 6)
        guard case .failure(let error)? = answers(&bench).first?.answer else { return #expect(Bool(false), "it was found") }
        #expect(error.code == .notFound && error.field == "model")
        bench.store.models.insert("absent")
        ask(&bench, "absent", number: 6)
        #expect(try answers(&bench).first?.answer.get().name == "absent")
    }

    @Test("the first task that names a preloaded model goes to the worker that holds it")
    func firstTask() {
        var bench = CoreBench()
        bench.joinWorker(slots: 2)
        bench.joinWorker(slots: 16, session: UUIDValue(hi: 6, lo: 6), address: [8])
        ask(&bench, "demo")
        guard case .success(let model)? = answers(&bench).first?.answer else { return #expect(Bool(false), "it was not found") }
        bench.beat(free: 2, models: [model.sha256])
        bench.submit()
        #expect(bench.store.tasks.values.map(\.session) == [bench.session])
    }

    @Test("what is no reference never comes to the store")
    func malformed() {
        var bench = CoreBench()
        bench.joinWorker()
        bench.holds = true
        for text in ["", "a\u{0}b", "../demo", String(repeating: "a", count: 1 << 16), "demo@-1", "sha256:zz"] { ask(&bench, text) }
        #expect(bench.held.isEmpty)
        #expect(answers(&bench).map { code($0.answer) } == Array(repeating: .invalidArgument, count: 6))
    }

    @Test("a session that has not joined here is told nothing, and costs nothing")
    func unjoined() {
        var bench = CoreBench()
        bench.joinWorker()
        bench.holds = true
        ask(&bench, "demo", session: UUIDValue(hi: 9, lo: 9))
        let joining = UUIDValue(hi: 6, lo: 6)
        bench.joinWorker(session: joining, address: [8])
        let before = bench.held.count
        ask(&bench, "demo", session: joining, from: [8])
        #expect(bench.held.count == before)
        #expect(answers(&bench).isEmpty)
        bench.release()
        ask(&bench, "demo", session: joining, from: [8])
        #expect(answers(&bench).count == 1)
    }

    @Test("questions gather while the store is at one; one that waits is not asked twice, and no worker has many")
    func bounded() {
        var settings = BrokerSettings()
        settings.modelQuestionsPerWorker = 3
        settings.modelQuestions = 4
        var bench = CoreBench(settings: settings)
        bench.joinWorker()
        let other = UUIDValue(hi: 6, lo: 6)
        bench.joinWorker(session: other, address: [8])
        bench.holds = true
        bench.told = []
        ask(&bench, "demo", number: 0)
        for number in [0, 1, 2, 2, 3] { ask(&bench, "demo", number: number) }
        let refused = answers(&bench)
        #expect(refused.map(\.number) == [3] && refused.map { code($0.answer) } == [.busy])
        for number in 0..<3 { ask(&bench, "demo", number: number, session: other, from: [8]) }
        #expect(answers(&bench).map { code($0.answer) } == [.busy])
        let asked = bench.held.compactMap { if case .resolveModels(let models) = $0.request { models.count } else { nil } }
        #expect(asked == [1])
        let (ticket, request) = bench.held.removeFirst()
        bench.answer(ticket, request)
        guard case .resolveModels(let models)? = bench.held.first?.request else { return #expect(Bool(false), "no second batch") }
        #expect(models.count == 4)
        bench.release()
        #expect(answers(&bench).count == 5)
    }

    @Test("while the database is away the worker is told so, and nothing waits for its return")
    func away() {
        var bench = CoreBench()
        bench.joinWorker()
        bench.told = []
        bench.holds = true
        ask(&bench, "demo", number: 0)
        ask(&bench, "demo", number: 1)
        let (ticket, _) = bench.held.removeFirst()
        bench.feed(.storeReply(ticket: ticket, .failed(.unavailable("cut"))))
        ask(&bench, "demo", number: 2)
        let told = answers(&bench)
        #expect(Set(told.map(\.number)) == [0, 1, 2] && told.allSatisfy { code($0.answer) == .unavailable })
        #expect(!bench.held.contains { if case .resolveModels = $0.request { true } else { false } })
    }

    @Test("a broker that drains sends its workers' questions elsewhere")
    func drains() {
        var bench = CoreBench()
        bench.joinWorker()
        bench.told = []
        bench.holds = true
        bench.feed(.drain)
        ask(&bench, "demo")
        #expect(answers(&bench).map { code($0.answer) } == [.unavailable])
    }
}
