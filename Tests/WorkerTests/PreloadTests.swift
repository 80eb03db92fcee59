import TaskProtocol
import Testing
import Worker

@Suite struct PreloadTests {
    private static let demo = PreloadRequest(model: "demo")
    private static let model = ResolvedModel(
        name: "demo", checkpoint: UUIDValue(hi: 1, lo: 1), sha256: String(repeating: "1", count: 64), manifest: String(repeating: "2", count: 64),
        tokenizerSHA256: nil, contextLength: 64, lineByLine: true)
    private static let absent = ContractError(.notFound, "there is no such model", field: "model")

    private func questions(_ bench: inout CoreBench) -> [String] { bench.sent().compactMap(\.question) }

    @Test("a reference is what a task's model may be, with a precision behind a slash")
    func references() throws {
        let digest = "sha256:" + String(repeating: "a", count: 64)
        for text in ["demo", "demo@500", "01900000-0000-7000-8000-000000000000", digest] {
            #expect(PreloadRequest(text) == PreloadRequest(model: text) && PreloadRequest(text)?.description == text)
        }
        #expect(PreloadRequest("demo/int8") == PreloadRequest(model: "demo", precision: .int8))
        #expect(PreloadRequest("demo/float32") == Self.demo)
        #expect(PreloadRequest(model: "demo", precision: .bfloat16).description == "demo/bfloat16")
        for text in ["", "/int8", "demo/", "demo/int4", "demo/int8/x", "-x", "demo@", "demo@x", "sha256:abc", "de mo", "/models/demo"] {
            #expect(PreloadRequest(text) == nil, "\(text)")
        }
    }

