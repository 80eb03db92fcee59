import Encodings
import QueueSimulation
import TaskProtocol
import Testing

/// The promises of the seam one by one, each put to the model and to PostgreSQL.
@Suite("What every store promises") struct ConformanceCases {
    @Test("a result is recorded once: sent again it is known, under another lease it is stale", arguments: StoreKind.allCases)
    func completion(_ kind: StoreKind) throws {
        let bench = try ConformanceBench(kind)
        let grant = try bench.running()
        var foreign = grant
        foreign.lease = .random()
        #expect(try bench.complete([foreign])[0].settlement == .stale)
        #expect(try bench.complete([grant, grant]).map(\.settlement) == [.recorded(.succeeded, nil), .alreadyRecorded(.succeeded, nil)])
        #expect(try bench.complete([grant])[0].settlement == .alreadyRecorded(.succeeded, nil))
        #expect(try bench.settle(bench.failure(grant))[0].settlement == .stale)
        let row = try bench.row(grant.task)
        #expect(row.texts == "0:text-0" && row.endings == "\(grant.lease)=succeeded")
    }

    @Test("what a lost attempt brings is kept as superseded, and all that comes under its lease is stale", arguments: StoreKind.allCases)
    func superseded(_ kind: StoreKind) throws {
        let bench = try ConformanceBench(kind)
        let grant = try bench.running()
        #expect(try bench.lose(bench.session).settled.map(\.reference.task) == [grant.task])
        for _ in 0..<2 {
            #expect(try bench.complete([grant])[0].settlement == .stale)
            #expect(try bench.settle(bench.failure(grant))[0].settlement == .stale)
        }
        #expect(try bench.row(grant.task).endings == "\(grant.lease)=superseded")
        #expect(try bench.row(grant.task).losses == 1 && bench.row(grant.task).failures == 0)
    }

