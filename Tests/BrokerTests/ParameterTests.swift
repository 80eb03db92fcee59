import Broker
import Encodings
import QueueSimulation
import TaskProtocol
import Testing

/// A release is rolled out: workers that do not know every parameter of the tasks that wait.
@Suite struct ParameterTests {
    private static let known = TaskParameters.knownNames
    private static let old = known.filter { $0 != "min_p" }
    private let other = UUIDValue(hi: 6, lo: 6)

    @Test("a task is not granted where one of its parameters is not known, as it is inserted or later, until somebody joins who knows it")
    func waits() throws {
        var bench = CoreBench()
        bench.joinWorker(parameters: Self.old)
        bench.submit()
        #expect(bench.grants.isEmpty && bench.store.tasks.count == 1)
        bench.pass(5_000, heartbeats: true)
        #expect(bench.grants.isEmpty && bench.store.tasks.values.allSatisfy { $0.attempt == 0 })
        bench.joinWorker(parameters: Self.known, session: other, address: [8])
        #expect(bench.grants.count == 1 && bench.store.tasks.values.first?.session == other)
    }

    @Test("a task is leased as it is inserted by the worker that knows its parameters, however much room another has")
    func atInsert() throws {
        var bench = CoreBench()
        bench.joinWorker(slots: 16, parameters: Self.old)
        bench.joinWorker(slots: 2, parameters: Self.known, session: other, address: [8])
        let scans = bench.scans
        bench.submit()
        #expect(bench.store.tasks.values.map(\.session) == [other] && bench.scans == scans)
        // A verify uses no more than the old worker knows.
        let task = try #require(bench.grants.first)
        bench.feed(.workerMessage(from: [8], .complete(task.held, generations: [record], result: nil, checkpoint: nil)))
        bench.ask(#""op":"submit","task":{"kind":"verify","params":{"task":"\#(task.task)"}}"#)
        #expect(bench.grants.count == 2 && bench.store.tasks.values.first { $0.kind == .verify }?.session == bench.session)
    }

    private var record: GenerationRecord {
        let digest = String(repeating: "1", count: 64)
        return GenerationRecord(
            sample: 0, promptIndex: 0, draw: 0, prompt: "", text: "a text", promptTokenIDs: [0], tokenIDs: [1], finishReason: .eos, meanLogprob: -1,
            params: Array("{}".utf8), recordSHA256: digest, numerics: "float32/1", checkpointSHA256: digest, tokenizerSHA256: digest)
    }

    /// A broker whose claims look at five tasks, with a line of so many that its worker cannot take, and a finetune at the end.
    private func bench(waiting: Int) -> CoreBench {
        var settings = BrokerSettings()
        settings.claimWindow = 5
        var bench = CoreBench(settings: settings)
        bench.joinWorker(parameters: Self.old)
        for _ in 0..<waiting {
            bench.now += 1
            bench.submit()
        }
        bench.now += 1
        bench.finetune()
        return bench
    }

    @Test("what stands behind more tasks than a claim looks at, none of which a worker can take, is found all the same")
    func behindAWindow() throws {
        var bench = bench(waiting: 23)
        bench.pass(50)
        let finetune = try #require(bench.store.tasks.values.first { $0.kind == .finetune })
        #expect(bench.grants.map(\.task) == [finetune.id])
        let scans = bench.scans
        bench.pass(5_000, heartbeats: true)
        #expect(bench.scans > scans && bench.scans - scans < 50, "the line is walked along once a sweep")
        bench.joinWorker(slots: 16, parameters: Self.known, session: other, address: [8])
        bench.pass(1_100, heartbeats: true)
        #expect(bench.store.tasks.values.count { $0.session == other } == 23, "those in front are not forgotten")
    }

    @Test("also behind more of them than are looked at between two sweeps") func farBehind() throws {
        var bench = bench(waiting: 163)
        bench.pass(500, heartbeats: true)
        #expect(bench.grants.isEmpty)
        let scans = bench.scans
        bench.pass(7_000, heartbeats: true)
        let finetune = try #require(bench.store.tasks.values.first { $0.kind == .finetune })
        #expect(Set(bench.grants.map(\.task)) == [finetune.id])
        #expect(bench.scans - scans <= 8 * 12, "eleven windows and a front between two sweeps")
    }

    @Test(
        "a worker that is kept free for the front gets its task as soon as it is idle, however far a walk has come",
        arguments: [3_000, 3_600, 4_000, 5_000])
    func keptFreeDuringAWalk(_ milliseconds: Int64) throws {
        var settings = BrokerSettings()
        settings.claimWindow = 3
        var bench = CoreBench(settings: settings)
        bench.joinWorker(slots: 2)
        bench.submit()
        let running = try #require(bench.grants.first)
        bench.feed(.workerMessage(from: [7], .confirm(session: bench.session, lease: running.lease)))
        // Nobody computes in bfloat16 here.
        for queue in ["default", "other"] {
            for _ in 0..<300 {
                bench.ask(#""op":"submit","task":{"kind":"generate","queue":"\#(queue)","params":{"model":"demo","precision":"bfloat16"}}"#)
            }
        }
        bench.pass(milliseconds, heartbeats: true)
        bench.finetune(priority: 10)
        bench.pass(2_000, heartbeats: true)
        #expect(bench.grants.count == 1, "the second slot is left for the finetune")
        bench.feed(.workerMessage(from: [7], .complete(running.held, generations: [], result: nil, checkpoint: nil)))
        let second = try #require(bench.grants.dropFirst().first)
        #expect(bench.store.tasks[second.task]?.kind == .finetune)
    }

    @Test("what is found behind a window does not take the worker that is kept free for the window's first")
    func behindAWindowThatIsKeptFree() throws {
        var settings = BrokerSettings()
        settings.claimWindow = 3
        var bench = CoreBench(settings: settings)
        bench.joinWorker(slots: 2)
        bench.submit()
        let running = try #require(bench.grants.first)
        bench.feed(.workerMessage(from: [7], .confirm(session: bench.session, lease: running.lease)))
        for number in 0..<4 {
            bench.finetune(output: "o\(number)")
        }
        bench.pass(5)
        bench.submit()
        bench.pass(3_000, heartbeats: true)
        #expect(bench.grants.count == 1, "the second slot is left for a finetune")
        bench.feed(.workerMessage(from: [7], .complete(running.held, generations: [], result: nil, checkpoint: nil)))
        bench.pass(1_100, heartbeats: true)
        let second = try #require(bench.grants.dropFirst().first)
        #expect(bench.store.tasks[second.task]?.kind == .finetune)
    }

    @Test("in several queues, too, it is looked at once a sweep and no more") func calmQueues() throws {
        var bench = CoreBench()
        bench.joinWorker(parameters: Self.old)
        for _ in 0..<20 { for queue in ["a", "b", "c"] { bench.submit(#","queue":"\#(queue)""#) } }
        bench.pass(2_000, heartbeats: true)
        let (scans, sweeps) = (bench.scans, bench.sweeps)
        bench.pass(20_000, heartbeats: true)
        #expect(bench.scans - scans >= 3 && bench.scans - scans <= 3 * (bench.sweeps - sweeps + 3))
        #expect(bench.grants.isEmpty)
    }

    @Test("what no worker knows is looked at once a sweep and no more, and others pass it")
    func calm() throws {
        var bench = CoreBench()
        bench.joinWorker(parameters: Self.old)
        for _ in 0..<20 { bench.submit() }
        bench.pass(2_000, heartbeats: true)
        let (scans, sweeps) = (bench.scans, bench.sweeps)
        bench.pass(20_000, heartbeats: true)
        // A tick comes every 50 ms; comparing leases with the store's is a reason to look, too.
        #expect(bench.scans - scans <= bench.sweeps - sweeps + 3)
        bench.joinWorker(slots: 16, parameters: [], session: other, address: [8])
        #expect(bench.grants.count >= 16, "one that did not say is granted what there is")
    }
}
