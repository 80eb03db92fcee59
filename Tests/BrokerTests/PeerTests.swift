import Broker
import Encodings
import QueueSimulation
import TaskProtocol
import Testing

@Suite struct PeerTests {
    private let other = UUIDValue(hi: 3, lo: 3)

    /// A second broker's row that beats with every one of this broker's beats, or stands still.
    private func addPeer(_ bench: inout CoreBench, id: BrokerID? = nil) {
        let registration = BrokerRegistration(
            id: id ?? other, host: "h", pid: 2, version: "1", endpoints: ["peers": "tcp://other:1", "workers": "tcp://other:2"], publicKey: nil)
        _ = bench.store.perform(.registerBroker(registration), now: CoreBench.epoch)
    }

    private func beat(_ bench: inout CoreBench) {
        _ = bench.store.perform(.beat(BeatRequest(broker: other, sessions: [])), now: CoreBench.epoch)
    }

    private func status(beatsOK: Bool = true, draining: Bool = false, from broker: BrokerID? = nil) -> PeerMessage {
        .status(
            PeerStatus(broker: broker ?? other, beatsOK: beatsOK, isDraining: draining, workersEndpoint: "tcp://other:2", publicKey: nil))
    }

    @Test("a broker links to those whose beats rise, and lets go of one that stands still or leaves")
    func links() {
        var bench = CoreBench()
        addPeer(&bench)
        bench.pass(2_000)
        #expect(bench.links[other] == [PeerMessage.brokerTopic])
        for _ in 0..<8 {
            beat(&bench)
            bench.pass(1_500)
        }
        #expect(bench.links[other] != nil)
        bench.pass(12_000)
        #expect(bench.links[other] == nil)
        beat(&bench)
        bench.pass(1_500)
        #expect(bench.links[other] != nil)
        _ = bench.store.perform(.endBroker(other), now: CoreBench.epoch)
        bench.pass(1_600)
        #expect(bench.links.isEmpty)
    }

    @Test("a link over which a live broker says nothing is made anew, as one whose key was refused never tries again by itself")
    func silentLink() {
        var bench = CoreBench()
        addPeer(&bench)
        bench.pass(2_000)
        bench.linksOpened = 0
        for turn in 0..<24 {
            beat(&bench)
            if turn >= 12 { bench.feed(.peerMessage(over: other, status())) }
            bench.pass(1_500)
        }
        #expect(bench.linksOpened == 1)
    }

