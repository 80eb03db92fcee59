import Broker
import QueueSimulation
import TaskProtocol
import Testing

/// A worker goes to another broker, and this one, cut off from the database or standing still, hears of it late.
@Suite("Epochs of sessions") struct EpochTests {
    private static let other = UUIDValue(hi: 3, lo: 3)

    /// The worker joins another broker: so it stands in the database.
    private func moveAway(_ bench: inout CoreBench, epoch: Int = 2, key: String? = nil) {
        let registration = SessionRegistration(
            session: bench.session, broker: Self.other, host: "h", pid: 1, version: "1", numerics: [], instructionSet: "plain", threads: 1, slots: 4,
            epoch: epoch, publicKey: key)
        #expect(bench.store.perform(.registerSession(registration), now: CoreBench.epoch + bench.now) == .done)
    }

    /// A worker with a task, whose broker is about to give the task back or to end it, and has not reached the database with it.
    private func deciding(confirmed: Bool) throws -> (bench: CoreBench, grant: WorkerGrant) {
        var bench = CoreBench()
        bench.joinWorker(epoch: 1)
        bench.submit()
        let grant = try #require(bench.grants.first)
        if confirmed {
            bench.feed(.workerMessage(from: [7], .confirm(session: bench.session, lease: grant.lease)))
            bench.feed(.workerMessage(from: [7], .started(grant.held)))
            bench.pass(59_000, heartbeats: true)
        }
        bench.holds = true
        bench.pass(3_500, heartbeats: true)
        let decisions = bench.held.filter {
            switch $0.request {
            case .release(let releases): releases.map(\.epoch) == [1]
            case .fail(let failures): failures.map(\.epoch) == [1]
            default: false
            }
        }
        #expect(decisions.count == 1)
        return (bench, grant)
    }

    @Test(
        "what it decides over a lease is not done to a worker that has joined another, and nobody is told that the lease is lost",
        arguments: [false, true])
    func decision(confirmed: Bool) throws {
        var (bench, grant) = try deciding(confirmed: confirmed)
        moveAway(&bench)
        bench.told = []
        bench.release()
        let task = try #require(bench.store.tasks[grant.task])
        #expect(task.lease == grant.lease && task.state == .running && task.attempt == 1 && task.failures == 0)
        #expect(!bench.told.contains(.stale(lease: grant.lease)))
        #expect(bench.notes.contains { if case .workerLeft(bench.session, _) = $0 { true } else { false } })
        // What it still says here it is to say anew, and then all is as before.
        bench.told = []
        bench.heartbeat(9)
        #expect(bench.told == [.registerPlease])
        bench.joinWorker(leases: [grant.held], epoch: 3)
        bench.feed(.workerMessage(from: [7], .complete(grant.held, generations: [], result: nil, checkpoint: nil)))
        #expect(bench.told.contains(.recorded(lease: grant.lease)) && bench.store.tasks[grant.task]?.state == .succeeded)
    }

    @Test("the same decision counts where the worker stays; where it has been away and come back it is made anew", arguments: [1, 3])
    func staying(epoch: Int) throws {
        var (bench, grant) = try deciding(confirmed: false)
        if epoch > 1 {
            moveAway(&bench)
            bench.joinWorker(leases: [], epoch: epoch)
        }
        bench.release()
        #expect((bench.store.tasks[grant.task]?.endings[grant.lease] == nil) == (epoch > 1))
        bench.pass(4_000, heartbeats: true)
        #expect(bench.store.tasks[grant.task]?.endings[grant.lease] == "released")
    }

