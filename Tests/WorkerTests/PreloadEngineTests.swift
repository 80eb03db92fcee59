import TaskProtocol
import TestSupport
import Testing
import Worker

/// What the engine makes of a model that is to be in memory before a task asks for it.
@Suite struct PreloadEngineTests {
    @Test("a preloaded model is announced, makes one token, and is loaded when its first task comes", arguments: Precision.allCases)
    func preloads(precision: Precision) throws {
        var bench = try EngineBench()
        let model = try bench.model()
        bench.engine.preload(Preload(number: 3, model: model, precision: precision))
        #expect(bench.run() == [.models([precision.modelKey(checkpoint: model.sha256)]), .preloaded(3, nil)])
        // Again: it is there already.
        bench.engine.preload(Preload(number: 4, model: model, precision: precision))
        #expect(bench.run() == [.preloaded(4, nil)])
        let lease = bench.start(EngineBench.generate { ($0.n, $0.precision) = (2, precision) }, model: model)
        let reports = bench.run()
        #expect(reports.texts(of: lease)?.count == 2)
        #expect(!reports.contains { if case .models = $0 { true } else { false } }, "it was loaded again")
    }

    @Test("the texts of tasks are the same beside a preload")
    func besideTasks() throws {
        var alone = try EngineBench()
        let first = alone.start(EngineBench.generate { $0.n = 3 }, model: try alone.model())
        let texts = try #require(alone.run().texts(of: first))
        var bench = try EngineBench(slots: 2)
        let model = try bench.model()
        bench.engine.preload(Preload(number: 0, model: model, precision: .float32))
        let second = bench.start(EngineBench.generate { $0.n = 3 }, model: model)
        bench.engine.preload(Preload(number: 1, model: model, precision: .float32))
        let reports = bench.run()
        #expect(reports.texts(of: second) == texts)
        #expect(reports.contains(.preloaded(0, nil)) && reports.contains(.preloaded(1, nil)))
    }

    @Test("a model whose files are not there, or are another's, is not preloaded, and its reason is told")
    func broken() throws {
        let bench = try EngineBench()
        var absent = try bench.model()
        absent.manifest = String(repeating: "0", count: 64)
        bench.engine.preload(Preload(number: 0, model: absent, precision: .float32))
        guard case .preloaded(0, let missing?)? = bench.run().last else { return #expect(Bool(false), "it was preloaded") }
        #expect(missing.message.contains("cannot be laid out"))
        var other = try bench.model()
        other.sha256 = String(repeating: "0", count: 64)
        bench.engine.preload(Preload(number: 1, model: other, precision: .float32))
        guard case .preloaded(1, let wrong?)? = bench.run().last else { return #expect(Bool(false), "it was preloaded") }
        #expect(wrong.code == .modelError && wrong.message.contains("checkpoint digest"))
    }

    @Test("a model that loads and makes no token is not preloaded")
    func notANumber() throws {
        let bench = try EngineBench()
        bench.engine.preload(Preload(number: 0, model: try bench.modelWithoutNumbers(), precision: .float32))
        guard case .preloaded(0, let error?)? = bench.run().last else { return #expect(Bool(false), "it was preloaded") }
        #expect(error.code == .modelError)
    }

    @Test("a model without room beside the one at work, or beside those preloaded before, is not preloaded until there is some")
    func noRoom() throws {
        var bench = try EngineBench(cacheBytes: 1)
        let model = try bench.model()
        let lease = bench.start(EngineBench.generate { $0.n = 2 }, model: model)
        _ = bench.run { $0.contains(.started(lease)) }
        let small = Preload(number: 0, model: model, precision: .int8)
        for _ in 0..<2 {
            bench.engine.preload(small)
            let reports = bench.run { $0.contains { if case .preloaded = $0 { true } else { false } } }
            guard case .preloaded(0, let error?)? = reports.last(where: { if case .preloaded = $0 { true } else { false } }) else {
                return #expect(Bool(false), "it was preloaded")
            }
            #expect(error.message.contains("--cache-bytes beside the models at work"))
        }
        _ = bench.run()
        bench.engine.preload(small)
        #expect(bench.run().last == .preloaded(0, nil))
        var loads = 0
        bench.engine.whileLoading = { loads += 1 }
        for _ in 0..<2 {
            bench.engine.preload(Preload(number: 1, model: model, precision: .bfloat16))
            guard case .preloaded(1, let error?)? = bench.run().last else { return #expect(Bool(false), "it was preloaded") }
            #expect(error.message.contains("beside the models preloaded before it"))
        }
        #expect(loads == 1, "that it does not fit is known")
        // A task may have it all the same.
        let task = bench.start(EngineBench.generate { $0.precision = .bfloat16 }, model: model)
        #expect(bench.run().texts(of: task)?.count == 1)
    }
}