    @Test("the events of a task that another broker leads reach whoever watches it here, and end with its end")
    func foreignEvents() throws {
        var bench = CoreBench()
        addPeer(&bench)
        bench.pass(2_000)
        bench.submit()
        let task = try #require(bench.store.tasks.keys.first)
        bench.ask(#""op":"watch","task":"\#(task)""#)
        let topic = Array("task.\(task)".utf8)
        #expect(bench.links[other]?.contains(topic) == true)
        bench.replies = []
        func event(_ sequence: Int64, _ body: TaskEvent.Body) -> PeerMessage {
            let event = TaskEvent(task: task, attempt: 1, sequence: sequence, at: 5, body: body)
            return .event(event, json: event.json)
        }
        bench.feed(.peerMessage(over: other, status()))
        bench.feed(.peerMessage(over: other, event(0, .started(worker: nil))))
        bench.feed(.peerMessage(over: other, event(1, .token(sample: 0, draw: 0, index: 0, tokenID: 4, text: "a"))))
        bench.feed(.peerMessage(over: other, event(2, .succeeded)))
        #expect(bench.replies.compactMap { $0["event"]?["event"]?.stringValue } == ["started", "token", "succeeded"])
        #expect(bench.replies.compactMap { $0["event"]?["seq"]?.integerValue } == [0, 1, 2])
        #expect(bench.links[other]?.contains(topic) == false)
        #expect(bench.core.snapshot.waitsAndWatches == 0)
    }

    @Test("what comes from somebody else at a peer's address is not believed")
    func mistaken() throws {
        var bench = CoreBench()
        addPeer(&bench)
        bench.pass(2_000)
        bench.submit()
        let task = try #require(bench.store.tasks.keys.first)
        bench.ask(#""op":"watch","task":"\#(task)""#)
        bench.replies = []
        bench.feed(.peerMessage(over: other, status(from: bench.core.id)))
        let event = TaskEvent(task: task, attempt: 1, sequence: 0, at: 5, body: .succeeded)
        bench.feed(.peerMessage(over: other, .event(event, json: event.json)))
        #expect(bench.replies.isEmpty)
    }

    @Test("events are published for other brokers only where one of them wants them")
    func publishing() throws {
        var bench = CoreBench()
        addPeer(&bench)
        bench.pass(2_000)
        bench.joinWorker()
        bench.submit()
        #expect(!bench.saidToPeers.contains { if case .event = $0 { true } else { false } })
        let grant = try #require(bench.grants.first)
        bench.feed(.peerSubscription(prefix: Array("task.\(grant.task)".utf8), isAdded: true))
        bench.feed(.workerMessage(from: [7], .started(grant.held)))
        #expect(bench.saidToPeers.contains { if case .event(let event, _) = $0 { event.name == "started" } else { false } })
        #expect(bench.published.isEmpty)
    }

    @Test("work that nobody here has room for wakes the others, once in a while; a wake-up leads to a look")
    func wake() {
        var bench = CoreBench()
        addPeer(&bench)
        bench.pass(2_000)
        func wakes() -> Int { bench.saidToPeers.count { if case .wake = $0 { true } else { false } } }
        for _ in 0..<10 { bench.submit() }
        #expect(wakes() == 1)
        bench.pass(100)
        #expect(wakes() == 2)
        bench.pass(3_000)
        #expect(wakes() == 2)
        bench.holds = true
        bench.feed(.peerMessage(over: other, .wake(other)))
        #expect(bench.held.contains { $0.request == .dueSweep() })
    }

    @Test("a broker cut from the database sends its workers to one that is not, and keeps them where there is none")
    func refuge() {
        var bench = CoreBench()
        addPeer(&bench)
        bench.pass(2_000)
        bench.joinWorker()
        bench.holds = true
        bench.told = []
        bench.feed(.peerMessage(over: other, status(beatsOK: false)))
        bench.pass(5_000, heartbeats: true)
        #expect(bench.told.contains(.heartbeat(beatsOK: false)))
        #expect(!bench.told.contains { if case .leave = $0 { true } else { false } })
        bench.feed(.peerMessage(over: other, status()))
        bench.pass(1_100, heartbeats: true)
        #expect(bench.told.contains(.leave(peers: [BrokerAddress(endpoint: "tcp://other:2")])))
    }

    @Test("workers are told of the other brokers as they join, and of one that is heard of later, once")
    func namesPeers() {
        var bench = CoreBench()
        addPeer(&bench)
        bench.pass(2_000)
        func named() -> [[String]] {
            bench.told.compactMap { if case .welcome(_, _, let peers) = $0 { peers.map(\.endpoint) } else { nil } }
        }
        bench.joinWorker()
        #expect(named() == [[]])
        bench.feed(.peerMessage(over: other, status(beatsOK: false)))
        bench.feed(.peerMessage(over: other, status(draining: true)))
        #expect(named() == [[]], "neither would take it")
        for _ in 0..<3 { bench.feed(.peerMessage(over: other, status())) }
        #expect(named() == [[], ["tcp://other:2"]])
        bench.joinWorker(session: UUIDValue(hi: 6, lo: 6), address: [8])
        #expect(named() == [[], ["tcp://other:2"], ["tcp://other:2"]])
    }

    @Test("a broker that leaves sends its workers on")
    func drain() {
        var bench = CoreBench()
        addPeer(&bench)
        bench.pass(2_000)
        bench.joinWorker()
        bench.feed(.peerMessage(over: other, status()))
        bench.feed(.drain)
        #expect(bench.told.contains(.leave(peers: [BrokerAddress(endpoint: "tcp://other:2")])))
        #expect(bench.saidToPeers.contains { if case .status(let status) = $0 { status.isDraining } else { false } })
    }

    @Test("messages between brokers come back as they were sent, and garbage is refused")
    func coding() throws {
        let event = TaskEvent(
            task: UUIDValue(hi: 1, lo: 2), attempt: 3, sequence: 4, at: 5_000, body: .token(sample: 1, draw: 0, index: 2, tokenID: 3, text: "x"))
        for message in [status(), .wake(other), .event(event, json: event.json)] {
            let topic = if case .event(let event, _) = message { Array(event.topic.utf8) } else { PeerMessage.brokerTopic }
            #expect(try PeerMessage.decode(topic: topic, payload: message.payload) == message)
        }
        for (topic, payload) in [("broker", "{}"), ("broker", ""), ("task.x", "{}"), ("task.\(other)", String(decoding: event.json, as: UTF8.self))] {
            #expect(throws: WorkerProtocolError.self) { try PeerMessage.decode(topic: Array(topic.utf8), payload: Array(payload.utf8)) }
        }
    }

    @Test(
        "a broker that drains before it has heard of the others waits for one to say that it takes its workers, but not for ever",
        arguments: [true, false])
    func drainBeforeRefuge(isHeard: Bool) {
        var bench = CoreBench()
        bench.joinWorker()
        addPeer(&bench)
        bench.pass(1_600)
        bench.told = []
        bench.feed(.drain)
        bench.pass(1_000)
        #expect(!bench.isDrained && bench.told.allSatisfy { if case .leave = $0 { false } else { true } })
        if isHeard { bench.feed(.peerMessage(over: other, status())) }
        bench.pass(1_100)
        let wasSentAway = bench.told.contains { if case .leave(let peers) = $0 { peers.map(\.endpoint) == ["tcp://other:2"] } else { false } }
        #expect(wasSentAway == isHeard && bench.isDrained == isHeard)
        bench.pass(2_000)
        #expect(bench.isDrained)
    }

    @Test("a broker that is alone drains at once") func drainAlone() {
        var bench = CoreBench()
        bench.joinWorker()
        bench.feed(.drain)
        bench.pass(300)
        #expect(bench.isDrained)
    }
}

/// What workers and their broker believe of leases, where messages between them were lost.
@Suite struct LeaseAgreementTests {
    private func register(_ bench: inout CoreBench, _ leases: [WorkerLease]) {
        bench.feed(
            .workerMessage(
                from: [7],
                .register(
                    WorkerRegistration(
                        session: bench.session, host: "h", pid: 1, version: "1", numerics: [], instructionSet: "plain", threads: 1, slots: 4,
                        parameters: [], leases: leases))))
    }

    @Test("a worker that stays joined and did not hear that its lease lapsed is told so when it lists its leases")
    func lostStale() throws {
        var bench = CoreBench()
        bench.joinWorker()
        bench.submit()
        let grant = try #require(bench.grants.first)
        bench.feed(.workerMessage(from: [7], .confirm(session: bench.session, lease: grant.lease)))
        bench.feed(.workerMessage(from: [7], .started(grant.held)))
        bench.pass(63_000, heartbeats: true)
        #expect(bench.store.tasks[grant.task]?.failures == 1)
        bench.told = []
        register(&bench, [grant.held])
        #expect(bench.told.contains(.stale(lease: grant.lease)))
    }

    @Test("a lease that its worker does not know any more is given back, uncounted")
    func forgotten() throws {
        var bench = CoreBench()
        bench.joinWorker()
        bench.submit()
        let grant = try #require(bench.grants.first)
        bench.feed(.workerMessage(from: [7], .confirm(session: bench.session, lease: grant.lease)))
        bench.feed(.workerMessage(from: [7], .started(grant.held)))
        bench.pass(100)
        register(&bench, [])
        bench.pass(3_500, heartbeats: true)
        #expect(bench.store.tasks[grant.task]?.endings[grant.lease] == "released")
        #expect(bench.store.tasks[grant.task]?.failures == 0)
    }

    @Test("a lease that its worker lists stays, also where it registers again")
    func kept() throws {
        var bench = CoreBench()
        bench.joinWorker()
        bench.submit()
        let grant = try #require(bench.grants.first)
        bench.feed(.workerMessage(from: [7], .confirm(session: bench.session, lease: grant.lease)))
        bench.pass(100)
        register(&bench, [grant.held])
        bench.pass(5_000, heartbeats: true)
        #expect(bench.store.tasks[grant.task]?.state == .running)
        #expect(bench.store.tasks[grant.task]?.attempt == 1)
    }
}