    @Test("where it has been away and come back with its task, nothing that was thought of it before is done to it", arguments: [false, true])
    func backWithItsTask(confirmed: Bool) throws {
        var (bench, grant) = try deciding(confirmed: confirmed)
        moveAway(&bench)
        // Its word that it is back comes first, and reaches the store last.
        bench.joinWorker(leases: [grant.held], epoch: 3)
        let held = bench.held
        bench.held = []
        for (ticket, request) in held { bench.answer(ticket, request) }
        bench.pass(300)
        bench.release()
        // It goes on with its task, and says nothing of it for as long as it may.
        for _ in 0..<25 {
            bench.pass(1_000)
            bench.beat(free: 3, models: [])
        }
        let task = try #require(bench.store.tasks[grant.task])
        #expect(task.lease == grant.lease && task.attempt == 1 && task.failures == 0 && task.endings.isEmpty)
        #expect(bench.store.sessions[bench.session]?.epoch == 3)
        #expect(bench.core.snapshot.leases == 1)
        bench.feed(.workerMessage(from: [7], .complete(grant.held, generations: [], result: nil, checkpoint: nil)))
        #expect(bench.told.contains(.recorded(lease: grant.lease)) && bench.core.snapshot.leases == 0)
    }

    @Test("what the database does not take of a worker that has left meanwhile leaves no lease behind here", arguments: [false, true])
    func leftMeanwhile(comesBack: Bool) throws {
        var (bench, grant) = try deciding(confirmed: false)
        bench.pass(11_000)
        let decision = try #require(bench.held.first { if case .release = $0.request { true } else { false } })
        bench.held.removeAll { $0.ticket == decision.ticket }
        bench.release()
        bench.pass(500)
        #expect(bench.core.snapshot.leases == 1)
        if comesBack { bench.joinWorker(leases: [grant.held], epoch: 3) }
        bench.told = []
        bench.feed(.storeReply(ticket: decision.ticket, comesBack ? .settled([SettlementReply(settlement: .fenced)]) : .failed(.unfit("an index"))))
        bench.pass(1_500)
        #expect(bench.core.snapshot.leases == (comesBack ? 1 : 0))
        guard comesBack else { return }
        #expect(!bench.told.contains(.stale(lease: grant.lease)))
        // Both sides hold the same: a heartbeat that says so is not answered with a request to say it anew.
        bench.feed(.workerMessage(from: [7], .confirm(session: bench.session, lease: grant.lease)))
        bench.told = [.grant(grant)]
        for _ in 0..<5 {
            bench.pass(1_000)
            bench.beat(free: 3, models: [])
        }
        #expect(!bench.told.contains(.registerPlease))
    }

    @Test("of a worker that comes and goes while the database is slow one word waits, the last; what others say waits no longer for it")
    func comesAndGoes() throws {
        var bench = CoreBench()
        bench.pass(2_000)
        bench.holds = true
        for epoch in 1...20 { bench.joinWorker(epoch: epoch) }
        bench.joinWorker(session: UUIDValue(hi: 6, lo: 6), address: [8], epoch: 1)
        var registrations: [Int] = []
        var others = 0
        while !bench.held.isEmpty {
            let held = bench.held
            bench.held = []
            for (ticket, request) in held {
                if case .registerSession(let registration) = request {
                    if registration.session == bench.session { registrations.append(registration.epoch) } else { others += 1 }
                }
                bench.answer(ticket, request)
            }
        }
        #expect(registrations == [1, 20] && others == 1)
        #expect(bench.told.count { if case .welcome = $0 { true } else { false } } == 2)
    }

    @Test("a worker whose word meets a lock holds up nobody else's, and is welcome when it says it again")
    func wordMeetsALock() throws {
        var bench = CoreBench()
        bench.pass(2_000)
        bench.holds = true
        bench.joinWorker(epoch: 2)
        bench.joinWorker(session: UUIDValue(hi: 6, lo: 6), address: [8], epoch: 1)
        let first = try #require(bench.held.first { if case .registerSession = $0.request { true } else { false } })
        bench.held.removeAll { $0.ticket == first.ticket }
        bench.feed(.storeReply(ticket: first.ticket, .failed(.busy)))
        bench.toldTo = []
        bench.release()
        #expect(bench.toldTo == [[8]])
        bench.joinWorker(epoch: 2)
        #expect(bench.toldTo == [[7], [8]])
    }

    @Test("a worker whose word comes after it has joined another is not welcome, and gets nothing")
    func lateRegistration() throws {
        var bench = CoreBench()
        bench.submit()
        bench.holds = true
        bench.joinWorker(epoch: 1)
        moveAway(&bench)
        bench.told = []
        bench.release()
        #expect(bench.told.isEmpty)
        bench.pass(3_000)
        #expect(bench.grants.isEmpty && bench.store.sessions[bench.session]?.broker == Self.other)
    }

