import Broker
import Encodings
import QueueSimulation
import TaskProtocol
import Testing

/// Granted, confirmed, run, recorded, lapsed: what a broker makes of the leases of its workers.
@Suite struct LeaseLifeTests {
    @Test("a grant that is not confirmed is sent again after a second and given back after three, uncounted")
    func lostGrant() {
        var bench = CoreBench()
        bench.joinWorker()
        bench.submit()
        bench.pass(1_500, heartbeats: true)
        #expect(bench.grants.count == 2)
        bench.pass(2_000, heartbeats: true)
        let task = bench.store.tasks.values.first
        #expect(task?.endings.values.contains("released") == true)
        #expect(task?.failures == 0)
        #expect(Set(bench.grants.map(\.lease)).count == 2)
    }

    @Test("a worker that gives a task back because it leaves gets neither that nor another, though no heartbeat has said so yet")
    func leavingWorker() throws {
        var bench = CoreBench()
        bench.joinWorker()
        bench.submit()
        let grant = try #require(bench.grants.first)
        bench.feed(.workerMessage(from: [7], .release(grant.held, reason: .draining, ran: false, resume: nil)))
        bench.submit()
        bench.pass(500)
        #expect(bench.grants.count == 1)
        #expect(bench.store.tasks.values.map(\.attempt).sorted() == [0, 1])
    }

    @Test("a worker that has fallen silent gets nothing new, and what it never confirmed is not lost with it")
    func quietWorker() {
        var bench = CoreBench()
        bench.joinWorker()
        bench.submit()
        bench.pass(2_600)
        bench.submit()
        #expect(bench.store.tasks.values.map(\.attempt).sorted() == [0, 1])
        bench.pass(12_000)
        #expect(bench.store.sessions.isEmpty)
        #expect(bench.store.tasks.values.allSatisfy { $0.losses == 0 && $0.failures == 0 && $0.state == .queued })
    }

    @Test("a lease whose claim was answered to nobody comes to light within seconds, also where it was made late", arguments: [0, 6_000] as [Int64])
    func hiddenLease(delay: Int64) throws {
        var bench = CoreBench()
        bench.submit()
        bench.pass(500)
        bench.holds = true
        bench.joinWorker()
        // Everything is answered but the claim, whose connection breaks.
        var claim: StoreRequest?
        for _ in 0..<20 where claim == nil {
            let held = bench.held
            bench.held = []
            for (ticket, request) in held {
                if case .claim = request {
                    claim = request
                    bench.feed(.storeReply(ticket: ticket, .failed(.unavailable("cut"))))
                } else {
                    bench.answer(ticket, request)
                }
            }
        }
        let lost = try #require(claim)
        bench.held = []
        bench.now += delay
        _ = bench.store.perform(lost, now: CoreBench.epoch + bench.now)
        bench.release()
        bench.pass(3_000, heartbeats: true)
        #expect(bench.grants.count >= 1)
        #expect(bench.store.tasks.values.first?.attempt == 1)
    }

    @Test("a lease that is made, and confirmed, while the store's leases are being read is not taken for one that ended")
    func leaseDuringReconciliation() throws {
        var bench = CoreBench()
        bench.joinWorker()
        bench.pass(9_000, heartbeats: true)
        bench.holds = true
        var reading: (ticket: Int, request: StoreRequest)?
        for _ in 0..<40 where reading == nil {
            bench.pass(50, heartbeats: true)
            let held = bench.held
            bench.held = []
            for (ticket, request) in held {
                if case .leases = request { reading = (ticket, request) } else { bench.answer(ticket, request) }
            }
        }
        let (ticket, request) = try #require(reading)
        let picture = bench.store.perform(request, now: CoreBench.epoch + bench.now)
        bench.release()
        bench.pass(50)
        bench.submit()
        let grant = try #require(bench.grants.first)
        bench.pass(50)
        bench.feed(.workerMessage(from: [7], .confirm(session: bench.session, lease: grant.lease)))
        bench.feed(.storeReply(ticket: ticket, picture))
        #expect(!bench.told.contains(.stale(lease: grant.lease)))
        bench.feed(.workerMessage(from: [7], .complete(grant.held, generations: [], result: nil, checkpoint: nil)))
        #expect(bench.told.contains(.recorded(lease: grant.lease)) && bench.store.tasks[grant.task]?.attempt == 1)
    }

