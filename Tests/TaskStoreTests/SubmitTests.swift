import Encodings
import TaskProtocol
import TaskStore
import Testing

@Suite("Submitting") struct SubmitTests {
    @Test("a task submitted with a free slot is running when it is accepted, and its worker gets every effective value") func granted() throws {
        let bench = try Bench()
        let lease = LeaseID.random()
        let task = try bench.submit([bench.item(lease: lease)])[0]
        #expect(task.state == .running && !task.duplicate)
        let grant = try #require(task.grant)
        #expect(grant.lease == lease && grant.attempt == 1 && grant.session == bench.session)
        let resolved = try ResolvedTask.decode(grant.resolved)
        #expect(
            resolved.model?.sha256 == Bench.digest && resolved.model?.manifest == Bench.manifest && resolved.model?.checkpoint == bench.checkpoint)
        #expect(resolved.seed == 12_345_678 && resolved.seedAssigned)
        let status = try bench.status(task.id)
        #expect(status.state == .running && status.attempt == 1 && status.startedAt != nil)
        #expect(try JSONValue.parse(status.params)["seed"]?.intValue == 12_345_678)
    }

    @Test("a task whose session has gone, or whose queue is limited or paused, goes in waiting") func ungranted() throws {
        let bench = try Bench()
        #expect(try bench.submit([bench.item(lease: .random(), session: .random())])[0].state == .queued)
        try bench.connection.execute("INSERT INTO queues (name, paused) VALUES ('default', true)")
        #expect(try bench.submit([bench.item(lease: .random())])[0].grant == nil)
        try bench.connection.execute("UPDATE queues SET paused = false, max_running = 3")
        #expect(try bench.submit([bench.item(lease: .random())])[0].grant == nil)
        var later = bench.generate()
        later.runAt = bench.now() + 60_000
        let task = try bench.submit([bench.item(later, lease: .random())])[0]
        #expect(task.state == .queued && task.grant == nil)
        #expect(try bench.status(task.id).waitingFor == .runAt)
    }

    @Test("blocks longer than the base model's context are refused when it is pinned, with both numbers") func blockSize() throws {
        let bench = try Bench()
        func finetune(_ blockSize: Int) -> SubmitItem {
            var parameters = FinetuneParameters(base: .model("demo"), output: "out", dataset: .text("a text"))
            parameters.blockSize = blockSize
            return bench.item(TaskSubmission(parameters: .finetune(parameters), submittedParams: Array("{}".utf8)))
        }
        let outcomes = try bench.outcomes([SubmitGroup(items: [finetune(65)]), SubmitGroup(items: [finetune(64)])])
        guard case .refused(0, let error) = outcomes[0], case .accepted = outcomes[1] else {
            Issue.record("\(outcomes)")
            return
        }
        #expect(error.code == .invalidArgument && error.field == "params.block_size")
        #expect(error.message.contains("65") && error.message.contains("64"))
    }

    @Test("keys are compared byte for byte, in one batch as in two: a composed and a decomposed letter are two keys") func spelledKeys() throws {
        let bench = try Bench()
        func item(_ key: String, prompt: String) -> SubmitItem {
            var submission = bench.generate(prompt: prompt)
            submission.key = key
            return bench.item(submission)
        }
        let (composed, decomposed) = ("caf\u{E9}", "cafe\u{301}")
        let together = try bench.outcomes([
            SubmitGroup(items: [item(composed, prompt: "a"), item(decomposed, prompt: "a")]), SubmitGroup(items: [item(decomposed, prompt: "a")]),
        ])
        guard case .accepted(let first) = together[0], case .accepted(let second) = together[1] else { return unexpected() }
        #expect(first.map(\.duplicate) == [false, false])
        #expect(second.map(\.duplicate) == [true] && second[0].id == first[1].id)
        // A key that stands is no conflict for the other spelling.
        guard case .accepted(let other) = try bench.outcomes([SubmitGroup(items: [item("e\u{301}", prompt: "b")])])[0] else { return unexpected() }
        guard case .accepted(let another) = try bench.outcomes([SubmitGroup(items: [item("\u{E9}", prompt: "c")])])[0] else { return unexpected() }
        #expect(!other[0].duplicate && !another[0].duplicate)
    }

    @Test("an unknown model refuses its whole request with its field, and no other request") func unknownModel() throws {
        let bench = try Bench()
        let good = bench.item()
        let alone = bench.item()
        let outcomes = try bench.outcomes([
            SubmitGroup(items: [good, bench.item(bench.generate("nobody"))]), SubmitGroup(items: [alone]),
        ])
        guard case .refused(let item, let error) = outcomes[0] else {
            Issue.record("\(outcomes[0])")
            return
        }
        #expect(item == 1 && error.code == .notFound && error.field == "params.model")
        #expect(try bench.state(good.id) == nil)
        #expect(try bench.state(alone.id) == .queued)
    }

    @Test("a model is found by name, name and step, checkpoint and digest; pinned means pinned") func references() throws {
        let bench = try Bench()
        for reference in ["demo", "demo@0", bench.checkpoint.description, "sha256:" + Bench.digest] {
            let grant = try bench.running(bench.generate(reference))
            #expect(try ResolvedTask.decode(grant.resolved).model?.checkpoint == bench.checkpoint, "\(reference)")
        }
        for reference in ["demo@7", "sha256:" + Bench.manifest, UUIDValue.random().description] {
            let outcome = try bench.outcomes([SubmitGroup(items: [bench.item(bench.generate(reference))])])[0]
            guard case .refused = outcome else {
                Issue.record("\(reference): \(outcome)")
                continue
            }
        }
        // The same, asked by a worker that has no task.
        let known = ["demo", "demo@0", bench.checkpoint.description, "sha256:" + Bench.digest]
        guard case .resolvedModels(let found) = bench.ask(.resolveModels(known + ["demo@7", "demo@999999999999999"])) else { return unexpected() }
        #expect(try found.prefix(4).allSatisfy { try $0.get().checkpoint == bench.checkpoint && $0.get().manifest == Bench.manifest })
        for answer in found.suffix(2) { #expect(throws: ContractError.self) { try answer.get() } }
        let waiting = try bench.submit([bench.item()])[0]
        let other = UUIDValue.version7(milliseconds: bench.now())
        guard case .models(let rows) = bench.ask(.registerModel(Bench.model("demo", checkpoint: other, sha256: Bench.manifest))) else {
            Issue.record("not registered")
            return
        }
        #expect(rows.map(\.checkpoint) == [other])
        let grant = try #require(try bench.claim().grants.first { $0.task == waiting.id })
        #expect(try ResolvedTask.decode(grant.resolved).model?.checkpoint == bench.checkpoint)
    }

    @Test("the same submit sent again changes nothing and gives the same lease, even when the task is done or its model gone") func resent() throws {
        let bench = try Bench()
        var submission = bench.generate()
        submission.key = "k"
        let item = bench.item(submission, lease: .random())
        let first = try bench.submit([item])
        let second = try bench.submit([item])
        #expect(first[0].grant?.lease == second[0].grant?.lease && second[0].state == .running && !second[0].duplicate)
        #expect(try ResolvedTask.decode(try #require(second[0].grant).resolved).model?.checkpoint == bench.checkpoint)
        _ = try bench.complete([bench.completion(try #require(first[0].grant))])
        try bench.connection.execute("DELETE FROM models")
        let third = try bench.submit([item])
        #expect(third[0].state == .succeeded && third[0].grant == nil && !third[0].duplicate)
        #expect(try bench.value("SELECT count(*) FROM hot") == "0")
    }

    @Test("a key names one task: the same params are a duplicate in any spelling, others a conflict") func keys() throws {
        let bench = try Bench()
        var submission = bench.generate()
        submission.key = "once"
        let first = try bench.submit([bench.item(submission)])[0]
        let again = try bench.submit([bench.item(submission)])[0]
        #expect(again.id == first.id && again.duplicate)
        var other = bench.generate(prompt: "Another")
        other.key = "once"
        let innocent = bench.item()
        let outcomes = try bench.outcomes([SubmitGroup(items: [bench.item(other), innocent])])
        guard case .refused(0, let error) = outcomes[0] else {
            Issue.record("\(outcomes)")
            return
        }
        #expect(error.code == .conflict && error.field == "key")
        #expect(try bench.state(innocent.id) == nil)
        other.queue = "elsewhere"
        #expect(try bench.submit([bench.item(other)])[0].duplicate == false)
        let sql = try bench.value("SELECT submit('generate', '{\"prompt\": \"In the\", \"model\": \"demo\"}', key => 'once')")
        #expect(sql == first.id.description)
    }

    @Test("a key twice within one request or one batch is one task") func keysWithin() throws {
        let bench = try Bench()
        var submission = bench.generate()
        submission.key = "twice"
        let tasks = try bench.submit([bench.item(submission), bench.item(submission)])
        #expect(tasks[0].id == tasks[1].id && !tasks[0].duplicate && tasks[1].duplicate)
        submission.key = "batch"
        var different = bench.generate(prompt: "Another")
        different.key = "batch"
        let outcomes = try bench.outcomes([
            SubmitGroup(items: [bench.item(submission)]), SubmitGroup(items: [bench.item(submission)]), SubmitGroup(items: [bench.item(different)]),
        ])
        guard case .accepted(let one) = outcomes[0], case .accepted(let two) = outcomes[1], case .refused(_, let error) = outcomes[2] else {
            Issue.record("\(outcomes)")
            return
        }
        #expect(one[0].id == two[0].id && two[0].duplicate && error.code == .conflict)
    }

    @Test("a batch with a key that an open transaction holds is busy as a whole; alone only the guilty request is, which may wait for it")
    func heldKey() throws {
        let bench = try Bench()
        let other = try Bench.patient(bench.url)
        try other.execute("BEGIN")
        _ = try bench.value("SELECT submit('generate', '{\"model\": \"demo\"}', key => 'held')", on: other)
        var held = bench.generate()
        held.key = "held"
        var free = bench.generate()
        free.key = "free"
        let groups = [held, free].map { SubmitGroup(items: [bench.item($0)]) }
        #expect(bench.ask(.submit(groups)) == .failed(.busy))
        #expect(try bench.value("SELECT count(*) FROM task") == "0")
        #expect(try bench.outcomes([groups[0]]) == [.busy])
        guard case .accepted = try bench.outcomes([groups[1]])[0] else { return unexpected() }
        #expect(bench.ask(.submitPatiently(groups[0], milliseconds: 20)) == .submitted([.busy]))
        try other.execute("ROLLBACK")
        guard case .submitted(let outcomes) = bench.ask(.submitPatiently(groups[0], milliseconds: 1_000)), case .accepted(let tasks) = outcomes[0]
        else { return unexpected() }
        #expect(tasks[0].duplicate == false)
    }

    @Test("a task waits for those of its after, is checked when the last has succeeded, and fails with the first that does not") func after() throws {
        let bench = try Bench()
        let parents = try [bench.running(), bench.running()]
        var child = bench.generate()
        child.after = parents.map(\.task)
        let waiting = try bench.submit([bench.item(child, lease: .random())])[0]
        #expect(waiting.state == .queued)
        #expect(try bench.status(waiting.id).waitingFor == .after)
        _ = try bench.complete([bench.completion(parents[0])])
        #expect(bench.ask(.unchecked(limit: 10)) == .unchecked([], isCut: false))
        guard case .completed(let replies) = bench.ask(.complete([bench.completion(parents[1])])) else { return unexpected() }
        #expect(replies[0].unblocked == 1)
        guard case .unchecked(let unchecked, _) = bench.ask(.unchecked(limit: 10)) else { return unexpected() }
        #expect(unchecked.map(\.id) == [waiting.id] && unchecked[0].seed == 12_345_678)
        let adoption = Adoption.accept(task: waiting.id, parameters: child.parameters, after: child.after, seed: 12_345_678, seedAssigned: true)
        guard case .adopted(let adopted) = bench.ask(.adopt([adoption])) else { return unexpected() }
        #expect(adopted.ready.map(\.task) == [waiting.id])
        #expect(try bench.claim().grants.map(\.task) == [waiting.id])

        let doomed = try bench.running()
        var second = bench.generate()
        second.after = [doomed.task]
        let dependent = try bench.submit([bench.item(second)])[0]
        var third = bench.generate()
        third.after = [dependent.id]
        let grandchild = try bench.submit([bench.item(third)])[0]
        let settled = try bench.settle(.fail([bench.failure(doomed, final: true)]))
        #expect(Set(settled[0].ended.map(\.task)) == [dependent.id, grandchild.id])
        #expect(try bench.status(grandchild.id).error.flatMap { ContractError(json: $0) }?.code == .dependencyFailed)

        var unknown = bench.generate()
        unknown.after = [parents[0].task, .random()]
        guard case .refused(_, let error) = try bench.outcomes([SubmitGroup(items: [bench.item(unknown)])])[0] else { return unexpected() }
        #expect(error.code == .notFound && error.field == "after[1]")
    }

    @Test("two parents that end at once leave no child waiting: the sweep finds it") func afterSweep() throws {
        let bench = try Bench()
        let parents = try [bench.running(), bench.running()]
        var child = bench.generate()
        child.after = parents.map(\.task)
        let waiting = try bench.submit([bench.item(child)])[0]
        // As two brokers would leave it that each saw the other's parent unfinished.
        try bench.connection.execute("CREATE TABLE kept AS SELECT * FROM task_after; DELETE FROM task_after")
        _ = try bench.complete(parents.map { bench.completion($0) })
        try bench.connection.execute("INSERT INTO task_after SELECT * FROM kept")
        _ = try bench.due()
        guard case .unchecked(let unchecked, _) = bench.ask(.unchecked(limit: 10)) else { return unexpected() }
        #expect(unchecked.map(\.id) == [waiting.id])
    }

    @Test("ids made in SQL ascend, and carry the database's time") func uuidOrder() throws {
        let bench = try Bench()
        let rows = try bench.connection.run(Statement("ids", "SELECT uuid_v7() FROM generate_series(1, 2000)"))
        let ids = rows.indices.compactMap { rows.uuid($0, 0) }
        #expect(ids == ids.sorted() && ids.allSatisfy { $0.version == 7 })
        #expect(abs(ids[0].milliseconds - bench.now()) < 60_000)
        let text = try bench.value("SELECT extract(epoch FROM uuid_time('\(ids[0])')) * 1000")
        #expect(text?.hasPrefix(String(ids[0].milliseconds)) == true)
    }

    @Test("tags, priority and times are read back as submitted") func readBack() throws {
        let bench = try Bench()
        var submission = bench.generate(prompt: "quote \" back \\ slash {} , é")
        submission.tags = ["run": "a \"b\"", "n": "1"]
        submission.priority = 7
        submission.timeoutSeconds = 1.5
        submission.maxAttempts = 5
        let at = bench.now() - 5000
        submission.runAt = at
        let task = try bench.submit([bench.item(submission)])[0]
        #expect(task.rank == at - 7 * 60_000)
        let status = try bench.status(task.id)
        #expect(status.priority == 7 && status.runAt == at && status.queue == "default" && status.createdAt == task.id.milliseconds)
        #expect(try JSONValue.parse(status.tags) == ["run": "a \"b\"", "n": "1"])
        #expect(try JSONValue.parse(status.params)["prompt"]?.stringValue == "quote \" back \\ slash {} , é")
        let grant = try #require(try bench.claim().grants.first)
        #expect(grant.timeoutSeconds == 1.5 && grant.maxAttempts == 5)
    }
}