    @Test("what a worker said before it went and came back changes nothing where it is now")
    func earlierWord() throws {
        var bench = CoreBench()
        bench.joinWorker(address: [8], epoch: 3)
        bench.told = []
        bench.joinWorker(address: [7], epoch: 1)
        bench.pass(500)
        bench.toldTo = []
        bench.submit()
        #expect(bench.grants.count == 1 && bench.toldTo == [[8]])
    }

    @Test("a worker does not carry another's session away, here or from another broker, nor what is left of it when it has ended")
    func foreignSession() throws {
        var bench = CoreBench()
        bench.joinWorker(address: [8], key: "owner", epoch: 3)
        bench.told = []
        bench.toldTo = []
        bench.joinWorker(address: [7], key: "another", epoch: 1 << 53)
        #expect(bench.told.isEmpty && bench.notes.contains { if case .unknownAnswer = $0 { true } else { false } })
        bench.submit()
        #expect(bench.toldTo == [[8]])
        // It does not speak for it either.
        let lease = try #require(bench.grants.first)
        bench.feed(.workerMessage(from: [7], key: "another", .confirm(session: bench.session, lease: lease.lease)))
        bench.feed(.workerMessage(from: [7], key: "another", .started(lease.held)))
        bench.feed(.workerMessage(from: [7], key: "another", .failed(lease.held, error: ContractError(.modelError, "no"), final: true)))
        bench.feed(.workerMessage(from: [7], key: "another", .goodbye(session: bench.session)))
        bench.feed(.workerMessage(from: [7], key: "another", .goodbye(session: UUIDValue(hi: 9, lo: 9))))
        #expect(bench.store.tasks[lease.task]?.lease == lease.lease && bench.store.sessions[bench.session]?.publicKey == "owner")
        bench.pass(900)
        #expect(bench.toldTo == [[8]])
        // Where this broker does not know the session any more, the database does.
        bench.pass(12_000)
        #expect(bench.store.sessions.isEmpty)
        bench.told = []
        bench.joinWorker(address: [7], key: "another", epoch: 1 << 53)
        #expect(bench.told.isEmpty)
        bench.joinWorker(address: [8], key: "owner", epoch: 4)
        #expect(bench.told.contains { if case .welcome = $0 { true } else { false } })
    }

    /// The session of a worker that holds a task elsewhere, whose id somebody has heard of.
    private func elsewhere() throws -> (bench: CoreBench, grant: WorkerGrant) {
        var bench = CoreBench()
        bench.joinWorker(address: [8], key: "owner", epoch: 1)
        bench.submit()
        let grant = try #require(bench.grants.first)
        moveAway(&bench, epoch: 2, key: "owner")
        // Silent for as long as a worker may be, it is not known here any more.
        for _ in 0..<12 {
            bench.pass(1_000)
            let beat = BeatRequest(broker: Self.other, sessions: [SessionBeat(session: bench.session, draining: false)])
            _ = bench.store.perform(.beat(beat), now: CoreBench.epoch + bench.now)
        }
        #expect(bench.core.snapshot.workers == 0 && bench.store.tasks[grant.task]?.lease == grant.lease)
        (bench.told, bench.toldTo, bench.holds) = ([], [], true)
        return (bench, grant)
    }

    @Test("who registers under another's session and says goodbye at once ends nothing")
    func foreignGoodbye() throws {
        var (bench, grant) = try elsewhere()
        for _ in 0..<3 {
            bench.joinWorker(address: [7], key: "another", epoch: 1 << 53)
            bench.feed(.workerMessage(from: [7], key: "another", .goodbye(session: bench.session)))
        }
        bench.release()
        bench.pass(3_000)
        #expect(bench.store.tasks[grant.task]?.lease == grant.lease && bench.store.sessions[bench.session]?.publicKey == "owner")
    }