    @Test("a completion is recorded once, however often it is said, and a late one is stale")
    func completion() throws {
        var bench = CoreBench()
        bench.joinWorker()
        bench.submit()
        let grant = try #require(bench.grants.first)
        bench.holds = true
        for _ in 0..<3 { bench.feed(.workerMessage(from: [7], .complete(grant.held, generations: [], result: nil, checkpoint: nil))) }
        #expect(bench.held.filter { if case .complete = $0.request { true } else { false } }.count == 1)
        bench.release()
        #expect(bench.told.contains(.recorded(lease: grant.lease)))
        bench.told = []
        bench.feed(.workerMessage(from: [7], .complete(grant.held, generations: [], result: nil, checkpoint: nil)))
        #expect(bench.told.contains(.recorded(lease: grant.lease)))
        var forged = grant.held
        forged.lease = UUIDValue(hi: 9, lo: 9)
        bench.feed(.workerMessage(from: [7], .complete(forged, generations: [], result: nil, checkpoint: nil)))
        #expect(bench.told.contains(.stale(lease: forged.lease)))
        #expect(bench.store.tasks[grant.task]?.recorded == 1)
    }

    @Test("a task that shows no life for a minute lapses, though its worker beats")
    func stall() throws {
        var bench = CoreBench()
        bench.joinWorker()
        bench.submit()
        let grant = try #require(bench.grants.first)
        bench.feed(.workerMessage(from: [7], .confirm(session: bench.session, lease: grant.lease)))
        bench.feed(.workerMessage(from: [7], .started(grant.held)))
        bench.pass(59_000, heartbeats: true)
        #expect(bench.store.tasks[grant.task]?.failures == 0)
        bench.pass(3_000, heartbeats: true)
        #expect(bench.store.tasks[grant.task]?.failures == 1)
        #expect(bench.store.tasks[grant.task]?.endings[grant.lease] == "timed_out")
    }