    @Test("in one batch, what comes under an old lease is stale, whatever comes under the present one", arguments: StoreKind.allCases)
    func mixedBatch(_ kind: StoreKind) throws {
        let bench = try ConformanceBench(kind)
        let old = [try bench.running(), try bench.running()].sorted { $0.task < $1.task }
        _ = try bench.lose(bench.session)
        bench.register(bench.session)
        let new = try bench.claim().sorted { $0.task < $1.task }
        #expect(new.map(\.task) == old.map(\.task))
        #expect(try bench.complete([old[0], new[0], old[0]]).map(\.settlement) == [.stale, .recorded(.succeeded, nil), .stale])
        #expect(try bench.row(old[0].task).texts == "0:text-0", "the texts of one completion")
        let failures = [old[1], new[1], new[1], old[1]].map {
            Failure(
                task: $0.task, lease: $0.lease, attempt: $0.attempt, error: ContractError(.modelError, "not a number"), cause: .failed, final: true,
                delayMilliseconds: 0)
        }
        let error = failures[0].error
        #expect(
            try bench.settle(.fail(failures)).map(\.settlement) == [.stale, .recorded(.failed, error), .alreadyRecorded(.failed, error), .stale])
        #expect(try bench.row(old[1].task).attempt == 2)
    }

    @Test(
        "a broker that a worker has left does not decide over its leases any more; the worker itself does, and the broker that it is at",
        arguments: StoreKind.allCases)
    func epochs(_ kind: StoreKind) throws {
        let bench = try ConformanceBench(kind)
        let grants = [try bench.running(), try bench.running(), try bench.running()]
        func release(_ grant: Grant, _ epoch: Int?) throws -> Settlement {
            let release = Release(task: grant.task, lease: grant.lease, attempt: grant.attempt, reason: "undelivered", epoch: epoch)
            return try bench.settle(.release([release]))[0].settlement
        }
        bench.register(bench.session, epoch: 2)
        #expect(bench.registered(bench.session, epoch: 1) == .refused(SessionRegistration.outranked))
        var failure = Failure(
            task: grants[0].task, lease: grants[0].lease, attempt: 1, error: ContractError(.timedOut, "it stands still"), cause: .timedOut,
            final: true, delayMilliseconds: 0, epoch: 1)
        #expect(try bench.settle(.fail([failure]))[0].settlement == .fenced)
        #expect(try release(grants[0], 0) == .fenced)
        #expect(try bench.state(grants[0].task) == "running")
        failure.epoch = 2
        // Of two under one lease, that of an earlier epoch is not answered for the other.
        var former = failure
        former.epoch = 1
        #expect(try bench.settle(.fail([former, failure])).map(\.settlement) == [.fenced, .recorded(.failed, failure.error)])
        #expect(try bench.settle(.fail([former]))[0].settlement == .alreadyRecorded(.failed, failure.error))
        // Where the worker has not come yet, what its next broker decides counts.
        for (grant, epoch) in zip(grants.dropFirst(), [3, nil] as [Int?]) {
            guard case .requeued = try release(grant, epoch) else { return unexpected() }
        }
    }

    @Test(
        "another key does not register a session, whether it lives or has ended; no key is nobody else's",
        arguments: StoreKind.allCases)
    func foreignKeys(_ kind: StoreKind) throws {
        let bench = try ConformanceBench(kind)
        let (session, elsewhere) = (SessionID.random(), BrokerID.random())
        func register(_ epoch: Int, _ key: String?, _ broker: BrokerID? = nil) -> StoreReply {
            bench.registered(session, epoch: epoch, key: key, broker: broker)
        }
        let refused = StoreReply.refused(SessionRegistration.outranked)
        #expect(register(1, nil) == .done && register(2, "owner") == .done)
        #expect(register(9, "another") == refused && register(1, "another") == refused)
        #expect(register(2, "another", elsewhere) == refused)
        #expect(register(3, "owner", elsewhere) == .done && register(3, "owner") == .done)
        // Not at the broker where it lives either, nor with what that broker said last.
        #expect(register(3, "another") == refused && register(3, "another", elsewhere) == refused)
        guard case .swept(let swept) = bench.ask(.endSession(session)), swept.ended == [session] else { return unexpected() }
        #expect(register(9, "another") == refused && register(3, "another") == refused && register(2, "owner") == refused)
        #expect(bench.ask(.leases([session])) == .leases([]))
        #expect(register(3, "owner") == .done)
        // A word that is refused changes nothing, also of a row that nobody has counted yet.
        #expect(register(3, "another") == refused && register(2, "owner") == refused)
        let beat = BeatRequest(broker: bench.broker, sessions: [SessionBeat(session: session, draining: false)])
        guard case .beaten(let beaten) = bench.ask(.beat(beat)) else { return unexpected() }
        #expect(beaten.unknown.isEmpty && beaten.counters.contains { $0.session == session && $0.counter == 1 })
        // Where there are no keys nobody is refused, and nothing forgotten.
        #expect(register(5, nil) == .done && register(6, "another") == refused && register(6, "owner") == .done)
    }

    @Test("a session ends only while its counter stands still; its tasks return to their places in line", arguments: StoreKind.allCases)
    func sweep(_ kind: StoreKind) throws {
        let bench = try ConformanceBench(kind)
        var urgent = ConformanceScript.generate()
        urgent.priority = 5
        let grant = try bench.running(urgent)
        let rank = try bench.row(grant.task).rank
        bench.register(bench.session)
        #expect(bench.ask(.sweep([DeadSession(session: bench.session, counter: 0)])) == .swept(SweepReply(ended: [], settled: [])))
        #expect(try bench.state(grant.task) == "running")
        guard case .requeued(let ready, _)? = try bench.lose(bench.session).settled.first?.settlement else { return unexpected() }
        #expect(ready.rank == rank)
        #expect(try bench.claim().isEmpty, "its session is gone")
        let other = SessionID.random()
        bench.register(other)
        #expect(try bench.claim(session: other).map(\.attempt) == [2])
    }

    @Test("a verify is given the texts that stand stored, and one that names none is not found", arguments: StoreKind.allCases)
    func verify(_ kind: StoreKind) throws {
        let bench = try ConformanceBench(kind)
        func submission(_ name: String, _ id: UUIDValue) -> TaskSubmission {
            TaskSubmission(
                parameters: .verify(VerifyParameters(subject: name == "task" ? .task(id) : .generation(id))),
                submittedParams: JSONValue.object([name: .string("\(id)")]).canonical)
        }
        let grant = try bench.running()
        for (name, id) in [("task", grant.task), ("task", bench.newID()), ("generation", grant.task)] {
            let item = bench.item(submission(name, id), lease: true)
            guard case .submitted(let outcomes) = bench.ask(.submit([SubmitGroup(items: [item])])), case .refused(0, let error)? = outcomes.first
            else {
                Issue.record("\(name): not refused")
                return
            }
            #expect(error.code == .notFound && error.field == "params.\(name)")
        }
        _ = try bench.complete([grant])
        let texts = try ResolvedTask.decode(bench.running(submission("task", grant.task)).resolved).texts
        #expect(try texts.map { try JSONValue.parse($0.proof)["text"] } == ["text-0"])
        let one = try ResolvedTask.decode(bench.running(submission("generation", #require(texts.first).generation)).resolved)
        #expect(one.texts.map(\.generation) == texts.map(\.generation))
    }

    @Test("a verify runs on the model of its texts in their precision, and its lease names it, as a generate's does", arguments: StoreKind.allCases)
    func modelKeys(_ kind: StoreKind) throws {
        let bench = try ConformanceBench(kind)
        bench.ask(.submit([SubmitGroup(items: [bench.item()])]))
        let grant = try #require(try bench.claim().first)
        let model = try #require(grant.modelKey)
        #expect(try model == ResolvedTask.decode(grant.resolved).model?.sha256)
        _ = try bench.complete([grant], precision: .int8)
        let verify = TaskSubmission(
            parameters: .verify(VerifyParameters(subject: .task(grant.task))),
            submittedParams: JSONValue.object(["task": .string("\(grant.task)")]).canonical)
        #expect(try bench.running(verify).modelKey == model + "/int8", "leased as it was inserted")
        try bench.submit([bench.item(verify)])
        #expect(try bench.claim().isEmpty, "nobody there computes in it")
        #expect(try bench.claim(numerics: Bench.numerics + ["int8/1"]).map(\.modelKey) == [model + "/int8"])
    }

    @Test("a submit sent again finds its task as it is, also when it has ended", arguments: StoreKind.allCases)
    func resent(_ kind: StoreKind) throws {
        let bench = try ConformanceBench(kind)
        let item = bench.item(lease: true)
        let first = try bench.submit([item])
        #expect(try bench.submit([item]).map { $0.grant?.lease } == first.map { $0.grant?.lease })
        _ = try bench.complete([try #require(first[0].grant)])
        let again = try bench.submit([item])[0]
        #expect(again.state == .succeeded && again.grant == nil && !again.duplicate && again.rank == 0)
        #expect(try bench.state(item.id) == "succeeded")
    }

    @Test("a key names one task of its queue; other params are a conflict that stores nothing of the request", arguments: StoreKind.allCases)
    func keys(_ kind: StoreKind) throws {
        let bench = try ConformanceBench(kind)
        var keyed = ConformanceScript.generate()
        keyed.key = "one"
        let first = bench.item(keyed)
        let twice = try bench.submit([first, bench.item(keyed)])
        #expect(twice.map(\.id) == [first.id, first.id] && twice.map(\.duplicate) == [false, true])
        #expect(try bench.submit([bench.item(keyed)])[0].id == first.id)
        var other = ConformanceScript.generate(prompt: "Once")
        other.key = "one"
        let innocent = bench.item()
        guard case .submitted(let outcomes) = bench.ask(.submit([SubmitGroup(items: [innocent, bench.item(other)])])),
            case .refused(1, let error) = outcomes[0]
        else { return unexpected() }
        #expect(error.code == .conflict && error.field == "key")
        #expect(bench.ask(.states([innocent.id])) == .outlines([nil]))
        other.queue = "elsewhere"
        #expect(try !bench.submit([bench.item(other)])[0].duplicate)
    }

    @Test("a failed attempt waits out of line until a sweep finds it due, its priority kept", arguments: StoreKind.allCases)
    func pause(_ kind: StoreKind) throws {
        let bench = try ConformanceBench(kind)
        var urgent = ConformanceScript.generate()
        (urgent.priority, urgent.maxAttempts) = (7, 2)
        let grant = try bench.running(urgent)
        guard case .requeued(let ready, let runAt) = try bench.settle(bench.failure(grant, delay: 3_600_000))[0].settlement else {
            return unexpected()
        }
        #expect(abs(runAt - ready.rank - 420_000) <= 1)
        #expect(try bench.claim().isEmpty && bench.due().ready.isEmpty)
        try bench.bringForward()
        #expect(try bench.claim().isEmpty, "only a sweep puts it in line")
        #expect(try bench.due().ready.map(\.task) == [grant.task])
        let second = try #require(try bench.claim().first)
        #expect(second.failures == 1)
        guard case .recorded(.failed, _) = try bench.settle(bench.failure(second))[0].settlement else { return unexpected() }
        #expect(try bench.row(grant.task).failures == 2)
    }

    @Test("a retry counts failures and losses anew, the attempts go on, and its priority counts", arguments: StoreKind.allCases)
    func retry(_ kind: StoreKind) throws {
        let bench = try ConformanceBench(kind)
        var urgent = ConformanceScript.generate()
        urgent.priority = 2
        let grant = try bench.running(urgent)
        let lost = try bench.lose(bench.session)
        #expect(lost.ended == [bench.session])
        bench.register(bench.session)
        let second = try #require(try bench.claim().first { $0.task == grant.task })
        _ = try bench.settle(bench.failure(second, final: true))
        let before = ConformanceBench.now()
        let retry = try bench.retry([grant.task, grant.task])
        guard case .retried(let outlines) = bench.ask(retry) else { return unexpected() }
        #expect(outlines.map(\.state) == [.queued, .queued] && outlines.map(\.attempt) == [2, 2])
        let row = try bench.row(grant.task)
        #expect(row.failures == 0 && row.losses == 0 && row.errorCode == nil)
        let rank = try #require(row.rank)
        #expect((before - 120_000...ConformanceBench.now() - 120_000).contains(rank))
        #expect(try bench.claim().map(\.attempt) == [3])
    }

    @Test("a retry that is sent again leaves an end alone that came later", arguments: StoreKind.allCases)
    func repeatedRetry(_ kind: StoreKind) throws {
        let bench = try ConformanceBench(kind)
        let waiting = try bench.submit([bench.item()])[0].id
        bench.ask(.cancel([waiting]))
        let retry = try bench.retry([waiting])
        bench.ask(retry)
        #expect(try bench.state(waiting) == "queued")
        bench.ask(.cancel([waiting]))
        guard case .retried(let outlines) = bench.ask(retry) else { return unexpected() }
        #expect(outlines.map(\.state) == [.cancelled])
    }

    @Test("cancelling ends what waits, with all that waits for it, and only marks what runs", arguments: StoreKind.allCases)
    func cancel(_ kind: StoreKind) throws {
        let bench = try ConformanceBench(kind)
        let parent = try bench.submit([bench.item()])[0].id
        var child = ConformanceScript.generate()
        child.after = [parent]
        let first = try bench.submit([bench.item(child)])[0].id
        child.after = [first]
        let second = try bench.submit([bench.item(child)])[0].id
        let running = try bench.running()
        let other = try bench.running()
        guard case .cancelled(let replies) = bench.ask(.cancel([parent, parent, running.task, other.task])) else { return unexpected() }
        #expect(replies.map(\.state) == [.cancelled, .cancelled, .running, .running] && replies.map(\.changed) == [true, true, false, false])
        #expect(replies.map { $0.running?.lease } == [nil, nil, running.lease, other.lease])
        #expect(try [first, second].map { try bench.row($0).errorCode } == ["dependency_failed", "dependency_failed"])
        #expect(try bench.complete([running])[0].settlement == .recorded(.succeeded, nil), "the completion stands")
        #expect(try bench.settle(bench.failure(other))[0].settlement == .recorded(.cancelled, nil))
    }

    @Test("a stop that is confirmed twice, in one batch or two, ends its task once", arguments: StoreKind.allCases)
    func confirmTwice(_ kind: StoreKind) throws {
        let bench = try ConformanceBench(kind)
        let grant = try bench.running()
        bench.ask(.cancel([grant.task]))
        let reference = LeaseReference(task: grant.task, lease: grant.lease, session: grant.session, attempt: grant.attempt)
        let twice = try bench.settle(.confirmCancel([reference, reference])).map(\.settlement)
        #expect(twice == [.recorded(.cancelled, nil), .alreadyRecorded(.cancelled, nil)])
        #expect(try bench.settle(.confirmCancel([reference]))[0].settlement == .alreadyRecorded(.cancelled, nil))
        #expect(try bench.row(grant.task).endings == "\(grant.lease)=cancelled")
    }

    @Test("a task lost twice runs alone, and only what is lost then counts", arguments: StoreKind.allCases)
    func isolation(_ kind: StoreKind) throws {
        let bench = try ConformanceBench(kind)
        var submission = ConformanceScript.generate()
        submission.maxAttempts = 1
        let task = try bench.submit([bench.item(submission)])[0].id
        for isAlone in [false, false, true] {
            #expect(try bench.claim().map(\.isolated) == [isAlone])
            _ = try bench.lose(bench.session)
            bench.register(bench.session)
        }
        let row = try bench.row(task)
        #expect(row.state == "failed" && row.errorCode == "lost" && row.failures == 1 && row.losses == 3 && row.attempt == 3)
    }

    @Test("a task that comes to wait for one that has failed already is ended by the sweep", arguments: StoreKind.allCases)
    func lateChild(_ kind: StoreKind) throws {
        let bench = try ConformanceBench(kind)
        let parent = try bench.running()
        _ = try bench.settle(bench.failure(parent, final: true))
        var child = ConformanceScript.generate()
        child.after = [parent.task]
        let id = try bench.submit([bench.item(child, lease: true)])[0].id
        #expect(try bench.row(id).block == "a")
        #expect(try bench.due().ended.map(\.task) == [id])
        #expect(try bench.row(id).errorCode == "dependency_failed")
    }

    @Test("no task goes where one of its parameters is not known; a session that did not say gets any", arguments: StoreKind.allCases)
    func parameters(_ kind: StoreKind) throws {
        let bench = try ConformanceBench(kind)
        let first = try bench.submit([bench.item()])[0].id
        let second = try bench.submit([bench.item()])[0].id
        #expect(try bench.claim(parameters: ConformanceScript.names(without: "min_p")).isEmpty)
        #expect(try bench.claim(parameters: ["model"]).isEmpty)
        #expect(try bench.state(first) == "queued")
        #expect(try bench.claim(1, parameters: ConformanceScript.names(without: "num_steps")).map(\.task) == [first])
        #expect(try bench.claim().map(\.task) == [second])
    }

    @Test("references to models are resolved one by one, in the order asked", arguments: StoreKind.allCases)
    func models(_ kind: StoreKind) throws {
        let bench = try ConformanceBench(kind)
        guard case .resolvedModels(let found) = bench.ask(.resolveModels(["absent", "demo", "absent@3", "demo"])) else { return unexpected() }
        #expect(try found.count == 4 && found[1].get().name == "demo" && found[1] == found[3])
        for answer in [found[0], found[2]] {
            guard case .failure(let error) = answer else { return unexpected() }
            #expect(error.code == .notFound && error.field == "model")
        }
        #expect(bench.ask(.resolveModels([])) == .resolvedModels([]))
    }

    @Test("what nobody has checked is read by id, from behind the one that is named", arguments: StoreKind.allCases)
    func uncheckedPages(_ kind: StoreKind) throws {
        let bench = try ConformanceBench(kind)
        let parent = try bench.running()
        var child = ConformanceScript.generate()
        child.after = [parent.task]
        let children = try (0..<5).map { _ in try bench.submit([bench.item(child)])[0].id }
        _ = try bench.complete([parent])
        func read(after: TaskID?, _ limit: Int) -> [TaskID]? {
            guard case .unchecked(let tasks, _) = bench.ask(.unchecked(after: after, limit: limit)) else { return nil }
            return tasks.map(\.id)
        }
        #expect(read(after: nil, 2) == Array(children[..<2]))
        #expect(read(after: children[1], 2) == Array(children[2..<4]))
        #expect(read(after: children[3], 2) == [children[4]])
        #expect(read(after: children[4], 2) == [])
        // One that is gone meanwhile is as good a place.
        #expect(read(after: parent.task, 100) == children)
    }
}