    @Test("who registers under another's session over and over, each time anew before he is refused, hears nothing of what it holds")
    func foreignLeases() throws {
        var (bench, grant) = try elsewhere()
        var epoch = 1_000
        for _ in 0..<40 {
            bench.joinWorker(address: [7], key: "another", epoch: epoch)
            epoch += 1
            let held = bench.held
            bench.held = []
            for (ticket, request) in held { bench.answer(ticket, request) }
            bench.pass(100)
        }
        bench.release()
        bench.pass(3_000)
        #expect(bench.toldTo.isEmpty && bench.core.snapshot.leases == 0 && bench.core.snapshot.workers == 0)
        #expect(bench.store.tasks[grant.task]?.lease == grant.lease)
        // Confirmed by somebody else it is not confirmed.
        bench.joinWorker(address: [8], key: "owner", epoch: 3)
        bench.joinWorker(session: UUIDValue(hi: 6, lo: 6), address: [7], key: "another")
        bench.pass(300)
        #expect(bench.grants.map(\.lease) == [grant.lease] && bench.toldTo.contains([8]))
        bench.feed(.workerMessage(from: [7], key: "another", .confirm(session: UUIDValue(hi: 6, lo: 6), lease: grant.lease)))
        bench.pass(1_500)
        #expect(bench.grants.map(\.lease) == [grant.lease, grant.lease])
    }

    @Test("however often another key says the same words, the owner is welcome, and keeps its session", arguments: [2, 3])
    func foreignFlood(epoch: Int) throws {
        var (bench, grant) = try elsewhere()
        for _ in 0..<20 {
            bench.joinWorker(address: [7], key: "another", epoch: epoch)
            bench.joinWorker(address: [8], key: "owner", leases: [grant.held], epoch: 3)
            bench.joinWorker(address: [7], key: "another", epoch: epoch)
            let held = bench.held
            bench.held = []
            for (ticket, request) in held { bench.answer(ticket, request) }
        }
        bench.release()
        bench.joinWorker(address: [7], key: "another", epoch: epoch)
        bench.release()
        #expect(!bench.toldTo.contains([7]) && bench.told.contains { if case .welcome = $0 { true } else { false } })
        let row = bench.store.sessions[bench.session]
        #expect(row?.publicKey == "owner" && row?.epoch == 3 && bench.core.snapshot.leases == 1)
    }

    @Test("a word of another key that the database has not judged keeps nobody out, not even where the database is away")
    func unjudgedKey() {
        var bench = CoreBench()
        bench.pass(2_000)
        moveAway(&bench, key: "owner")
        bench.holds = true
        bench.joinWorker(address: [7], key: "another", epoch: 1 << 53)
        bench.joinWorker(address: [8], key: "owner", epoch: 3)
        bench.toldTo = []
        bench.release()
        #expect(bench.toldTo == [[8]])
        #expect(bench.store.sessions[bench.session]?.publicKey == "owner")
    }

    @Test("a worker that comes back while its earlier word is on its way is welcome once the later one stands")
    func cameBack() throws {
        var bench = CoreBench()
        bench.holds = true
        bench.joinWorker(epoch: 1)
        bench.joinWorker(address: [8], epoch: 3)
        // The first word is answered, and the leases that were asked for with it.
        for _ in 0..<2 {
            let held = bench.held
            bench.held = []
            for (ticket, request) in held { bench.answer(ticket, request) }
        }
        #expect(bench.store.sessions[bench.session]?.epoch == 1)
        #expect(!bench.told.contains { if case .welcome = $0 { true } else { false } })
        bench.release()
        #expect(bench.store.sessions[bench.session]?.epoch == 3)
        #expect(bench.told.contains { if case .welcome = $0 { true } else { false } })
    }

