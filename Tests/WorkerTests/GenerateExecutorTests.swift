import Encodings
import FoundationEssentials
import TaskProtocol
import TestSupport
import Testing
import Worker

@Suite struct GenerateExecutorTests {
    @Test("a generate starts, reports each text, and ends with its records")
    func generates() throws {
        var bench = try EngineBench()
        let model = try bench.model()
        let lease = bench.start(EngineBench.generate { $0.n = 3 }, model: model)
        let reports = bench.run()
        #expect(reports.contains(.started(lease)))
        #expect(reports.contains(.models([model.sha256])))
        guard case .finished(lease, let generations, nil)? = reports.last else {
            Issue.record("it did not finish: \(String(describing: reports.last))")
            return
        }
        #expect(generations.map(\.sample).sorted() == [0, 1, 2])
        for record in generations {
            #expect(record.text.hasPrefix("Granite violet") && record.prompt == "Granite violet")
            #expect(record.promptTokenIDs.count + record.tokenIDs.count <= 40 && !record.tokenIDs.isEmpty)
            #expect(record.checkpointSHA256 == model.sha256 && record.numerics == "float32/1")
            #expect(record.recordSHA256.utf8.count == 64 && record.tokenizerSHA256.utf8.count == 64)
            #expect(record.meanLogprob.map { $0 < 0 } ?? false)
            #expect(try JSONValue.parse(record.params)["max_length"] == .integer(40))
        }
        let samples = reports.reduce(0) { count, report in
            guard case .events(_, let events) = report else { return count }
            return count + events.count { if case .sample = $0 { true } else { false } }
        }
        #expect(samples == 3)
    }

    @Test("the texts are the same beside other tasks, in fewer slots and with more threads")
    func reproduces() throws {
        var alone = try EngineBench(slots: 8)
        let first = alone.start(EngineBench.generate { $0.n = 3 }, model: try alone.model())
        let texts = try #require(alone.run().texts(of: first))
        var crowded = try EngineBench(threads: 2, slots: 2)
        let model = try crowded.model()
        let other = crowded.start(EngineBench.generate { ($0.prompts, $0.hasPromptList) = (["Old garden", "Light"], true) }, seed: 5, model: model)
        let second = crowded.start(EngineBench.generate { $0.n = 3 }, model: model)
        let reports = crowded.run()
        #expect(reports.texts(of: second) == texts)
        #expect(reports.texts(of: other)?.count == 2)
    }

    @Test("a model without room beside the one at work snoozes its task, unloaded until there is room; alone every model runs")
    func noRoom() throws {
        var bench = try EngineBench(cacheBytes: 1)
        let model = try bench.model()
        let first = bench.start(EngineBench.generate { $0.n = 2 }, model: model)
        var reports = bench.run { $0.contains(.started(first)) }
        #expect(reports.contains(.started(first)))
        // Another precision is another model.
        let second = bench.start(EngineBench.generate { $0.precision = .bfloat16 }, model: model)
        let third = bench.start(EngineBench.generate { $0.precision = .bfloat16 }, model: model)
        reports = bench.run { $0.contains(.snoozed(second)) }
        #expect(reports.contains(.snoozed(second)) && reports.contains(.snoozed(third)) && !reports.contains(.started(second)))
        let fourth = bench.start(EngineBench.generate { $0.precision = .bfloat16 }, model: model)
        #expect(bench.run { $0.contains(.snoozed(fourth)) }.contains(.snoozed(fourth)), "known to be too large: not loaded again")
        #expect(bench.run().texts(of: first)?.count == 2)
        let fifth = bench.start(EngineBench.generate { $0.precision = .bfloat16 }, model: model)
        #expect(bench.run().texts(of: fifth)?.count == 1)
    }

