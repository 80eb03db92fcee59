import Broker
import QueueSimulation
import TaskProtocol
import Testing

/// Where tasks go whose model a worker has to load first, and what becomes of those that it gives back.
@Suite struct ColdModelTests {
    private static let other = UUIDValue(hi: 6, lo: 6)

    private func snooze(_ grant: WorkerGrant, _ bench: inout CoreBench) {
        bench.feed(.workerMessage(from: [7], .confirm(session: bench.session, lease: grant.lease)))
        bench.feed(.workerMessage(from: [7], .release(grant.held, reason: .snooze, ran: false, resume: nil)))
    }

    /// The key of the model of the first task that was granted.
    private func key(_ bench: CoreBench) throws -> String {
        let grant = try #require(bench.grants.first)
        return try #require(try ResolvedTask.decode(grant.resolved).model?.sha256)
    }

    /// The worker that joined says what it has; it holds nothing.
    private func beat(
        _ bench: inout CoreBench, models: [String], from address: [UInt8] = [7], session: SessionID? = nil, held: [LeaseID] = [], free: Int = 4
    ) {
        bench.feed(
            .workerMessage(
                from: address,
                .heartbeat(
                    WorkerHeartbeat(
                        session: session ?? bench.session, sequence: 1, leasesCount: held.count, leasesHash: WorkerLeases.hash(held), freeSlots: free,
                        idle: held.isEmpty, models: models, draining: false))))
    }

    private func pass(_ seconds: Int, _ bench: inout CoreBench, models: [String] = []) {
        for _ in 0..<seconds {
            beat(&bench, models: models)
            bench.pass(1_000)
        }
    }