    @Test("what it listed with its later word is compared with what the database says behind that one, not behind the earlier")
    func cameBackWithItsTask() throws {
        var (bench, grant) = try elsewhere()
        bench.joinWorker(address: [7], key: "owner", leases: [grant.held], epoch: 3)
        bench.joinWorker(address: [8], key: "owner", leases: [grant.held], epoch: 5)
        for _ in 0..<2 {
            let held = bench.held
            bench.held = []
            for (ticket, request) in held { bench.answer(ticket, request) }
        }
        #expect(bench.store.sessions[bench.session]?.epoch == 3)
        #expect(bench.told.isEmpty && bench.core.snapshot.leases == 0)
        bench.release()
        bench.pass(1_500)
        #expect(bench.toldTo == [[8]] && bench.grants.isEmpty && bench.core.snapshot.leases == 1)
    }

    @Test(
        "where it cannot be registered, a worker that has said it waits hears nothing more, so that it goes to another broker",
        arguments: [false, true])
    func cannotRegister(isAway: Bool) throws {
        var bench = CoreBench()
        bench.pass(2_000)
        bench.holds = true
        bench.heartbeat(1)
        #expect(bench.told == [.registerPlease])
        bench.joinWorker(key: "owner")
        if isAway { bench.pass(4_000) }
        bench.told = []
        for second in 2..<5 as Range<UInt64> {
            bench.heartbeat(second, key: "owner")
            bench.pass(500)
        }
        #expect(bench.told.isEmpty)
        // Another key's waiting does not silence it.
        bench.heartbeat(9, address: [8], key: "another")
        #expect(bench.told == [.registerPlease])
        bench.release()
        #expect(bench.told.contains { if case .welcome = $0 { true } else { false } })
    }

    @Test("a worker that says goodbye while the database is asked for it has gone")
    func goodbyeOnItsWay() throws {
        var bench = CoreBench()
        bench.pass(2_000)
        bench.submit()
        bench.holds = true
        bench.joinWorker()
        bench.feed(.workerMessage(from: [7], .goodbye(session: bench.session)))
        bench.release()
        bench.pass(500)
        #expect(bench.told.isEmpty && bench.core.snapshot.workers == 0)
    }

    @Test("a worker whose word the database takes late gets nothing before it speaks again")
    func takenLate() throws {
        var bench = CoreBench()
        bench.pass(2_000)
        bench.submit()
        bench.holds = true
        bench.joinWorker()
        bench.pass(2_900)
        bench.release()
        #expect(bench.core.snapshot.workers == 1 && bench.grants.isEmpty)
        bench.pass(1_000)
        #expect(bench.grants.isEmpty)
        bench.heartbeat(1)
        bench.pass(300)
        #expect(bench.grants.count == 1)
    }

    @Test("what another broker's claim leases to a worker as it joins is found a second later")
    func leasedInPassing() throws {
        var bench = CoreBench()
        bench.pass(3_000)
        bench.joinWorker(epoch: 2)
        let submission = TaskSubmission(
            parameters: .generate(GenerateParameters(model: "demo")), submittedParams: Array(#"{"model":"demo"}"#.utf8))
        let (id, lease) = (UUIDValue.version7(milliseconds: CoreBench.epoch), UUIDValue(hi: 8, lo: 8))
        let item = SubmitItem(
            id: id, submission: submission, seed: 1, seedAssigned: true,
            grant: GrantOffer(session: bench.session, lease: lease, broker: Self.other))
        _ = bench.store.perform(.submit([SubmitGroup(items: [item])]), now: CoreBench.epoch + bench.now)
        #expect(bench.store.tasks[id]?.lease == lease && bench.grants.isEmpty)
        bench.pass(1_500)
        #expect(bench.grants.map(\.lease) == [lease])
    }

    @Test("a task that was leased to a worker which has left since stays with it: the broker that it joins finds the lease")
    func leasedToOneThatLeft() throws {
        var bench = CoreBench()
        bench.joinWorker(epoch: 1)
        bench.holds = true
        bench.submit()
        bench.feed(.workerMessage(from: [7], .goodbye(session: UUIDValue(hi: 6, lo: 6))))
        moveAway(&bench)
        // Silent for as long as a worker may be, it is not ours any more.
        bench.pass(11_000)
        bench.release()
        bench.pass(1_000)
        let task = try #require(bench.store.tasks.values.first)
        #expect(task.state == .running && task.session == bench.session && task.attempt == 1)
        #expect(bench.grants.isEmpty)
    }
}