    /// A bench with room for one model, a long task of that one at work, and the time that tasks of another ask at.
    private static func crowdedBench(_ clock: Clock) throws -> (EngineBench, ResolvedModel, LeaseID) {
        var bench = try EngineBench(cacheBytes: 1)
        bench.engine.clock = { clock.time }
        let model = try bench.model()
        let endless = EngineBench.generate { ($0.n, $0.maxLength, $0.slidingWindow, $0.bannedTokens) = (2, 65_000, true, [0]) }
        let first = bench.start(endless, model: model)
        _ = bench.run { $0.contains(.started(first)) }
        return (bench, model, first)
    }

    /// A task of another model asks, and the engine makes some steps.
    private static func ask(_ bench: inout EngineBench, _ model: ResolvedModel) -> (lease: LeaseID, said: [EngineReport]) {
        let lease = bench.start(EngineBench.generate { $0.precision = .bfloat16 }, model: model)
        var said: [EngineReport] = []
        for _ in 0..<3 {
            _ = bench.engine.turn()
            said += bench.engine.takeReports()
        }
        return (lease, said)
    }

    private static func makesRoom(_ said: [EngineReport]) -> [Bool] {
        said.compactMap { if case .makingRoom(let isMaking) = $0 { isMaking } else { nil } }
    }

    @Test("a model that is asked for in vain for half a minute gets the memory as soon as what runs has ended, and its next task waits for that")
    func room() throws {
        let clock = Clock()
        var (bench, model, first) = try Self.crowdedBench(clock)
        for _ in 0..<4 {
            let (lease, said) = Self.ask(&bench, model)
            #expect(said.contains(.snoozed(lease)) && Self.makesRoom(said).isEmpty)
            clock.time += 9_900
        }
        clock.time += 400
        let (lease, said) = Self.ask(&bench, model)
        #expect(!said.contains(.snoozed(lease)) && Self.makesRoom(said) == [true])
        let (second, more) = Self.ask(&bench, model)
        #expect(more.contains(.snoozed(second)) && Self.makesRoom(more).isEmpty, "one waits")
        bench.engine.stop(first, .cancelled)
        let reports = bench.run()
        #expect(reports.texts(of: lease)?.count == 1 && Self.makesRoom(reports) == [false])
        #expect(bench.engine.takeReports().isEmpty)
    }

    @Test("a model that is asked for now and then gets none; and where nobody waits for it any more all goes on") func noRoomMade() throws {
        let clock = Clock()
        var (bench, model, first) = try Self.crowdedBench(clock)
        for _ in 0..<3 {
            let (lease, said) = Self.ask(&bench, model)
            #expect(said.contains(.snoozed(lease)) && Self.makesRoom(said).isEmpty)
            clock.time += 61_000
        }
        _ = Self.ask(&bench, model)
        clock.time += 31_000
        let (lease, said) = Self.ask(&bench, model)
        #expect(Self.makesRoom(said) == [true])
        bench.engine.stop(lease, .cancelled)
        _ = bench.engine.turn()
        let after = bench.engine.takeReports()
        #expect(after.stopped(lease).isStopped && Self.makesRoom(after) == [false])
        bench.engine.stop(first, .cancelled)
        #expect(Self.makesRoom(bench.run()).isEmpty)
    }