    @Test("an attempt that runs over timeout_s is ended by the broker three seconds later, once, though its worker beats and sends tokens")
    func timeout() throws {
        var bench = CoreBench()
        bench.joinWorker()
        bench.submit(#","timeout_s":5"#)
        let grant = try #require(bench.grants.first)
        bench.feed(.workerMessage(from: [7], .confirm(session: bench.session, lease: grant.lease)))
        bench.feed(.workerMessage(from: [7], .started(grant.held)))
        let token = WorkerMessage.event(grant.held, events: [.token(sample: 0, draw: 0, index: 0, tokenID: 1, text: "a")])
        for _ in 0..<15 {
            bench.pass(500, heartbeats: true)
            bench.feed(.workerMessage(from: [7], token))
        }
        #expect(bench.store.tasks[grant.task]?.endings[grant.lease] == nil, "its worker has three seconds to end it itself")
        // The end is on its way for a while: no other is begun meanwhile.
        bench.holds = true
        for _ in 0..<4 {
            bench.pass(500, heartbeats: true)
            bench.feed(.workerMessage(from: [7], token))
        }
        let ends = bench.held.compactMap { if case .fail(let failures) = $0.request { failures } else { nil } }.joined()
        #expect(ends.map(\.cause) == [.timedOut] && ends.allSatisfy { $0.error.code == .timedOut && !$0.final })
        bench.release()
        #expect(bench.told.contains(.stale(lease: grant.lease)))
        bench.feed(.workerMessage(from: [7], token))
        bench.pass(2_500, heartbeats: true)
        let task = bench.store.tasks[grant.task]
        #expect(task?.failures == 1 && task?.endings[grant.lease] == "timed_out" && task?.attempt == 2)
        #expect(bench.core.counters.lapsed == 1)
    }

    @Test("a finetune that is over timeout_s has two minutes to end its step and save its state") func finetuneTimeout() throws {
        var bench = CoreBench()
        bench.joinWorker(slots: 1)
        let params = #"{"config":"gpt2-cpu","dataset":{"text":"a b c"},"output":"o","tokenizer":{"train":{}}}"#
        bench.ask(#""op":"submit","task":{"kind":"finetune","timeout_s":5,"params":\#(params)}"#)
        let grant = try #require(bench.grants.first)
        bench.feed(.workerMessage(from: [7], .confirm(session: bench.session, lease: grant.lease)))
        bench.feed(.workerMessage(from: [7], .started(grant.held)))
        bench.pass(124_000, heartbeats: true)
        #expect(bench.store.tasks[grant.task]?.endings[grant.lease] == nil)
        bench.pass(3_000, heartbeats: true)
        #expect(bench.store.tasks[grant.task]?.endings[grant.lease] == "timed_out")
    }

    @Test("a finetune may show no progress for minutes; it lapses after ten")
    func finetuneStall() throws {
        var bench = CoreBench()
        bench.joinWorker(slots: 1)
        bench.finetune()
        let grant = try #require(bench.grants.first)
        bench.feed(.workerMessage(from: [7], .confirm(session: bench.session, lease: grant.lease)))
        bench.feed(.workerMessage(from: [7], .started(grant.held)))
        bench.pass(90_000, heartbeats: true)
        bench.feed(.workerMessage(from: [7], .progress(grant.held, WorkerProgress(phase: .training, done: 1, total: 9), steps: [])))
        bench.pass(599_000, heartbeats: true)
        #expect(bench.store.tasks[grant.task]?.failures == 0)
        bench.pass(2_000, heartbeats: true)
        #expect(bench.store.tasks[grant.task]?.failures == 1)
        #expect(bench.store.tasks[grant.task]?.endings[grant.lease] == "timed_out")
    }

    @Test("a task that its worker has and never starts lapses when nothing goes on there; while others show life it may wait")
    func hungEngine() throws {
        var bench = CoreBench()
        bench.joinWorker()
        bench.submit()
        bench.submit()
        let (first, second) = (try #require(bench.grants.first), try #require(bench.grants.last))
        for grant in [first, second] { bench.feed(.workerMessage(from: [7], .confirm(session: bench.session, lease: grant.lease))) }
        bench.feed(.workerMessage(from: [7], .started(first.held)))
        for _ in 0..<4 {
            bench.pass(40_000, heartbeats: true)
            bench.feed(.workerMessage(from: [7], .event(first.held, events: [.token(sample: 0, draw: 0, index: 0, tokenID: 1, text: "a")])))
        }
        #expect(bench.store.tasks.values.allSatisfy { $0.failures == 0 })
        bench.pass(62_000, heartbeats: true)
        #expect(bench.store.tasks[second.task]?.endings[second.lease] == "timed_out")
        #expect(bench.store.tasks[first.task]?.endings[first.lease] == "timed_out")
    }

    @Test("a silent worker's session is swept after five committed beats, and its task runs elsewhere")
    func sweep() throws {
        var bench = CoreBench()
        bench.joinWorker()
        bench.submit()
        let grant = try #require(bench.grants.first)
        bench.feed(.workerMessage(from: [7], .confirm(session: bench.session, lease: grant.lease)))
        bench.pass(5_500)
        #expect(bench.store.tasks[grant.task]?.state == .running)
        bench.pass(4_500)
        #expect(bench.store.tasks[grant.task]?.endings[grant.lease] == "lost")
        #expect(bench.store.sessions.isEmpty)
    }

    @Test("a running task that is cancelled is stopped by its worker; a queued one ends at once")
    func cancel() throws {
        var bench = CoreBench()
        let waiting = bench.submit()
        var id = ""
        waiting?["tasks"]?.forEachElement { id = $0["id"]?.stringValue ?? "" }
        bench.ask(#""op":"cancel","ids":["\#(id)"]"#)
        #expect(bench.store.tasks.values.first?.state == .cancelled)
        bench.joinWorker()
        bench.submit()
        let grant = try #require(bench.grants.first)
        bench.ask(#""op":"cancel","ids":["\#(grant.task)"]"#)
        #expect(bench.told.contains(.cancel(lease: grant.lease)))
        bench.feed(.workerMessage(from: [7], .cancelled(grant.held)))
        #expect(bench.store.tasks[grant.task]?.state == .cancelled)
        #expect(bench.told.contains(.recorded(lease: grant.lease)))
    }

    @Test(
        "a cancel that only the store knows of, as where it was asked for in SQL, reaches the worker with the next sweep, and with the next beat",
        arguments: [BrokerSettings().sweepInterval, BrokerSettings().beatInterval])
    func cancelInStore(within interval: Int64) throws {
        var bench = CoreBench()
        bench.joinWorker()
        bench.submit()
        let grant = try #require(bench.grants.first)
        bench.feed(.workerMessage(from: [7], .confirm(session: bench.session, lease: grant.lease)))
        bench.feed(.workerMessage(from: [7], .started(grant.held)))
        bench.pass(2_000, heartbeats: true)
        _ = bench.store.perform(.cancel([grant.task]), now: CoreBench.epoch + bench.now)
        // Of the two that tell of it one is not answered.
        let isSwept = interval == BrokerSettings().sweepInterval
        bench.holds = true
        let end = bench.now + interval
        while bench.now < end {
            bench.pass(50, heartbeats: true)
            let held = bench.held
            bench.held = []
            for (ticket, request) in held {
                switch request {
                case .beat where isSwept, .dueSweep where !isSwept: bench.held.append((ticket, request))
                default: bench.answer(ticket, request)
                }
            }
        }
        #expect(bench.told.contains(.cancel(lease: grant.lease)))
        bench.release()
        bench.feed(.workerMessage(from: [7], .cancelled(grant.held)))
        #expect(bench.store.tasks[grant.task]?.state == .cancelled)
    }
}
