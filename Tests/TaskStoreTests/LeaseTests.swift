import Encodings
import TaskProtocol
import TaskStore
import Testing

@Suite("Leases") struct LeaseTests {
    @Test("a finished task is recorded once, with its texts; the same completion again is answered as recorded") func completion() throws {
        let bench = try Bench()
        let grant = try bench.running()
        let done = bench.completion(grant, texts: 2)
        #expect(try bench.complete([done]) == [.recorded(.succeeded, nil)])
        #expect(try bench.complete([done]) == [.alreadyRecorded(.succeeded, nil)])
        #expect(try bench.value("SELECT count(*) FROM generations") == "2")
        #expect(try bench.value("SELECT count(*) FROM hot") == "0")
        let status = try bench.status(grant.task)
        let result = try JSONValue.parse(try #require(status.result))
        #expect(result["model"]?["name"]?.stringValue == "demo" && result["seed"]?.intValue == 12_345_678)
        #expect(result["generations"]?.arrayValue?.count == 2)
        #expect(result["generations"]?.arrayValue?[0]["token_ids"] == [3, 4, 5])
        #expect(status.finishedAt != nil)
        #expect(try bench.value("SELECT outcome || worker FROM attempts") == "succeeded\(bench.session)")
        #expect(try bench.value("SELECT text_search @@ plainto_tsquery('simple', 'beginning') FROM generations LIMIT 1") == "true")
    }

    @Test("a claim says how long a task was due: since its run_at, or since its last attempt ended") func waited() throws {
        let bench = try Bench()
        let atOnce = try bench.running()
        #expect(atOnce.waitedMilliseconds == 0)
        try bench.submit([bench.item()])
        try bench.connection.execute("UPDATE hot SET run_at = now() - interval '90 s' WHERE lease IS NULL")
        let first = try #require(try bench.claim().grants.first)
        let waited = try #require(first.waitedMilliseconds)
        #expect((90_000...100_000).contains(waited))
        _ = try bench.settle(.release([Release(task: first.task, lease: first.lease, attempt: 1, reason: "drain")]))
        try bench.connection.execute("UPDATE tries SET finished_at = now() - interval '30 s'")
        let second = try #require(try bench.claim().grants.first)
        let again = try #require(second.waitedMilliseconds)
        #expect(second.task == first.task && (30_000...40_000).contains(again))
        guard case .leases(let held) = bench.ask(.leases([bench.session])) else { return unexpected() }
        #expect(held.count == 2 && held.allSatisfy { $0.grant.waitedMilliseconds == nil })
    }

    @Test("a stale lease changes nothing, and what it brings is kept as superseded") func stale() throws {
        let bench = try Bench()
        let old = try bench.running()
        let counter = Int64(try bench.value("SELECT counter FROM sessions") ?? "") ?? -1
        guard case .swept(let swept) = bench.ask(.sweep([DeadSession(session: bench.session, counter: counter)])) else { return unexpected() }
        #expect(swept.ended == [bench.session] && swept.settled.map(\.reference.task) == [old.task])
        #expect(try bench.complete([bench.completion(old)]) == [.stale])
        #expect(try bench.value("SELECT outcome FROM attempts WHERE attempt = 1") == "superseded")
        #expect(try bench.value("SELECT count(*) FROM generations") == "0")
        let session = SessionID.random()
        try bench.register(session)
        let new = try #require(try bench.claim(session: session).grants.first)
        #expect(new.task == old.task && new.attempt == 2)
        #expect(try bench.complete([bench.completion(old)]) == [.stale])
        #expect(try bench.settle(.fail([bench.failure(old)]))[0].settlement == .stale)
        #expect(try bench.complete([bench.completion(new)]) == [.recorded(.succeeded, nil)])
        #expect(try bench.complete([bench.completion(old)]) == [.stale])
    }

    @Test("a session lapses only while its counter stands still") func sweep() throws {
        let bench = try Bench()
        let grant = try bench.running()
        guard case .beaten(let before) = bench.ask(.beat(BeatRequest(broker: bench.broker, sessions: []))) else { return unexpected() }
        let counter = try #require(before.counters.first { $0.session == bench.session }).counter
        let unknown = SessionID.random()
        let beat = BeatRequest(
            broker: bench.broker,
            sessions: [SessionBeat(session: bench.session, draining: false), SessionBeat(session: unknown, draining: false)])
        guard case .beaten(let after) = bench.ask(.beat(beat)) else { return unexpected() }
        #expect(after.unknown == [unknown] && after.brokerKnown && abs(after.databaseMilliseconds - bench.now()) < 10_000)
        #expect(after.counters.map(\.counter) == [counter + 1])
        #expect(try bench.value("SELECT state FROM brokers WHERE id = '\(bench.broker)'") == "running")
        _ = bench.ask(.beat(BeatRequest(broker: bench.broker, sessions: [], isDraining: true)))
        #expect(try bench.value("SELECT state FROM brokers WHERE id = '\(bench.broker)'") == "draining")
        guard case .swept(let none) = bench.ask(.sweep([DeadSession(session: bench.session, counter: counter)])) else { return unexpected() }
        #expect(none.ended.isEmpty)
        #expect(try bench.state(grant.task) == .running)
        guard case .swept(let one) = bench.ask(.sweep([DeadSession(session: bench.session, counter: counter + 1)])) else { return unexpected() }
        #expect(one.ended == [bench.session])
        #expect(try bench.state(grant.task) == .queued)
        #expect(try bench.submit([bench.item(lease: .random())])[0].grant == nil, "its session is gone")
    }

    @Test("losses among batch mates cost nothing; lost twice it runs alone, and only then they count") func isolation() throws {
        let bench = try Bench()
        var submission = bench.generate()
        submission.maxAttempts = 2
        let task = try bench.submit([bench.item(submission)])[0]
        func lose() throws -> Grant? {
            let session = SessionID.random()
            try bench.register(session)
            let grant = try bench.claim(session: session).grants.first
            _ = bench.ask(.sweep([DeadSession(session: session, counter: 0)]))
            return grant
        }
        #expect(try lose()?.isolated == false)
        #expect(try lose()?.isolated == false)
        #expect(try lose()?.isolated == true)
        #expect(try bench.state(task.id) == .queued)
        #expect(try lose()?.isolated == true)
        let status = try bench.status(task.id)
        #expect(status.state == .failed && status.attempt == 4)
        #expect(status.error.flatMap { ContractError(json: $0) }?.code == .lost)
        #expect(try bench.value("SELECT string_agg(outcome, ',' ORDER BY attempt) FROM attempts") == "lost,lost,lost,lost")
        #expect(try bench.value("SELECT failures || ' failed, ' || losses || ' lost' FROM outcome") == "2 failed, 4 lost")
    }

    @Test("a failed attempt waits and is tried again until its number is used up") func failing() throws {
        let bench = try Bench()
        let grant = try bench.running()
        let first = try bench.settle(.fail([bench.failure(grant, delay: 60_000)]))[0].settlement
        guard case .requeued(let ready, let runAt) = first else {
            Issue.record("\(first)")
            return
        }
        #expect(abs(runAt - bench.now() - 60_000) < 5000 && abs(ready.rank - runAt) < 5)
        #expect(try bench.claim().grants.isEmpty)
        #expect(try bench.status(grant.task).waitingFor == .retryAt)
        let again = try bench.settle(.fail([bench.failure(grant, delay: 60_000)]))[0].settlement
        #expect(again == first, "the same failure sent again")
        #expect(try #require(try bench.due().nextDueMilliseconds) == runAt)
        try bench.connection.execute("UPDATE hot SET run_at = now() - interval '1 second'")
        #expect(try bench.due().ready.map(\.task) == [grant.task])
        let second = try #require(try bench.claim().grants.first)
        #expect(second.attempt == 2 && second.failures == 1)
        _ = try bench.settle(.fail([bench.failure(second, cause: .timedOut)]))
        let third = try #require(try bench.claim().grants.first)
        let last = try bench.settle(.fail([bench.failure(third)]))[0].settlement
        #expect(last == .recorded(.failed, bench.failure(third).error))
        #expect(try bench.settle(.fail([bench.failure(third)]))[0].settlement == .alreadyRecorded(.failed, bench.failure(third).error))
        #expect(try bench.value("SELECT string_agg(outcome, ',' ORDER BY attempt) FROM attempts") == "failed,timed_out,failed")
        #expect(try bench.value("SELECT failures || ' failed, ' || losses || ' lost' FROM outcome") == "3 failed, 0 lost")
        #expect(try bench.complete([bench.completion(third)]) == [.stale])
    }

    @Test("after the clock was set back a retry is due, as its pause can be no longer; a task published for later keeps its time")
    func clockSetBack() throws {
        let bench = try Bench()
        let soon = try bench.running()
        let far = try bench.running()
        _ = try bench.settle(.fail([bench.failure(soon, delay: 60_000), bench.failure(far, delay: 3_600_000)]))
        var submission = bench.generate()
        submission.runAt = bench.now() + 3_600_000
        let later = try bench.submit([bench.item(submission)])[0]
        #expect(bench.ask(.endBackoffs(longestMilliseconds: 70_000)) == .done)
        let place = "SELECT abs(rank - extract(epoch FROM run_at) * 1000) < 1000 FROM hot WHERE task = '\(far.task)'"
        #expect(try bench.value(place) == "true", "its place in line goes with its time")
        #expect(try bench.due().ready.map(\.task) == [far.task])
        #expect(try bench.claim().grants.map(\.task) == [far.task])
        #expect(try bench.state(later.id) == .queued && bench.state(soon.task) == .queued)
    }

    @Test("a final error ends a task at its first attempt") func finalFailure() throws {
        let bench = try Bench()
        let grant = try bench.running()
        #expect(try bench.settle(.fail([bench.failure(grant, final: true)]))[0].settlement == .recorded(.failed, bench.failure(grant).error))
        #expect(try bench.state(grant.task) == .failed)
    }

    @Test("a released task is at once back in line, uncounted, with its resume state") func release() throws {
        let bench = try Bench()
        let grant = try bench.running()
        let release = Release(
            task: grant.task, lease: grant.lease, attempt: 1, reason: "drain", resume: Array("{\"step\":5}".utf8), delayMilliseconds: 0)
        let settled = try bench.settle(.release([release]))[0].settlement
        guard case .requeued = settled else {
            Issue.record("\(settled)")
            return
        }
        let next = try #require(try bench.claim().grants.first)
        #expect(next.attempt == 2 && next.failures == 0)
        #expect(try JSONValue.parse(try #require(next.resume))["step"]?.intValue == 5)
        #expect(try bench.value("SELECT outcome || (error ->> 'reason') FROM attempts WHERE attempt = 1") == "releaseddrain")
    }

    @Test("a goodbye gives everything back and frees the session") func goodbye() throws {
        let bench = try Bench()
        let grants = try [bench.running(), bench.running()]
        guard case .leases(let held) = bench.ask(.leases([bench.session])) else { return unexpected() }
        #expect(Set(held.map(\.grant.lease)) == Set(grants.map(\.lease)))
        guard case .swept(let swept) = bench.ask(.endSession(bench.session)) else { return unexpected() }
        #expect(swept.ended == [bench.session] && swept.settled.count == 2)
        #expect(try bench.value("SELECT count(*) FROM workers") == "0")
        #expect(try bench.value("SELECT string_agg(DISTINCT outcome, ',') FROM attempts") == "released")
        guard case .swept(let nothing) = bench.ask(.endSession(bench.session)) else { return unexpected() }
        #expect(nothing.ended.isEmpty)
    }

    @Test("a session that holds leases cannot be deleted by anybody's hand") func foreignKey() throws {
        let bench = try Bench()
        _ = try bench.running()
        #expect(throws: StoreError.self) { try bench.connection.execute("DELETE FROM sessions") }
    }

    @Test("a waiting task is cancelled at once; a running one is marked, and ends when its worker confirms") func cancel() throws {
        let bench = try Bench()
        let waiting = try bench.submit([bench.item()])[0]
        let running = try bench.running()
        guard case .cancelled(let replies) = bench.ask(.cancel([waiting.id, running.task])) else { return unexpected() }
        #expect(replies.map(\.state) == [.cancelled, .running] && replies[0].changed && !replies[1].changed)
        #expect(replies[1].running?.lease == running.lease)
        guard
            case .beaten(let beat) = bench.ask(
                .beat(BeatRequest(broker: bench.broker, sessions: [SessionBeat(session: bench.session, draining: false)])))
        else { return unexpected() }
        #expect(beat.cancels.map(\.task) == [running.task])
        #expect(try bench.due().cancels.map(\.lease) == [running.lease])
        let reference = LeaseReference(task: running.task, lease: running.lease, attempt: 1)
        #expect(try bench.settle(.confirmCancel([reference]))[0].settlement == .recorded(.cancelled, nil))
        #expect(try bench.settle(.confirmCancel([reference]))[0].settlement == .alreadyRecorded(.cancelled, nil))
        #expect(try bench.complete([bench.completion(running)]) == [.stale])
        guard case .cancelled(let again) = bench.ask(.cancel([waiting.id, running.task])) else { return unexpected() }
        #expect(again.map(\.state) == [.cancelled, .cancelled] && !again.contains { $0.changed })
        guard case .refused(let error) = bench.ask(.cancel([waiting.id, .random()])) else { return unexpected() }
        #expect(error.code == .notFound && error.field == "ids[1]")
    }

    @Test("a completion under the current lease stands though the mark was set first; a failed attempt of a marked task ends cancelled")
    func cancelMark() throws {
        let bench = try Bench()
        let (first, second) = try (bench.running(), bench.running())
        _ = bench.ask(.cancel([first.task, second.task]))
        #expect(try bench.complete([bench.completion(first)]) == [.recorded(.succeeded, nil)])
        #expect(try bench.settle(.fail([bench.failure(second)]))[0].settlement == .recorded(.cancelled, nil))
    }

    @Test("a failed or cancelled task can be queued anew, its failures counted from 0") func retry() throws {
        let bench = try Bench()
        let grant = try bench.running()
        _ = try bench.settle(.fail([bench.failure(grant, final: true)]))
        let ends = try bench.ends([grant.task])
        guard case .retried(let outlines) = bench.ask(.retry(ends)) else { return unexpected() }
        #expect(outlines.map(\.state) == [.queued])
        let next = try #require(try bench.claim().grants.first)
        #expect(next.attempt == 2 && next.failures == 0)
        _ = try bench.complete([bench.completion(next)])
        guard case .retried(let later) = bench.ask(.retry(ends)) else { return unexpected() }
        #expect(later.map(\.state) == [.succeeded], "sent again, it changes nothing")
        #expect(try bench.value("SELECT string_agg(outcome, ',' ORDER BY attempt) FROM attempts") == "failed,succeeded")
    }

    @Test("a retry that is sent again after its task has failed once more does not retry it twice") func repeatedRetry() throws {
        let bench = try Bench()
        let grant = try bench.running()
        _ = try bench.settle(.fail([bench.failure(grant, final: true)]))
        let request = StoreRequest.retry(try bench.ends([grant.task]))
        _ = bench.ask(request)
        let again = try #require(try bench.claim().grants.first)
        _ = try bench.settle(.fail([bench.failure(again, final: true)]))
        guard case .retried(let outlines) = bench.ask(request) else { return unexpected() }
        #expect(outlines.map(\.state) == [.failed] && outlines.map(\.attempt) == [2])
        // A waiting task that is cancelled twice has started no more often between: its ends differ all the same.
        let waiting = try bench.submit([bench.item()])[0].id
        _ = bench.ask(.cancel([waiting]))
        let second = StoreRequest.retry(try bench.ends([waiting]))
        _ = bench.ask(second)
        #expect(try bench.state(waiting) == .queued)
        _ = bench.ask(.cancel([waiting]))
        _ = bench.ask(second)
        #expect(try bench.state(waiting) == .cancelled)
    }

    @Test("ten thousand tasks are retried in one request, and once, though one is named twice") func bulkRetry() throws {
        let bench = try Bench()
        let ids = try bench.submit((0..<10_000).map { _ in bench.item() }).map(\.id)
        guard case .cancelled = bench.ask(.cancel(ids)) else { return unexpected() }
        let ends = try bench.ends(ids)
        guard case .retried(let outlines) = bench.ask(.retry(ends + [ends[0]])) else { return unexpected() }
        #expect(outlines.count == 10_001 && outlines.allSatisfy { $0.state == .queued } && outlines.map(\.id) == ids + [ids[0]])
        #expect(try bench.value("SELECT (SELECT count(*) FROM hot) || ' ' || (SELECT count(*) FROM outcome)") == "10000 0")
    }

    @Test("tasks are claimed by rank: priority is worth a minute a point") func rank() throws {
        let bench = try Bench()
        var old = bench.generate(prompt: "old")
        old.runAt = bench.now() - 90_000
        var urgent = bench.generate(prompt: "urgent")
        urgent.priority = 2
        let tasks = try bench.submit([bench.item(bench.generate()), bench.item(old), bench.item(urgent)])
        #expect(try bench.claim().grants.map(\.task) == [tasks[2].id, tasks[1].id, tasks[0].id])
    }

    @Test("the low-water mark never passes a task that waits") func lowWater() throws {
        let bench = try Bench()
        // Ids of one millisecond sort by chance.
        let tasks = try (0..<6).map { _ in try bench.submit([bench.item()])[0] }.sorted { ($0.rank, $0.id) < ($1.rank, $1.id) }
        let claim = try bench.claim(slots: 2)
        #expect(claim.grants.count == 2 && claim.unplaced == 4 && claim.exhausted)
        #expect(claim.lowWater == tasks[2].rank)
        let next = try bench.claim(slots: 8, fromRank: claim.lowWater)
        #expect(next.grants.map(\.task) == tasks[2...].map(\.id))
        #expect(try bench.claim(fromRank: next.lowWater).grants.isEmpty)
    }

    @Test("what somebody holds and may let go again still waits: the mark stops there, and a claim says so") func passedOver() throws {
        let bench = try Bench()
        let tasks = try (0..<5).map { _ in try bench.submit([bench.item()])[0] }.sorted { ($0.rank, $0.id) < ($1.rank, $1.id) }
        let holder = try Bench.patient(bench.ownerURL)
        try holder.execute("BEGIN")
        try holder.execute("SELECT FROM scriptorium.hot WHERE task IN ('\(tasks[1].id)', '\(tasks[2].id)') FOR SHARE")
        let claim = try bench.claim(slots: 8)
        #expect(claim.grants.map(\.task) == [tasks[0], tasks[3], tasks[4]].map(\.id))
        #expect(claim.exhausted && claim.unplaced == 2 && claim.lowWater == tasks[1].rank)
        try holder.execute("COMMIT")
        let next = try bench.claim(slots: 8, fromRank: claim.lowWater)
        #expect(next.grants.map(\.task) == [tasks[1].id, tasks[2].id] && next.unplaced == 0)
    }

    @Test("a claim goes on behind what another claim has locked") func behindLocked() throws {
        let bench = try Bench()
        let tasks = try (0..<5).map { _ in try bench.submit([bench.item()])[0] }.sorted { ($0.rank, $0.id) < ($1.rank, $1.id) }
        let lock = try StoreConnection(bench.url)
        try lock.execute("BEGIN")
        _ = try lock.run(StoreSession.claimLock, [.uuids([tasks[0].id])])
        #expect(try bench.claim(slots: 1).grants.map(\.task) == [tasks[1].id], "the second bite finds it")
        try lock.execute("ROLLBACK")
        #expect(try bench.claim(slots: 1).grants.map(\.task) == [tasks[0].id])
    }

    @Test("a precision of a later release is left to its brokers: for this one it is not in line") func laterPrecision() throws {
        let bench = try Bench()
        let later = try bench.submit([bench.item()])[0].id
        try bench.connection.execute("UPDATE task SET resolved = jsonb_set(resolved::jsonb, '{params,precision}', '\"fp4\"')::text")
        let plain = try bench.submit([bench.item()])[0].id
        let claim = try bench.claim()
        #expect(claim.grants.map(\.task) == [plain] && claim.exhausted && claim.unplaced == 0)
        #expect(try bench.state(later) == .queued)
    }

    @Test("clients take turns, also where one has ten thousand tasks in line before the other's") func fairness() throws {
        let bench = try Bench()
        func submit(_ count: Int, as client: String) throws -> Set<TaskID> {
            let items = (0..<count).map { _ in bench.item() }
            guard case .accepted(let tasks) = try bench.outcomes([SubmitGroup(items: items, client: client)])[0] else { return [] }
            return Set(tasks.map(\.id))
        }
        let greedy = try submit(10_000, as: "greedy")
        let modest = try submit(6, as: "modest")
        var request = ClaimRequest(broker: bench.broker, queue: "default", offers: [], leases: [], fromRank: nil, limit: 1_000)
        func claim(_ slots: Int, looksFarther: Bool) throws -> Set<TaskID> {
            request.offers = [PlacementOffer(session: bench.session, freeSlots: slots, idle: true, models: [], numerics: Bench.numerics)]
            request.leases = (0..<slots).map { _ in .random() }
            request.looksFarther = looksFarther
            guard case .claimed(let reply) = bench.ask(.claim(request)) else { return [] }
            (request.lastClient, request.fromRank) = (reply.lastClient, reply.lowWater)
            #expect(reply.grants.count == slots)
            return Set(reply.grants.map(\.task))
        }
        #expect(try claim(4, looksFarther: false).isSubset(of: greedy), "the window holds one client only")
        let mixed = try claim(4, looksFarther: true)
        #expect(mixed.intersection(modest).count == 2 && mixed.intersection(greedy).count == 2)
        // One slot at a time: the turns go on from claim to claim.
        let single = try (0..<4).map { _ in try claim(1, looksFarther: true) }
        #expect(
            single.map { $0.isSubset(of: modest) } == [false, true, false, true]
                || single.map { $0.isSubset(of: modest) } == [true, false, true, false])
        let rest = try claim(8, looksFarther: true)
        #expect(rest.intersection(modest).count == 2, "all of the modest one's tasks run, though 9,989 are in line before them")
        #expect(try bench.value("SELECT count(*) FROM hot WHERE client = 'modest' AND lease IS NULL") == "0")
        let oldest = try bench.value("SELECT min(rank) FROM hot WHERE lease IS NULL")
        #expect(request.fromRank.map(String.init) == oldest, "the mark stays with the oldest that waits")
    }