    @Test("a worker asks the broker that it joined, hands the model to its engine, and is ready and heard once that has made a token")
    func preloads() throws {
        var bench = CoreBench(preloads: [Self.demo, PreloadRequest(model: "other", precision: .int8)])
        bench.handle(.tick)
        #expect(questions(&bench) == [] && bench.core.snapshot.preloadsOutstanding.count == 2)
        bench.say(.welcome(broker: CoreBench.broker, heartbeatMilliseconds: 1000))
        #expect(questions(&bench) == ["demo", "other"])
        bench.say(.resolved(number: 1, .success(Self.model)))
        #expect(bench.preloads == [Preload(number: 1, model: Self.model, precision: .int8)])
        bench.say(.resolved(number: 0, .success(Self.model)))
        #expect(bench.preloads.last == Preload(number: 0, model: Self.model, precision: .float32))
        // Told twice, and late.
        bench.actions = []
        for number in [0, 1, 2, 99] { bench.say(.resolved(number: number, .success(Self.model))) }
        #expect(bench.preloads.isEmpty)
        bench.handle(.engine(.models([Self.model.sha256])))
        bench.handle(.engine(.preloaded(0, nil)))
        #expect(bench.notes == [.preloaded(Self.demo)])
        #expect(bench.core.snapshot.preloadsOutstanding == ["the model other/int8 of --preload is not ready: it is being loaded"])
        guard case .heartbeat(let beat)? = bench.sent().last(where: \.isHeartbeat) else { return #expect(Bool(false), "no heartbeat at once") }
        #expect(beat.models == [Self.model.sha256] && !beat.idle)
        bench.handle(.engine(.preloaded(1, nil)))
        #expect(bench.core.hasPreloaded && bench.core.snapshot.preloadsOutstanding.isEmpty)
        bench.actions = []
        bench.pass(60_000)
        #expect(questions(&bench) == [])
    }

    @Test("a question without an answer is asked again, ever less often, and of another broker at once")
    func asksAgain() {
        var bench = CoreBench.joined(preloads: [Self.demo])
        #expect(questions(&bench) == ["demo"])
        bench.pass(1_900)
        #expect(questions(&bench) == [])
        bench.pass(200)
        #expect(questions(&bench) == ["demo"])
        // A broker that knows no such question counts each as malformed.
        bench.pass(600_000)
        let count = questions(&bench).count
        #expect((18...24).contains(count), "\(count)")
        bench.pass(2_100, beating: false)
        #expect(questions(&bench) == [])
        bench.say(.welcome(broker: BrokerID(hi: 2, lo: 3), heartbeatMilliseconds: 1000))
        #expect(questions(&bench) == ["demo"])
    }

    @Test("a model that is not there yet is asked for every few seconds until it is; the log is told once")
    func waits() {
        var bench = CoreBench.joined(preloads: [Self.demo])
        bench.actions = []
        for round in 0..<4 {
            bench.say(.resolved(number: 0, .failure(Self.absent)))
            #expect(bench.notes == (round == 0 ? [.preloadWaits(Self.demo, why: Self.absent.message)] : []))
            #expect(bench.core.snapshot.preloadsOutstanding == ["the model demo of --preload is not ready: there is no such model"])
            bench.actions = []
            bench.pass(2_900)
            #expect(questions(&bench) == [])
            bench.pass(200)
            #expect(questions(&bench) == ["demo"])
        }
        bench.say(.resolved(number: 0, .failure(ContractError(.unavailable, "the database is away"))))
        #expect(bench.notes == [.preloadWaits(Self.demo, why: "the database is away")])
        bench.say(.resolved(number: 0, .success(Self.model)))
        #expect(bench.preloads.count == 1)
    }

    @Test("a model that cannot be loaded keeps the worker unready with the reason; it is asked for anew after half a minute, then less often")
    func rests() {
        var bench = CoreBench.joined(preloads: [Self.demo])
        for rest in [30, 60, 120, 240, 300, 300] as [Milliseconds] {
            bench.say(.resolved(number: 0, .success(Self.model)))
            bench.actions = []
            bench.handle(.engine(.preloaded(0, ContractError(.modelError, "its weights are broken"))))
            #expect(bench.notes == [.preloadFailed(Self.demo, why: "its weights are broken", againMilliseconds: rest * 1_000)])
            #expect(bench.core.snapshot.preloadsOutstanding.first?.contains("its weights are broken; it is tried again") == true)
            bench.pass(rest * 1_000 - 100)
            #expect(questions(&bench) == [])
            bench.pass(200)
            #expect(questions(&bench) == ["demo"])
        }
        // Meanwhile it works.
        bench.say(.grant(CoreBench.grant(1)))
        #expect(bench.started.count == 1)
    }

    @Test("nothing is preloaded beside a task that has the worker to itself, and such a task goes back while something is")
    func besideFinetunes() {
        var bench = CoreBench.joined(preloads: [Self.demo])
        let finetune = CoreBench.grant(1, sequences: 0)
        bench.say(.grant(finetune))
        bench.say(.resolved(number: 0, .success(Self.model)))
        #expect(bench.started == [finetune.lease] && bench.preloads.isEmpty)
        #expect(bench.core.snapshot.preloadsOutstanding.first?.contains("comes first") == true)
        bench.handle(.engine(.finished(finetune.lease, generations: [], result: nil)))
        #expect(bench.preloads.count == 1)
        let (second, short) = (CoreBench.grant(2, sequences: 0), CoreBench.grant(3))
        bench.actions = []
        bench.say(.grant(second))
        bench.say(.grant(short))
        #expect(bench.started == [short.lease])
        #expect(bench.sent().contains(.release(second.held, reason: .snooze, ran: false, resume: nil)))
        bench.handle(.engine(.finished(short.lease, generations: [], result: nil)))
        bench.handle(.engine(.preloaded(0, nil)))
        bench.say(.grant(CoreBench.grant(4, sequences: 0)))
        #expect(bench.started == [CoreBench.grant(4).lease])
    }

    @Test("a drain does not wait for a preload, and nothing is asked for meanwhile", arguments: [false, true])
    func drains(isLoading: Bool) {
        var bench = CoreBench.joined(preloads: [Self.demo])
        if isLoading { bench.say(.resolved(number: 0, .success(Self.model))) }
        bench.actions = []
        bench.handle(.drain)
        #expect(bench.actions.contains(.exit))
        #expect(questions(&bench) == [])
        bench.handle(.engine(.preloaded(0, nil)))
        #expect(bench.core.isGone)
    }

    @Test("a drain with a task to end asks for no model and begins with none")
    func drainsSlowly() {
        var bench = CoreBench.joined(preloads: [Self.demo])
        bench.say(.grant(CoreBench.grant(1)))
        bench.handle(.drain)
        bench.actions = []
        bench.say(.resolved(number: 0, .success(Self.model)))
        bench.pass(9_000)
        #expect(bench.preloads.isEmpty && questions(&bench) == [])
    }
}