    @Test("each precision has a model of its own: tasks of several at once give what each gives alone")
    func precisions() throws {
        func task(_ precision: Precision) -> TaskParameters {
            EngineBench.generate { ($0.n, $0.precision, $0.temperature) = (3, precision, [1.5]) }
        }
        // The mean log-probability tells precisions apart even where all draws fall on the same tokens.
        var alone: [Precision: [GenerationRecord]] = [:]
        for precision in Precision.allCases {
            var bench = try EngineBench()
            let model = try bench.model()
            let lease = bench.start(task(precision), model: model)
            let reports = bench.run()
            let records = try #require(reports.records(of: lease))
            #expect(reports.contains(.models([precision.modelKey(checkpoint: model.sha256)])))
            for record in records {
                #expect(record.numerics == "\(precision)/1" && record.checkpointSHA256 == model.sha256)
                #expect(try JSONValue.parse(record.params)["precision"]?.stringValue == precision.rawValue)
            }
            alone[precision] = records
        }
        #expect(Set(alone.values.map { $0.map(\.meanLogprob) }).count == 3)
        var together = try EngineBench()
        let model = try together.model()
        let leases = Precision.allCases.map { ($0, together.start(task($0), model: model)) }
        let reports = together.run()
        for (precision, lease) in leases { #expect(reports.records(of: lease) == alone[precision], "\(precision)") }
        #expect(reports.contains(.models(Precision.allCases.map { $0.modelKey(checkpoint: model.sha256) })))
    }

    @Test("a streaming task reports each token, and together they are the text")
    func streams() throws {
        var bench = try EngineBench()
        let lease = bench.start(
            EngineBench.generate {
                $0.stream = true
                $0.lstrip = false
                $0.nonemptyOutput = false
            }, model: try bench.model())
        let reports = bench.run()
        var text = "Granite violet"
        for case .events(lease, let events) in reports {
            for case .token(0, 0, _, _, let piece) in events { text += piece }
        }
        #expect(reports.texts(of: lease) == [text])
    }

    @Test("a prompt as long as the context or max_length is invalid_argument and names both numbers")
    func promptTooLong() throws {
        var bench = try EngineBench()
        let model = try bench.model()
        let long = String(repeating: "garden violet ", count: 80)
        let first = bench.start(EngineBench.generate { $0.prompts = [long] }, model: model)
        let second = bench.start(
            EngineBench.generate {
                $0.prompts = ["a", "Granite violet compass counts"]
                $0.hasPromptList = true
                $0.maxLength = 3
            }, model: model)
        let third = bench.start(EngineBench.generate(), model: model)
        let reports = bench.run()
        let context = try #require(reports.failure(of: first))
        #expect(context.error.code == .invalidArgument && context.error.field == "params.prompt" && context.isFinal)
        #expect(context.error.message.contains("64"))
        let length = try #require(reports.failure(of: second))
        #expect(length.error.field == "params.prompts[1]" && length.error.message.contains("3") && length.isFinal)
        #expect(reports.texts(of: third)?.count == 1)
    }

    @Test("a stop ends a task between two tokens, and its neighbours go on")
    func stops() throws {
        var bench = try EngineBench()
        let model = try bench.model()
        let first = bench.start(EngineBench.generate { $0.maxLength = 60 }, model: model)
        let second = bench.start(EngineBench.generate { $0.maxLength = 60 }, model: model)
        let early = bench.run { $0.contains(.started(first)) }
        #expect(early.texts(of: first) == nil)
        bench.engine.stop(first, .cancelled)
        let reports = bench.run()
        #expect(reports.stopped(first).isStopped && reports.texts(of: first) == nil)
        #expect(reports.texts(of: second)?.count == 1)
    }

    @Test("a task is stopped while its model is still to be loaded")
    func stopsEarly() throws {
        var bench = try EngineBench()
        let lease = bench.start(EngineBench.generate(), model: try bench.model())
        bench.engine.stop(lease, .stale)
        let reports = bench.run()
        #expect(reports.stopped(lease).isStopped && reports.texts(of: lease) == nil)
    }

    @Test("a task that comes while a model is on its way for one that was stopped waits for the same load")
    func comesAfterAStop() throws {
        var bench = try EngineBench()
        let model = try bench.model()
        let stopped = bench.start(EngineBench.generate(), model: model)
        bench.engine.stop(stopped, .timedOut)
        let second = bench.start(EngineBench.generate(), model: model)
        let reports = bench.run()
        #expect(reports.stopped(stopped).isStopped)
        #expect(reports.texts(of: second)?.count == 1)
        #expect(reports.filter { if case .models = $0 { true } else { false } } == [.models([model.sha256])], "loaded twice")
    }

    /// A bench in which `during` is called with its engine when the first load begins, and time passes only as the test says.
    private static func slowBench(_ now: Clock, during: @escaping () -> Void) throws -> EngineBench {
        let bench = try EngineBench()
        bench.engine.clock = { now.time }
        var isFirst = true
        bench.engine.whileLoading = {
            if isFirst {
                isFirst = false
                during()
            }
        }
        return bench
    }

    private final class Clock { var time: Int64 = 1_000 }

    @Test("where a model takes long to load one task waits for it, and the others go back: their slots are for those of models that are here")
    func slowLoad() throws {
        let clock = Clock()
        var leases: [LeaseID] = []
        var early: [[EngineReport]] = []
        var begun: () -> Void = {}
        var bench = try Self.slowBench(clock) { begun() }
        let model = try bench.model()
        begun = {
            clock.time += 4_900
            leases.append(bench.start(EngineBench.generate(), model: model))
            early.append(bench.engine.takeReports())
            clock.time += 100
            leases.append(bench.start(EngineBench.generate(), model: model))
            early.append(bench.engine.takeReports())
            // Who waits is stopped: the next one waits in its place.
            bench.engine.stop(leases[0], .cancelled)
            early.append(bench.engine.takeReports())
            for _ in 1...2 { leases.append(bench.start(EngineBench.generate(), model: model)) }
        }
        leases.append(bench.start(EngineBench.generate(), model: model))
        // It stands behind another job of the loader: that is no load that takes long.
        clock.time += 60_000
        #expect(bench.engine.takeReports().isEmpty)
        let reports = bench.run()
        #expect(early[0].allSatisfy { if case .progress = $0 { true } else { false } }, "most models are here sooner")
        #expect(early[1] == [.snoozed(leases[1]), .snoozed(leases[2]), .loadingLong(true)])
        #expect(early[2] == [.stopped(leases[0], resume: nil)])
        #expect(reports.contains(.snoozed(leases[4])) && reports.texts(of: leases[3])?.count == 1)
        #expect(reports.compactMap { if case .loadingLong(let isLong) = $0 { isLong } else { nil } } == [false])
        let last = bench.start(EngineBench.generate(), model: model)
        #expect(bench.run().texts(of: last)?.count == 1, "it is here")
    }

    @Test("a model that stands behind one that takes long does so too, and nobody waits for it; behind short ones its time begins with its own load")
    func behindAnother() throws {
        let clock = Clock()
        var second: [LeaseID] = []
        var early: [[EngineReport]] = []
        var begun: () -> Void = {}
        var bench = try Self.slowBench(clock) { begun() }
        let (model, other) = (try bench.model(), try bench.model(Fixtures.reference + "/gpt2-variant"))
        let first = bench.start(EngineBench.generate(), model: model)
        begun = {
            for passed: Int64 in [4_000, 1_000] {
                clock.time += passed
                second.append(bench.start(EngineBench.generate(), model: other))
                early.append(bench.engine.takeReports())
            }
        }
        let reports = bench.run()
        #expect(!early[0].contains { if case .snoozed = $0 { true } else { false } })
        #expect(second.allSatisfy { early[1].contains(.snoozed($0)) })
        #expect(reports.texts(of: first)?.count == 1)
        let third = bench.start(EngineBench.generate(), model: other)
        #expect(bench.run().texts(of: third)?.count == 1)
    }

    @Test("tasks that stand behind a preload that takes long go back, and ask for nothing; those of its model wait for it, one at most")
    func behindPreload() throws {
        let clock = Clock()
        var early: [[EngineReport]] = []
        var begun: () -> Void = {}
        var bench = try Self.slowBench(clock) { begun() }
        let (model, other) = (try bench.model(), try bench.model(Fixtures.reference + "/gpt2-variant"))
        begun = {
            clock.time += 4_000
            let before = bench.start(EngineBench.generate { $0.precision = .int8 }, model: other)
            clock.time += 1_000
            let second = bench.start(EngineBench.generate { $0.precision = .int8 }, model: other)
            let third = bench.start(EngineBench.generate(), model: other)
            early.append(bench.engine.takeReports())
            #expect([before, second, third].allSatisfy { early[0].contains(.snoozed($0)) })
            #expect(early[0].contains(.loadingLong(true)), "all that came would go back")
            for _ in 1...2 { _ = bench.start(EngineBench.generate(), model: model) }
            early.append(bench.engine.takeReports())
        }
        bench.engine.preload(Preload(number: 0, model: model, precision: .float32))
        let reports = bench.run()
        #expect(early[1].count { if case .snoozed = $0 { true } else { false } } == 1)
        #expect(reports.contains(.preloaded(0, nil)))
        #expect(reports.count { if case .finished = $0 { true } else { false } } == 1)
        // What was asked for before it took long comes all the same; nothing else does.
        let models = [model.sha256, Precision.int8.modelKey(checkpoint: other.sha256)]
        #expect(reports.last { if case .models = $0 { true } else { false } } == .models(models))
    }

    @Test("a loader that says nothing is noticed by the time that it takes, with no task about")
    func silentLoad() throws {
        let clock = Clock()
        var early: [EngineReport] = []
        var begun: () -> Void = {}
        let bench = try Self.slowBench(clock) { begun() }
        let model = try bench.model()
        begun = {
            clock.time += 5_000
            _ = bench.engine.engineTurn()
            early = bench.engine.takeReports()
        }
        bench.engine.preload(Preload(number: 0, model: model, precision: .float32))
        let reports = bench.run()
        #expect(early == [.loadingLong(true)])
        #expect(reports.contains(.preloaded(0, nil)) && reports.last { if case .loadingLong = $0 { true } else { false } } == .loadingLong(false))
    }

    @Test("a load that nobody waits for any more is a sign of life for those that stand behind it") func behindUnwanted() throws {
        let clock = Clock()
        var second: LeaseID?
        var said: [EngineReport] = []
        var begun: () -> Void = {}
        var bench = try Self.slowBench(clock) { begun() }
        let (model, other) = (try bench.model(), try bench.model(Fixtures.reference + "/gpt2-variant"))
        let first = bench.start(EngineBench.generate(), model: model)
        begun = {
            bench.engine.stop(first, .cancelled)
            second = bench.start(EngineBench.generate(), model: other)
            _ = bench.engine.takeReports()
            clock.time += 1_000
        }
        let reports = bench.run()
        said = reports.filter { if case .progress(let lease, _, _) = $0 { lease == second } else { false } }
        #expect(!said.isEmpty)
        #expect(try reports.texts(of: #require(second))?.count == 1)
    }

    @Test("a model that is not in the store fails the attempt, not the task")
    func missingModel() throws {
        var bench = try EngineBench()
        var model = try bench.model()
        model.manifest = String(repeating: "a", count: 64)
        let lease = bench.start(EngineBench.generate(), model: model)
        let failure = try #require(bench.run().failure(of: lease))
        #expect(failure.error.code == .internalError && !failure.isFinal)
    }

    @Test("weights that are not those of the digest are a model_error")
    func otherWeights() throws {
        var bench = try EngineBench()
        var model = try bench.model()
        model.sha256 = String(repeating: "b", count: 64)
        let lease = bench.start(EngineBench.generate(), model: model)
        let failure = try #require(bench.run().failure(of: lease))
        #expect(failure.error.code == .modelError && failure.isFinal)
    }

    @Test("a logit that is not a number fails its own task only")
    func notANumber() throws {
        var bench = try EngineBench()
        let first = bench.start(EngineBench.generate(), model: try bench.modelWithoutNumbers())
        let second = bench.start(EngineBench.generate(), model: try bench.model())
        let reports = bench.run()
        let failure = try #require(reports.failure(of: first))
        #expect(failure.error.code == .modelError && failure.isFinal)
        #expect(reports.texts(of: second)?.count == 1)
    }
}