    @Test("a window of which somebody else holds a task, or that was not looked at to its end, is none that can be passed")
    func notPassed() throws {
        let bench = try Bench()
        let tasks = try bench.submit((0..<8).map { _ in bench.item() }).map(\.id)
        let old = Set(TaskParameters.knownNames.filter { $0 != "min_p" })
        func claim(_ parameters: Set<String>, slots: Int, session: SessionID? = nil) throws -> ClaimReply {
            try bench.claim(slots: slots, limit: 5, session: session, parameters: parameters)
        }
        #expect(try claim(old, slots: 2).lastSeen != nil)
        let holder = try Bench.patient(bench.ownerURL)
        try holder.execute("BEGIN; SELECT FROM hot WHERE task = '\(tasks.sorted()[1])' FOR UPDATE")
        #expect(try claim(old, slots: 2).lastSeen == nil, "it may be another's to take, or ours in a moment")
        try holder.execute("ROLLBACK")
        #expect(try claim(old, slots: 2, session: .random()).lastSeen == nil, "a worker that is gone says nothing of the line")
        let reply = try claim([], slots: 2)
        #expect(reply.grants.count == 2 && reply.lastSeen == nil)
    }

    @Test("behind a place the line goes on with the next task, also among tasks of one rank")
    func behind() throws {
        let bench = try Bench()
        let tasks = try bench.submit((0..<23).map { _ in bench.item() }).map(\.id)
        try bench.connection.execute("UPDATE hot SET rank = 7")
        let offer = PlacementOffer(
            session: bench.session, freeSlots: 8, idle: true, models: [], numerics: Bench.numerics,
            parameters: Set(TaskParameters.knownNames.filter { $0 != "min_p" }))
        var request = ClaimRequest(broker: bench.broker, queue: "default", offers: [offer], leases: [.random()], fromRank: nil, limit: 5)
        var seen: [LinePosition] = []
        while true {
            guard case .claimed(let reply) = bench.ask(.claim(request)), seen.count < 10 else { return unexpected() }
            #expect(reply.grants.isEmpty && reply.exhausted == (reply.lastSeen == nil))
            #expect(reply.unplaced == min(5, 23 - 5 * seen.count))
            guard let last = reply.lastSeen else { break }
            seen.append(last)
            request.behind = last
        }
        let order = tasks.sorted()
        #expect(seen.map(\.task) == [4, 9, 14, 19].map { order[$0] } && seen.allSatisfy { $0.rank == 7 })
        request.offers[0].parameters = []
        guard case .claimed(let reply) = bench.ask(.claim(request)) else { return unexpected() }
        #expect(reply.grants.map(\.task) == [order[20]])
    }

