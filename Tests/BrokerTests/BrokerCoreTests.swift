import Broker
import Encodings
import QueueSimulation
import TaskProtocol
import Testing

@Suite struct BrokerCoreTests {
    private func code(_ reply: Node?) -> String? { reply?["error"]?["code"]?.stringValue }

    @Test("before the first beat nothing is served but ping")
    func unready() {
        var core = BrokerCore(id: UUIDValue(hi: 1, lo: 1), random: IdentitySource(seed: 1))
        var actions: [BrokerAction] = []
        core.handle(.clientMessage([[9], Array(#"{"op":"models"}"#.utf8)]), now: 0, into: &actions)
        guard case .reply(_, let payload, _)? = actions.first else { return #expect(Bool(false), "no answer") }
        #expect(String(decoding: payload, as: UTF8.self).contains("unavailable"))
        #expect(!core.isReady)
    }

    @Test("a task published while a slot is free is leased as it is inserted")
    func claimAtInsert() {
        var bench = CoreBench()
        bench.joinWorker()
        #expect(bench.told.contains { if case .welcome = $0 { true } else { false } })
        bench.submit()
        #expect(bench.grants.count == 1)
        #expect(bench.store.tasks.values.first?.attempt == 1)
    }

    @Test("a task that is leased as it is inserted goes to a worker that has its model in memory")
    func modelAffinity() throws {
        var bench = CoreBench()
        bench.joinWorker()
        bench.submit()
        // The store's model pins every name to this digest; the second worker has more room, but would have to load it.
        let digest = String(repeating: "1", count: 64)
        bench.beat(free: 2, models: [digest])
        let other = UUIDValue(hi: 6, lo: 6)
        bench.feed(
            .workerMessage(
                from: [8],
                .register(
                    WorkerRegistration(
                        session: other, host: "h", pid: 2, version: "1", numerics: [], instructionSet: "plain", threads: 1, slots: 16, parameters: [])
                )))
        bench.submit()
        #expect(bench.store.tasks.values.map(\.session) == [bench.session, bench.session])
    }

    @Test("submits gather while one transaction is under way, and each is answered")
    func groupCommit() {
        var bench = CoreBench()
        bench.holds = true
        for _ in 0..<5 { bench.submit() }
        #expect(bench.held.count == 1)
        let (ticket, first) = bench.held.removeFirst()
        bench.answer(ticket, first)
        guard case .submit(let groups)? = bench.held.first?.request else { return #expect(Bool(false), "no second batch") }
        #expect(groups.count == 4)
        bench.release()
        #expect(bench.replies.count == 5)
        #expect(bench.store.tasks.count == 5)
    }

    @Test("a submit whose outcome is unknown is sent again with the same ids and answered only then; later ones are refused at once")
    func unknownOutcome() {
        var bench = CoreBench()
        bench.holds = true
        bench.submit()
        let (ticket, request) = bench.held.removeFirst()
        _ = bench.store.perform(request, now: CoreBench.epoch)
        bench.feed(.storeReply(ticket: ticket, .failed(.unavailable("cut"))))
        #expect(bench.replies.isEmpty)
        #expect(code(bench.submit()) == "unavailable")
        bench.now += 300
        bench.feed(.tick)
        #expect(bench.held.contains { $0.request == request })
        bench.release()
        #expect(bench.replies.last?["ok"]?.boolValue == true)
        #expect(bench.store.tasks.count == 1)
    }

    @Test("a submit that never came to the store is refused at once, and what goes with it; one that may have is still sent until it is known")
    func unreached() {
        var bench = CoreBench()
        bench.holds = true
        bench.submit()
        bench.feed(.storeReply(ticket: bench.held.removeFirst().ticket, .failed(.unreached("cut"))))
        #expect(bench.replies.map { code($0) } == ["unavailable"])
        bench.pass(1_000)
        #expect(!bench.held.contains { if case .submit = $0.request { true } else { false } })
        bench.release()
        bench.pass(3_000)
        #expect(bench.store.tasks.isEmpty)

        bench.holds = true
        bench.submit()
        guard let first = bench.held.firstIndex(where: { if case .submit = $0.request { true } else { false } }) else {
            return #expect(Bool(false), "the store is back")
        }
        let (ticket, request) = bench.held.remove(at: first)
        bench.feed(.storeReply(ticket: ticket, .failed(.unavailable("cut"))))
        bench.now += 300
        bench.feed(.tick)
        guard let again = bench.held.firstIndex(where: { $0.request == request }) else { return #expect(Bool(false), "it was not sent again") }
        bench.feed(.storeReply(ticket: bench.held.remove(at: again).ticket, .failed(.unreached("cut"))))
        #expect(bench.replies.count == 1)
        bench.now += 300
        bench.feed(.tick)
        #expect(bench.held.contains { $0.request == request })
        bench.release()
        #expect(bench.replies.last?["ok"]?.boolValue == true)
        #expect(bench.store.tasks.count == 1)
    }

    @Test("of a batch that failed otherwise than for a lock some may be stored: none is refused because its piece did not come to the store")
    func unreachedPiece() throws {
        var bench = CoreBench()
        bench.holds = true
        for _ in 0..<3 { bench.submit() }
        let first = bench.held.removeFirst()
        bench.answer(first.ticket, first.request)
        let batch = try #require(bench.held.firstIndex { if case .submit(let groups) = $0.request { groups.count == 2 } else { false } })
        let (ticket, request) = bench.held.remove(at: batch)
        // Work by work: the first of them was stored.
        if case .submit(let groups) = request { _ = bench.store.perform(.submit([groups[0]]), now: CoreBench.epoch) }
        bench.feed(.storeReply(ticket: ticket, .failed(.internalError("the second"))))
        let piece = try #require(bench.held.firstIndex { if case .submit = $0.request { true } else { false } })
        bench.feed(.storeReply(ticket: bench.held.remove(at: piece).ticket, .failed(.unreached("cut"))))
        #expect(bench.replies.count == 1, "the outcome of neither is known")
        bench.release()
        bench.pass(3_000)
        #expect(bench.replies.count == 3 && bench.replies.allSatisfy { $0["ok"]?.boolValue == true })
        #expect(bench.store.tasks.count == 3)
    }

    @Test("a result that never came to the store is sent again until it is recorded")
    func unreachedResult() throws {
        var bench = CoreBench()
        bench.joinWorker()
        bench.submit()
        let grant = try #require(bench.grants.first)
        bench.holds = true
        bench.feed(.workerMessage(from: [7], .complete(grant.held, generations: [], result: nil, checkpoint: nil)))
        let sent = try #require(bench.held.last)
        bench.held = []
        bench.feed(.storeReply(ticket: sent.ticket, .failed(.unreached("cut"))))
        bench.now += 300
        bench.feed(.tick)
        #expect(bench.held.contains { $0.request == sent.request })
        bench.release()
        #expect(bench.store.tasks[grant.task]?.state == .succeeded)
    }

    @Test("a submit sent again that finds a lock held is not refused: the lock may be its own first sending's, whose commit nobody knows of")
    func unknownOutcomeBehindALock() {
        var bench = CoreBench()
        bench.holds = true
        bench.submit()
        let (ticket, request) = bench.held.removeFirst()
        bench.feed(.storeReply(ticket: ticket, .failed(.unavailable("cut"))))
        bench.now += 300
        bench.feed(.tick)
        let again = bench.held.firstIndex { $0.request == request }
        let (second, _) = bench.held.remove(at: again ?? 0)
        bench.feed(.storeReply(ticket: second, .submitted([.busy])))
        #expect(bench.replies.isEmpty)
        bench.now += 300
        bench.feed(.tick)
        #expect(bench.held.contains { $0.request == request })
        bench.release()
        #expect(bench.replies.last?["ok"]?.boolValue == true)
        #expect(bench.store.tasks.count == 1)
    }

    @Test("a database that says nothing is away after three seconds: new requests are refused, and served again once it speaks")
    func hungStore() {
        var bench = CoreBench()
        bench.pass(1_000)
        bench.holds = true
        bench.pass(2_000)
        bench.submit()
        #expect(bench.replies.isEmpty)
        bench.pass(3_000)
        #expect(code(bench.submit()) == "unavailable")
        #expect(bench.core.snapshot.isDatabaseAway)
        bench.release()
        #expect(!bench.core.snapshot.isDatabaseAway)
        // What was under way when it fell silent is answered now: it was never refused.
        #expect(bench.replies.filter { $0["ok"]?.boolValue == true }.count == 1)
        #expect(bench.store.tasks.count == 1)
    }

    @Test("a batch that fails for its data is repeated one by one, and only the guilty one is refused")
    func guilty() {
        var bench = CoreBench()
        bench.holds = true
        for _ in 0..<4 { bench.submit() }
        let (first, request) = bench.held.removeFirst()
        bench.answer(first, request)
        let (batch, _) = bench.held.removeFirst()
        bench.feed(.storeReply(ticket: batch, .failed(.internalError("drawn"))))
        let (single, _) = bench.held.removeFirst()
        bench.feed(.storeReply(ticket: single, .failed(.internalError("drawn"))))
        bench.release()
        #expect(bench.replies.filter { code($0) == "internal" }.count == 1)
        #expect(bench.store.tasks.count == 3)
    }

    @Test("an idle mark that its row has lost is written again")
    func lostIdleMark() {
        var bench = CoreBench()
        bench.joinWorker()
        bench.pass(5_000, heartbeats: true)
        #expect(bench.store.brokers[bench.core.id]?.isIdle == true)
        // Another broker took this one for dead.
        _ = bench.store.perform(.markIdle(broker: bench.core.id, idle: false), now: CoreBench.epoch + bench.now)
        bench.pass(5_000, heartbeats: true)
        #expect(bench.store.brokers[bench.core.id]?.isIdle == true)
    }

    @Test("a schedule's removal that is sent again, its first answer lost, does not say that there is none")
    func removedTwice() {
        var bench = CoreBench()
        bench.holds = true
        bench.ask(#""op":"unschedule","name":"nightly""#)
        let (first, request) = bench.held.removeFirst()
        bench.feed(.storeReply(ticket: first, .failed(.unavailable("cut"))))
        bench.now += 300
        bench.feed(.tick)
        guard let again = bench.held.firstIndex(where: { $0.request == request }) else { return #expect(Bool(false), "it was not sent again") }
        let (second, _) = bench.held.remove(at: again)
        bench.feed(.storeReply(ticket: second, .refused(ContractError(.notFound, "there is no schedule of this name", field: "name"))))
        #expect(bench.replies.last?["ok"]?.boolValue == true)
        // One that was never there is told as such.
        bench.ask(#""op":"unschedule","name":"weekly""#)
        let (third, _) = bench.held.removeLast()
        bench.feed(.storeReply(ticket: third, .refused(ContractError(.notFound, "there is no schedule of this name", field: "name"))))
        #expect(bench.replies.last.map { code($0) } == "not_found")
    }

    @Test("a wait that is over shows the task as it is then; one whose task has ended answers at once")
    func wait() throws {
        var bench = CoreBench()
        bench.submit()
        let id = try #require(bench.store.tasks.keys.first)
        #expect(bench.ask(#""op":"wait","task":"\#(id)","timeout_ms":500"#) == nil)
        bench.pass(600)
        #expect(bench.replies.last?["timed_out"]?.boolValue == true)
        bench.ask(#""op":"cancel","ids":["\#(id)"]"#)
        #expect(bench.ask(#""op":"wait","task":"\#(id)""#)?["task"]?["state"]?.stringValue == "cancelled")
        #expect(bench.core.snapshot.requestsInFlight == 0)
    }

    @Test("a watch shows the status, then every event up to the end, numbered without a gap")
    func watch() throws {
        var bench = CoreBench()
        bench.joinWorker()
        bench.submit()
        let grant = try #require(bench.grants.first)
        bench.ask(#""op":"watch","task":"\#(grant.task)""#)
        bench.replies = []
        bench.feed(.workerMessage(from: [7], .started(grant.held)))
        let tokens = (0..<3).map { WorkerEvent.token(sample: 0, draw: 0, index: $0, tokenID: $0, text: "a") }
        bench.feed(.workerMessage(from: [7], .event(grant.held, events: tokens)))
        bench.feed(.workerMessage(from: [7], .complete(grant.held, generations: [], result: nil, checkpoint: nil)))
        #expect(bench.replies.compactMap { $0["event"]?["event"]?.stringValue } == ["started", "token", "token", "token", "succeeded"])
        #expect(bench.replies.compactMap { $0["event"]?["seq"]?.integerValue } == [0, 1, 2, 3, 4])
        #expect(bench.core.snapshot.waitsAndWatches == 0)
    }

    @Test("a watch that comes with its submit misses nothing that happens while the task is stored")
    func submitWatch() throws {
        var bench = CoreBench()
        bench.holds = true
        bench.ask(#""op":"submit","watch":true,"task":{"kind":"generate","params":{"model":"demo"}}"#)
        guard case .submit(let groups)? = bench.held.first?.request, let task = groups.first?.items.first?.id else {
            return #expect(Bool(false), "no submit")
        }
        // Another broker has found the task and begun before this one hears of its own commit.
        let started = TaskEvent(task: task, attempt: 1, sequence: 0, at: 5, body: .started(worker: nil))
        bench.watchForeign(started)
        bench.release()
        #expect(bench.replies.first?["tasks"] != nil)
        #expect(bench.replies.dropFirst().compactMap { $0["event"]?["event"]?.stringValue } == ["queued", "started"])
    }

    @Test("a watch that comes with a refused submit leaves nothing behind, and one in a drain is ended")
    func refusedSubmitWatch() {
        var bench = CoreBench()
        let refused = bench.ask(#""op":"submit","watch":true,"task":{"kind":"generate","params":{"model":"nobody"}}"#)
        #expect(code(refused) == "not_found")
        #expect(bench.core.snapshot.waitsAndWatches == 0)
        bench.holds = true
        bench.ask(#""op":"submit","watch":true,"task":{"kind":"generate","params":{"model":"demo"}}"#)
        bench.feed(.drain)
        bench.release()
        #expect(bench.replies.contains { $0["tasks"] != nil && $0["ok"]?.boolValue == true })
        #expect(code(bench.replies.last) == "unavailable")
        #expect(bench.core.snapshot.waitsAndWatches == 0)
        #expect(bench.core.snapshot.requestsInFlight == 0)
    }

    @Test("a task that is cancelled before it ran has its events numbered from 0")
    func cancelledWhileQueued() throws {
        var bench = CoreBench()
        bench.ask(#""op":"submit","watch":true,"task":{"kind":"generate","params":{"model":"demo"}}"#)
        let id = try #require(bench.store.tasks.keys.first)
        bench.ask(#""op":"cancel","ids":["\#(id)"]"#)
        #expect(bench.replies.compactMap { $0["event"]?["seq"]?.integerValue } == [0, 1])
        #expect(bench.replies.compactMap { $0["event"]?["event"]?.stringValue } == ["queued", "cancelled"])
    }

    @Test("too many requests of one client are refused as busy, and nothing of them is stored")
    func busy() {
        var settings = BrokerSettings()
        settings.requestsPerClient = 3
        var bench = CoreBench(settings: settings)
        bench.holds = true
        for _ in 0..<3 { bench.submit() }
        #expect(code(bench.submit()) == "busy")
        #expect(bench.ask(#""op":"ping""#)?["ok"]?.boolValue == true)
        bench.release()
        #expect(bench.store.tasks.count == 3)
        #expect(bench.core.snapshot.requestsInFlight == 0)
    }

    @Test("a task published in SQL is checked, pinned and run, or ends with the error that a client would get")
    func published() {
        var bench = CoreBench()
        bench.joinWorker()
        for (number, params) in [#"{"model":"demo"}"#, #"{"model":"demo","top_p":9}"#].enumerated() {
            let publication = ModelStore.Publication(params: Array(params.utf8))
            bench.store.publish(publication, id: UUIDValue(hi: 1, lo: UInt64(number) + 1), now: CoreBench.epoch)
        }
        bench.feed(.notified)
        #expect(bench.grants.count == 1)
        #expect(bench.store.tasks[UUIDValue(hi: 1, lo: 2)]?.error?.field == "params.top_p")
    }

    @Test("a verify of texts that nobody stored is not found, one of a task's texts is granted with them and without a seed")
    func verify() throws {
        var bench = CoreBench()
        bench.joinWorker()
        let reply = bench.ask(#""op":"submit","task":{"kind":"verify","params":{"task":"01890000-0000-7000-8000-000000000001"}}"#)
        #expect(reply?["error"]?["code"]?.stringValue == "not_found" && reply?["error"]?["field"]?.stringValue == "task.params.task")
        bench.submit()
        let grant = try #require(bench.grants.last)
        let digest = String(repeating: "1", count: 64)
        let texts = (0..<2).map { sample in
            GenerationRecord(
                sample: sample, promptIndex: 0, draw: 0, prompt: "", text: "a text", promptTokenIDs: [0], tokenIDs: [1], finishReason: .eos,
                meanLogprob: -1, params: Array("{}".utf8), recordSHA256: digest, numerics: "float32/1", checkpointSHA256: digest,
                tokenizerSHA256: digest)
        }
        bench.feed(.workerMessage(from: [7], .complete(grant.held, generations: texts, result: nil, checkpoint: nil)))
        let accepted = bench.ask(#""op":"submit","task":{"kind":"verify","params":{"task":"\#(grant.task)"}}"#)
        #expect(accepted?["ok"]?.boolValue == true)
        let resolved = try ResolvedTask.decode(try #require(bench.grants.last).resolved)
        #expect(resolved.texts.count == 2 && resolved.kind == .verify && !resolved.seedAssigned)
    }
}