    @Test("a worker that gives a task back for want of its model gets none of that model for longer and longer, but others at once")
    func avoided() throws {
        var bench = CoreBench()
        bench.joinWorker()
        bench.submit()
        var times = [bench.now]
        snooze(try #require(bench.grants.first), &bench)
        bench.finetune()
        #expect(bench.grants.count == 2, "a task of no model is granted at once")
        let finetune = bench.grants[1]
        bench.feed(.workerMessage(from: [7], .confirm(session: bench.session, lease: finetune.lease)))
        bench.feed(.workerMessage(from: [7], .failed(finetune.held, error: ContractError(.modelError, "no"), final: true)))
        for round in 2...4 {
            for _ in 0..<20 where bench.grants.count == round { pass(1, &bench) }
            times.append(bench.now)
            snooze(try #require(bench.grants.last), &bench)
        }
        let pauses = zip(times.dropFirst(), times).map { $0 - $1 }
        #expect(pauses[0] >= 2_000 && pauses[1] >= 4_000 && pauses[2] >= 8_000, "\(pauses)")
        let waiting = try #require(bench.store.tasks.values.first { $0.kind == .generate })
        #expect(waiting.failures == 0 && waiting.state == .queued)
    }

    @Test("a verify that is given back for want of its model keeps its worker from no other task, and goes there again later and later")
    func avoidedVerify() throws {
        var bench = CoreBench()
        bench.joinWorker()
        bench.submit()
        let generate = try #require(bench.grants.first)
        let text = GenerationRecord(
            sample: 0, promptIndex: 0, draw: 0, prompt: "", text: "a text", promptTokenIDs: [0], tokenIDs: [1], finishReason: .eos, meanLogprob: -1,
            params: Array("{}".utf8), recordSHA256: "", numerics: "float32/1", checkpointSHA256: "", tokenizerSHA256: "")
        bench.feed(.workerMessage(from: [7], .complete(generate.held, generations: [text], result: nil, checkpoint: nil)))
        pass(1, &bench)
        bench.ask(#""op":"submit","task":{"kind":"verify","params":{"task":"\#(generate.task)"}}"#)
        for _ in 0..<3 where bench.grants.count == 1 { pass(1, &bench) }
        var times = [bench.now]
        snooze(try #require(bench.grants.last), &bench)
        bench.finetune()
        #expect(bench.grants.count == 3, "a task of no model is granted at once")
        bench.feed(.workerMessage(from: [7], .failed(bench.grants[2].held, error: ContractError(.modelError, "no"), final: true)))
        for round in 3...5 {
            for _ in 0..<20 where bench.grants.count == round { pass(1, &bench) }
            times.append(bench.now)
            snooze(try #require(bench.grants.last), &bench)
        }
        let pauses = zip(times.dropFirst(), times).map { $0 - $1 }
        #expect(pauses[0] >= 2_000 && pauses[1] >= 4_000 && pauses[2] >= 8_000, "\(pauses)")
    }

    @Test("once it has the model it gets the task at once, in the place that the task had") func loaded() throws {
        var bench = CoreBench()
        bench.joinWorker(slots: 1)
        bench.submit()
        let rank = try #require(bench.store.tasks.values.first).rank
        for _ in 0..<2 { snooze(try #require(bench.grants.last), &bench); pass(3, &bench) }
        #expect(bench.store.tasks.values.first?.rank == rank)
        let key = try key(bench)
        snooze(try #require(bench.grants.last), &bench)
        let before = Set(bench.grants.map(\.lease)).count
        pass(2, &bench, models: [key])
        #expect(Set(bench.grants.map(\.lease)).count == before + 1)
    }

    @Test("another worker gets what one gave back") func otherWorker() throws {
        var bench = CoreBench()
        bench.joinWorker()
        bench.submit()
        let first = try #require(bench.grants.first)
        bench.joinWorker(session: Self.other, address: [8])
        snooze(first, &bench)
        for _ in 0..<2 {
            beat(&bench, models: [])
            beat(&bench, models: [], from: [8], session: Self.other)
            bench.pass(1_000)
        }
        #expect(bench.store.tasks.values.first?.session == Self.other)
    }

    @Test("a model that takes long to load is not loaded by a second worker while the first is soon free") func spreads() throws {
        var bench = CoreBench()
        bench.joinWorker(slots: 1)
        bench.submit()
        let first = try #require(bench.grants.first)
        let key = try key(bench)
        bench.feed(.workerMessage(from: [7], .confirm(session: bench.session, lease: first.lease)))
        // Ten seconds to load, one to run.
        for second in 0..<10 {
            beat(&bench, models: [], held: [first.lease])
            let progress = WorkerProgress(phase: .loading, done: second)
            bench.feed(.workerMessage(from: [7], .progress(first.held, progress, steps: [])))
            bench.pass(1_000)
        }
        bench.feed(.workerMessage(from: [7], .started(first.held)))
        beat(&bench, models: [key], held: [first.lease])
        bench.pass(1_000)
        bench.feed(.workerMessage(from: [7], .complete(first.held, generations: [], result: nil, checkpoint: nil)))
        bench.joinWorker(slots: 1, session: Self.other, address: [8])
        // One for the slot, one behind it, one in line: though the other worker has nothing to do.
        for _ in 0..<3 { bench.submit() }
        #expect(bench.store.tasks.values.count { $0.session == bench.session && $0.state == .running } == 2)
        #expect(!bench.store.tasks.values.contains { $0.session == Self.other })
        // What has waited as long as the loading takes is run there all the same.
        for _ in 0..<12 {
            let held = bench.store.tasks.values.filter { $0.session == bench.session }.compactMap(\.lease)
            beat(&bench, models: [key], held: held)
            beat(
                &bench, models: [], from: [8], session: Self.other,
                held: bench.store.tasks.values.filter { $0.session == Self.other }.compactMap(\.lease))
            bench.pass(1_000)
        }
        #expect(bench.store.tasks.values.count { $0.session == Self.other } == 1)
    }

    /// A task is granted, takes so long until it runs, and then runs for so long.
    private func run(_ bench: inout CoreBench, loading: Int, running: Int) throws {
        let grant = try #require(bench.grants.last)
        bench.feed(.workerMessage(from: [7], .confirm(session: bench.session, lease: grant.lease)))
        for second in 0..<loading {
            beat(&bench, models: [], held: [grant.lease])
            // What a worker says while a model is on its way is no sign that it has it.
            let progress = WorkerProgress(phase: .loading, done: second)
            bench.feed(.workerMessage(from: [7], .progress(grant.held, progress, steps: [])))
            bench.pass(1_000)
        }
        bench.feed(.workerMessage(from: [7], .started(grant.held)))
        for _ in 0..<running {
            beat(&bench, models: [try key(bench)], held: [grant.lease])
            bench.pass(1_000)
        }
        bench.feed(.workerMessage(from: [7], .complete(grant.held, generations: [], result: nil, checkpoint: nil)))
        beat(&bench, models: [try key(bench)])
    }

    @Test("no task waits for a worker that holds its model and takes nothing, beside one that is free") func unfitHolder() throws {
        var bench = CoreBench()
        bench.joinWorker()
        bench.submit()
        try run(&bench, loading: 10, running: 1)
        // As a worker says whose machine is not fit for work.
        beat(&bench, models: [try key(bench)], free: -4)
        bench.joinWorker(session: Self.other, address: [8])
        for _ in 0..<2 { bench.submit() }
        #expect(bench.store.tasks.values.count { $0.session == Self.other } == 2)
    }

    @Test("a worker that says nonsense of its slots says that it has none, or all", arguments: [-(1 << 53), 1 << 53]) func nonsense(free: Int) throws
    {
        var bench = CoreBench()
        bench.joinWorker()
        bench.submit()
        try run(&bench, loading: 1, running: 10)
        bench.submit()
        let grant = try #require(bench.grants.last)
        bench.feed(.workerMessage(from: [7], .confirm(session: bench.session, lease: grant.lease)))
        beat(&bench, models: [try key(bench)], held: [grant.lease], free: free)
        bench.joinWorker(session: Self.other, address: [8])
        bench.submit()
        #expect(bench.store.tasks.values.contains { $0.session == Self.other } == (free < 0))
    }

    @Test("one that is busy with tasks of many sequences is worth waiting for all the same: their ends make room") func busyHolder() throws {
        var bench = CoreBench()
        bench.joinWorker()
        bench.submit()
        try run(&bench, loading: 10, running: 1)
        bench.submit()
        let grant = try #require(bench.grants.last)
        bench.feed(.workerMessage(from: [7], .confirm(session: bench.session, lease: grant.lease)))
        beat(&bench, models: [try key(bench)], held: [grant.lease], free: -4)
        bench.joinWorker(session: Self.other, address: [8])
        for _ in 0..<2 { bench.submit() }
        #expect(!bench.store.tasks.values.contains { $0.session == Self.other })
    }

    /// A task of many sequences takes all slots of the worker that joined first, and another worker joins that has nothing to do.
    private func fill(_ bench: inout CoreBench) throws {
        bench.submit()
        let grant = try #require(bench.grants.last)
        bench.feed(.workerMessage(from: [7], .confirm(session: bench.session, lease: grant.lease)))
        bench.feed(.workerMessage(from: [7], .started(grant.held)))
        beat(&bench, models: [try key(bench)], held: [grant.lease], free: 0)
        bench.joinWorker(session: Self.other, address: [8])
        bench.submit()
    }

    @Test("a worker that one task fills is not where the next one goes, beside one that is idle, before anything is known of the model's costs")
    func fullHolder() throws {
        var bench = CoreBench()
        bench.joinWorker()
        try fill(&bench)
        #expect(bench.store.tasks.values.count { $0.session == Self.other } == 1)
    }

    @Test("nor where waiting for its slots costs more than loading; else it is", arguments: [(1, 10, true), (10, 1, false)])
    func fullHolderByCost(loading: Int, running: Int, leaves: Bool) throws {
        var bench = CoreBench()
        bench.joinWorker()
        bench.submit()
        try run(&bench, loading: loading, running: running)
        try fill(&bench)
        #expect(bench.store.tasks.values.contains { $0.session == Self.other } == leaves)
    }

    @Test("an end that was heard before a heartbeat, and is recorded after it, makes no room a second time") func endBeforeHeartbeat() throws {
        var bench = CoreBench()
        bench.joinWorker()
        /// A task that takes several slots runs on the worker that joined first.
        func start(free: Int) throws -> WorkerGrant {
            bench.submit()
            let grant = try #require(bench.grants.last)
            bench.feed(.workerMessage(from: [7], .confirm(session: bench.session, lease: grant.lease)))
            bench.feed(.workerMessage(from: [7], .started(grant.held)))
            beat(&bench, models: [try key(bench)], held: bench.grants.map(\.lease), free: free)
            return grant
        }
        let first = try start(free: 1)
        let second = try start(free: -3)
        bench.joinWorker(session: Self.other, address: [8])
        bench.pass(1_000)
        bench.holds = true
        bench.feed(.workerMessage(from: [7], .complete(first.held, generations: [], result: nil, checkpoint: nil)))
        beat(&bench, models: [try key(bench)], held: [first.lease, second.lease], free: 0)
        bench.release()
        #expect(bench.store.tasks[first.task]?.state == .succeeded)
        bench.submit()
        #expect(bench.store.tasks.values.count { $0.session == Self.other } == 1, "the other worker has nothing to do")
    }

    @Test("how long verifies of a model run counts as what its generates take: both keep its slots") func verifiesCount() throws {
        var bench = CoreBench()
        bench.joinWorker(slots: 1)
        bench.submit()
        let generate = try #require(bench.grants.first)
        let text = GenerationRecord(
            sample: 0, promptIndex: 0, draw: 0, prompt: "", text: "a text", promptTokenIDs: [0], tokenIDs: [1], finishReason: .eos, meanLogprob: -1,
            params: Array("{}".utf8), recordSHA256: "", numerics: "float32/1", checkpointSHA256: "", tokenizerSHA256: "")
        bench.feed(.workerMessage(from: [7], .confirm(session: bench.session, lease: generate.lease)))
        for _ in 0..<4 {
            beat(&bench, models: [], held: [generate.lease], free: 0)
            bench.feed(.workerMessage(from: [7], .progress(generate.held, WorkerProgress(phase: .loading, done: 1), steps: [])))
            bench.pass(1_000)
        }
        bench.feed(.workerMessage(from: [7], .started(generate.held)))
        // Six seconds to run, four to load: waiting for one would cost more than loading.
        for _ in 0..<6 {
            beat(&bench, models: [try key(bench)], held: [generate.lease], free: 0)
            bench.pass(1_000)
        }
        bench.feed(.workerMessage(from: [7], .complete(generate.held, generations: [text], result: nil, checkpoint: nil)))
        // Many verifies of a moment.
        for _ in 0..<20 {
            beat(&bench, models: [try key(bench)])
            let before = bench.grants.count
            bench.ask(#""op":"submit","task":{"kind":"verify","params":{"task":"\#(generate.task)"}}"#)
            for _ in 0..<40 where bench.grants.count == before { bench.pass(50) }
            let verify = try #require(bench.grants.last)
            bench.feed(.workerMessage(from: [7], .confirm(session: bench.session, lease: verify.lease)))
            bench.feed(.workerMessage(from: [7], .started(verify.held)))
            bench.pass(100)
            bench.feed(.workerMessage(from: [7], .complete(verify.held, generations: [], result: Array("{}".utf8), checkpoint: nil)))
        }
        beat(&bench, models: [try key(bench)])
        bench.joinWorker(slots: 1, session: Self.other, address: [8])
        for _ in 0..<2 { bench.submit() }
        #expect(bench.store.tasks.values.count { $0.session == bench.session && $0.state == .running } == 2)
        #expect(!bench.store.tasks.values.contains { $0.session == Self.other })
    }

    @Test("what a worker gives back as it says that it takes nothing makes no room there") func givenBackIsNoRoom() throws {
        var bench = CoreBench()
        bench.joinWorker()
        bench.submit()
        let grant = try #require(bench.grants.last)
        bench.feed(.workerMessage(from: [7], .confirm(session: bench.session, lease: grant.lease)))
        beat(&bench, models: [], held: [grant.lease], free: -4)
        bench.feed(.workerMessage(from: [7], .release(grant.held, reason: .snooze, ran: false, resume: nil)))
        bench.finetune()
        bench.pass(500)
        #expect(bench.grants.count == 1)
        beat(&bench, models: [])
        bench.pass(500)
        #expect(bench.grants.count == 2, "once it says that there is some")
    }

    @Test("nor for one that is left to become idle for a task that needs all of it") func keptFreeHolder() throws {
        var bench = CoreBench()
        bench.joinWorker()
        bench.submit()
        try run(&bench, loading: 10, running: 1)
        bench.submit()
        let params = #"{"config":"gpt2-cpu","dataset":{"text":"a b c"},"output":"o","tokenizer":{"train":{}}}"#
        bench.ask(#""op":"submit","task":{"kind":"finetune","queue":"train","params":\#(params)}"#)
        bench.pass(100)
        // It knows nothing of training.
        bench.joinWorker(parameters: GenerateParameters.names, session: Self.other, address: [8])
        for _ in 0..<2 { bench.submit() }
        #expect(bench.store.tasks.values.count { $0.session == bench.session } == 1)
        #expect(bench.store.tasks.values.count { $0.session == Self.other } == 2)
    }

    @Test("what a claim is about to hand out stands before nobody: an idle worker that holds the model gets it") func idleHolder() throws {
        var bench = CoreBench()
        bench.joinWorker()
        bench.submit()
        try run(&bench, loading: 1, running: 5)
        bench.joinWorker(session: Self.other, address: [8])
        let publication = ModelStore.Publication(params: Array(#"{"model":"demo"}"#.utf8))
        for number in 1...3 as ClosedRange<UInt64> {
            bench.store.publish(publication, id: UUIDValue(hi: 1, lo: number), now: CoreBench.epoch + bench.now)
        }
        bench.feed(.notified)
        #expect(bench.store.tasks.values.count { $0.session == bench.session } == 3)
    }

    @Test("a load that was broken off is not taken for one that lasted until the next") func brokenLoad() throws {
        var bench = CoreBench()
        bench.joinWorker(slots: 1)
        bench.submit()
        let first = try #require(bench.grants.first)
        bench.feed(.workerMessage(from: [7], .confirm(session: bench.session, lease: first.lease)))
        bench.ask(#""op":"cancel","ids":["\#(first.task)"]"#)
        bench.feed(.workerMessage(from: [7], .cancelled(first.held)))
        pass(120, &bench)
        bench.submit()
        try run(&bench, loading: 1, running: 5)
        bench.joinWorker(slots: 1, session: Self.other, address: [8])
        // Five seconds behind another task cost more than a second of loading.
        for _ in 0..<2 { bench.submit() }
        #expect(bench.store.tasks.values.count { $0.session == Self.other } == 1)
    }

    @Test("tasks that are given back together are one reason, and the load that goes on for the one that stays is still measured")
    func longLoad() throws {
        var bench = CoreBench()
        bench.joinWorker(slots: 3)
        for _ in 0..<3 { bench.submit() }
        let grants = bench.grants
        for grant in grants { bench.feed(.workerMessage(from: [7], .confirm(session: bench.session, lease: grant.lease))) }
        for second in 0..<12 {
            if second == 5 {
                for grant in grants.dropFirst() {
                    bench.feed(.workerMessage(from: [7], .release(grant.held, reason: .snooze, ran: false, resume: nil)))
                }
            }
            beat(&bench, models: [], held: second < 5 ? grants.map(\.lease) : [grants[0].lease])
            bench.pass(1_000)
            if second == 7 { #expect(Set(bench.grants.map(\.lease)).count > 3, "two seconds after it gave them back it is asked again") }
            for grant in bench.grants.dropFirst(3) where second > 7 {
                bench.feed(.workerMessage(from: [7], .release(grant.held, reason: .snooze, ran: false, resume: nil)))
            }
        }
        bench.feed(.workerMessage(from: [7], .started(grants[0].held)))
        beat(&bench, models: [try key(bench)], held: [grants[0].lease])
        bench.pass(1_000)
        bench.feed(.workerMessage(from: [7], .complete(grants[0].held, generations: [], result: nil, checkpoint: nil)))
        bench.joinWorker(slots: 3, session: Self.other, address: [8])
        // Twelve seconds of loading: nobody else is to begin with it for a task of one second.
        for _ in 0..<6 { bench.submit() }
        #expect(!bench.store.tasks.values.contains { $0.session == Self.other })
    }

    @Test("a task that needs all of a worker and is given back again and again rests longer each time, until it runs") func exclusive() throws {
        var bench = CoreBench()
        bench.joinWorker()
        bench.finetune()
        let rank = try #require(bench.store.tasks.values.first).rank
        var times = [bench.now]
        for round in 1...4 {
            let grant = try #require(bench.grants.last)
            let progress = WorkerProgress(phase: .loading, done: 0)
            bench.feed(.workerMessage(from: [7], .progress(grant.held, progress, steps: [])))
            snooze(grant, &bench)
            for _ in 0..<30 where bench.grants.count == round { pass(1, &bench) }
            times.append(bench.now)
        }
        let pauses = zip(times.dropFirst(), times).map { $0 - $1 }
        #expect(zip(pauses, [1_000, 2_000, 4_000, 8_000]).allSatisfy { $0 >= $1 && $0 < $1 + 2_100 }, "\(pauses)")
        #expect(bench.store.tasks.values.first?.rank == rank)
    }

    @Test("it comes to every worker once before it comes to the same one again", arguments: [2, 3, 4]) func exclusiveElsewhere(workers: Int) throws {
        var bench = CoreBench()
        let sessions = [bench.session] + (1..<workers).map { UUIDValue(hi: 6, lo: UInt64($0)) }
        func address(_ session: SessionID) throws -> [UInt8] { [UInt8(7 + (try #require(sessions.firstIndex(of: session))))] }
        for session in sessions { bench.joinWorker(session: session, address: try address(session)) }
        bench.finetune()
        var takers: [SessionID] = []
        for round in 1...2 * workers {
            for _ in 0..<100 where bench.grants.count < round {
                for session in sessions { beat(&bench, models: [], from: try address(session), session: session) }
                bench.pass(1_000)
            }
            let grant = try #require(bench.grants.last)
            let session = try #require(bench.store.tasks.values.first?.session)
            takers.append(session)
            bench.feed(.workerMessage(from: try address(session), .confirm(session: session, lease: grant.lease)))
            // It takes a while to find out.
            for _ in 0..<2 {
                for other in sessions {
                    beat(&bench, models: [], from: try address(other), session: other, held: other == session ? [grant.lease] : [])
                }
                bench.pass(750)
            }
            bench.feed(.workerMessage(from: try address(session), .release(grant.held, reason: .snooze, ran: false, resume: nil)))
        }
        #expect(Set(takers.prefix(workers)).count == workers && takers.prefix(workers) == takers.suffix(workers), "\(takers)")
    }

    @Test("pauses double up to a bound, are forgotten with a start, and are each task's own") func pauses() {
        var table = SnoozeTable()
        let (one, two) = (UUIDValue(hi: 1, lo: 1), UUIDValue(hi: 2, lo: 2))
        #expect((0..<9).map { _ in table.pause(one, first: 1_000, longest: 60_000) } == [1, 2, 4, 8, 16, 32, 60, 60, 60].map { $0 * 1_000 })
        #expect(table.pause(two, first: 1_000, longest: 60_000) == 1_000)
        table.started(one)
        #expect(table.pause(one, first: 1_000, longest: 60_000) == 1_000)
    }
}