    @Test("a paused queue is held back, a limited one runs no more than it may") func limits() throws {
        let bench = try Bench()
        _ = try bench.submit((0..<5).map { _ in bench.item() })
        try bench.connection.execute("INSERT INTO queues (name, paused) VALUES ('default', true)")
        #expect(try bench.claim().heldBack)
        try bench.connection.execute("UPDATE queues SET paused = false, max_running = 2")
        #expect(try bench.claim().grants.count == 2)
        #expect(try bench.claim().heldBack)
    }

    @Test("queues with work are listed with their oldest rank, and figures count them") func figures() throws {
        let bench = try Bench()
        for queue in ["b", "a", "c"] {
            var submission = bench.generate()
            submission.queue = queue
            try bench.submit([bench.item(submission), bench.item(submission)])
        }
        _ = try bench.claim("c", slots: 2)
        #expect(try bench.due().queues.map(\.name) == ["a", "b"])
        guard case .figures(let figures) = bench.ask(.figures) else { return unexpected() }
        #expect(figures.map(\.name) == ["a", "b", "c"] && figures.map(\.depth) == [2, 2, 0] && figures.map(\.running) == [0, 0, 2])
        guard case .durability(let durability) = bench.ask(.durability) else { return unexpected() }
        #expect(durability.synchronousCommit == "on" && durability.synchronousStandbys.isEmpty)
    }

    @Test("one task whose result cannot be stored fails by itself; its batch mates are recorded") func guilty() throws {
        let bench = try Bench()
        let (good, bad) = try (bench.running(), bench.running())
        var broken = bench.completion(bad)
        broken.generations[0].params = Array("not JSON".utf8)
        let settled = try bench.complete([bench.completion(good), broken])
        #expect(settled[0] == .recorded(.succeeded, nil))
        guard case .recorded(.failed, let error?) = settled[1] else {
            Issue.record("\(settled[1])")
            return
        }
        #expect(error.code == .internalError)
    }

    @Test("a missing month of generations is made, and the batch repeated") func partition() throws {
        let bench = try Bench()
        try bench.connection.execute(
            "DO $$ DECLARE t text; BEGIN FOR t IN SELECT inhrelid::regclass FROM pg_inherits WHERE inhparent = 'scriptorium.generations'::regclass LOOP EXECUTE 'DROP TABLE ' || t; END LOOP; END $$"
        )
        let grant = try bench.running()
        #expect(try bench.complete([bench.completion(grant)]) == [.recorded(.succeeded, nil)])
        #expect(try bench.value("SELECT count(*) FROM generations") == "1")
    }
}
