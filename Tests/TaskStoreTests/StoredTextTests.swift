import Encodings
import TaskProtocol
import TaskStore
import Testing

@Suite("Verify tasks are given the texts that they name") struct StoredTextTests {
    private func verify(_ subject: VerifyParameters.Subject, after: [TaskID] = []) -> TaskSubmission {
        let (name, id): (String, UUIDValue) =
            switch subject {
            case .generation(let id): ("generation", id)
            case .task(let id): ("task", id)
            }
        var submission = TaskSubmission(
            parameters: .verify(VerifyParameters(subject: subject)), submittedParams: JSONValue.object([name: .string("\(id)")]).canonical)
        submission.after = after
        return submission
    }

    /// A task as a broker submits it: a verify has no seed.
    private func item(_ bench: Bench, _ submission: TaskSubmission) -> SubmitItem {
        SubmitItem(
            id: bench.newID(), submission: submission, seed: nil, seedAssigned: false,
            grant: GrantOffer(session: bench.session, lease: .random(), broker: bench.broker))
    }

    /// A task with texts, and the texts' ids.
    private func texts(_ bench: Bench, _ count: Int, _ change: (inout Completion) -> Void = { _ in }) throws -> (task: TaskID, ids: [UUIDValue]) {
        let grant = try bench.running()
        var completion = bench.completion(grant, texts: count)
        change(&completion)
        _ = try bench.complete([completion])
        return (grant.task, completion.generationIDs)
    }

    @Test("texts are found whose ids are hours older than their task: the database's clock was set back meanwhile") func clockSetBack() throws {
        let bench = try Bench()
        let (task, ids) = try texts(bench, 2) { completion in
            completion.generationIDs = completion.generationIDs.map { UUIDValue.version7(milliseconds: $0.milliseconds - 3 * 3_600_000) }
        }
        let outcomes = try bench.outcomes([SubmitGroup(items: [item(bench, verify(.task(task)))])])
        guard case .accepted = outcomes[0] else {
            Issue.record("\(outcomes)")
            return
        }
        let result = String(decoding: try bench.status(task).result ?? [], as: UTF8.self)
        #expect(ids.allSatisfy { result.contains($0.description) }, "\(result)")
    }

    @Test("all texts of a task in the order of their samples, with the checkpoint that they were made with") func task() throws {
        let bench = try Bench()
        let (task, ids) = try texts(bench, 3) { completion in
            completion.generations[1].signature = "ed25519:00:11"
            completion.generations[2].schema = Array(#"{"b": 1e-7, "a": "é"}"#.utf8)
        }
        _ = try texts(bench, 1)
        let grant = try #require(try bench.submit([item(bench, verify(.task(task)))])[0].grant)
        let resolved = try ResolvedTask.decode(grant.resolved)
        #expect(
            resolved.texts.map(\.generation) == ids && resolved.model?.checkpoint == bench.checkpoint && resolved.model?.manifest == Bench.manifest)
        let proofs = try resolved.texts.map { try JSONValue.parse($0.proof) }
        #expect(proofs.map { $0["sample"] } == [0, 1, 2])
        #expect(proofs[0]["seed"] == 12_345_678 && proofs[0]["seed_assigned"] == true && proofs[0]["text"] == "In the beginning")
        #expect(proofs[0]["token_ids"] == [3, 4, 5] && proofs[0]["record_sha256"] == .string(Bench.digest) && proofs[0]["signature"] == .null)
        #expect(proofs[0]["params"]?["rng"] == "philox" && proofs[0]["rng"] == "philox" && proofs[0]["mean_logprob"] == -1.5)
        #expect(proofs[1]["signature"] == "ed25519:00:11" && proofs[2]["schema"] == ["a": "é", "b": 1e-7])
        #expect(try bench.value("SELECT params::text FROM tasks WHERE id = '\(grant.task)'")?.contains("seed") == false)
        #expect(try bench.value("SELECT count(*) FROM generations g WHERE proof(g) ->> 'text' = g.text AND proof(g) -> 'params' = g.params") == "4")
    }

    @Test("one text by its id; what is not there is not found, and named") func generation() throws {
        let bench = try Bench()
        let (task, ids) = try texts(bench, 2)
        let grants = try bench.submit([
            item(bench, verify(.generation(ids[1]))), item(bench, verify(.generation(ids[0]))), item(bench, verify(.task(task))),
        ])
        let resolved = try grants.map { try ResolvedTask.decode(#require($0.grant).resolved) }
        #expect(resolved.map { $0.texts.map(\.generation) } == [[ids[1]], [ids[0]], ids])
        let waiting = try bench.running()
        let unknown: [(VerifyParameters.Subject, String)] = [
            (.generation(task), "params.generation"), (.task(ids[0]), "params.task"), (.task(waiting.task), "params.task"),
        ]
        for (subject, field) in unknown {
            let outcome = try bench.outcomes([SubmitGroup(items: [item(bench, verify(subject))], client: "test")])[0]
            guard case .refused(_, let error) = outcome else {
                Issue.record("\(outcome)")
                return
            }
            #expect(error.code == .notFound && error.field == field)
        }
    }

    @Test("proofs that are too much together are not pinned together: one request is told so, several go one by one, and those of SQL in parts")
    func budget() throws {
        let bench = try Bench()
        let (task, _) = try texts(bench, 1) { completion in
            completion.generations[0] = bench.record(0, text: String(repeating: "x", count: 25 << 20))
        }
        func group(_ count: Int) -> SubmitGroup { SubmitGroup(items: (0..<count).map { _ in item(bench, verify(.task(task))) }, client: "test") }
        guard case .refused(2, let error) = try bench.outcomes([group(4)])[0] else { return unexpected() }
        #expect(error.code == .tooLarge && error.message.contains("fewer"))
        for outcome in try bench.outcomes([group(2), group(2)]) {
            guard case .accepted = outcome else { return unexpected() }
        }
        try bench.connection.execute(
            "SELECT scriptorium.submit('verify', jsonb_build_object('task', '\(task)')) FROM generate_series(1, 5)")
        var parts: [Int] = []
        while parts.count < 5 {
            guard case .unchecked(let waiting, _) = bench.ask(.unchecked(limit: 100)), !waiting.isEmpty else { break }
            let adoptions = try waiting.map { task in
                Adoption.accept(task: task.id, parameters: try task.checked().parameters, after: [], seed: nil, seedAssigned: false)
            }
            guard case .adopted(let reply) = bench.ask(.adopt(adoptions)) else { return unexpected() }
            parts.append(reply.ready.count)
        }
        #expect(parts == [2, 2, 1])
    }

    @Test("a task whose proofs are more than one worker is sent is refused before they are read") func oversized() throws {
        let bench = try Bench()
        let (task, ids) = try texts(bench, 3) { completion in
            completion.generations = (0..<3).map { bench.record($0, text: String(repeating: "x", count: 12 << 20)) }
        }
        let submissions = [verify(.task(task)), verify(.generation(ids[0]))].map { item(bench, $0) }
        let outcomes = try bench.outcomes(submissions.map { SubmitGroup(items: [$0], client: "test") })
        guard case .refused(0, let error) = outcomes[0], case .accepted = outcomes[1] else { return unexpected() }
        #expect(error.code == .tooLarge && error.field == "params.task")
    }

    @Test("where the checkpoint is gone another with its digest serves, and without one the task runs all the same") func weights() throws {
        let bench = try Bench()
        let (task, _) = try texts(bench, 1)
        func model() throws -> ResolvedModel? {
            try ResolvedTask.decode(#require(try bench.submit([item(bench, verify(.task(task)))])[0].grant).resolved).model
        }
        let twin = UUIDValue.version7(milliseconds: 1_790_000_000_001)
        _ = bench.ask(.registerModel(Bench.model("twin", checkpoint: twin)))
        #expect(try model()?.checkpoint == bench.checkpoint)
        try bench.connection.execute("DELETE FROM models WHERE name = 'demo'; DELETE FROM checkpoints WHERE id = '\(bench.checkpoint)'")
        #expect(try model()?.checkpoint == twin)
        try bench.connection.execute("DELETE FROM models; DELETE FROM checkpoints")
        #expect(try model() == nil)
    }

    @Test("a verify that waits for the task which it is to prove is given its texts when that has succeeded") func after() throws {
        let bench = try Bench()
        let grant = try bench.running()
        let waiting = try bench.submit([item(bench, verify(.task(grant.task), after: [grant.task]))])[0]
        #expect(waiting.state == .queued)
        let completion = bench.completion(grant, texts: 2)
        _ = try bench.complete([completion])
        guard case .unchecked(let unchecked, _) = bench.ask(.unchecked(limit: 10)) else { return unexpected() }
        let found = try #require(unchecked.first { $0.id == waiting.id })
        let submission = try found.checked()
        #expect(found.seed == nil && submission.parameters == .verify(VerifyParameters(subject: .task(grant.task))))
        let reply = bench.ask(
            .adopt([.accept(task: waiting.id, parameters: submission.parameters, after: submission.after, seed: nil, seedAssigned: false)]))
        guard case .adopted(let adopted) = reply else { return unexpected() }
        #expect(adopted.ready.map(\.task) == [waiting.id])
        let claimed = try #require(try bench.claim().grants.first)
        #expect(try ResolvedTask.decode(claimed.resolved).texts.map(\.generation) == completion.generationIDs)
    }

    @Test("its verdict is the task's result") func result() throws {
        let bench = try Bench()
        let (task, _) = try texts(bench, 1)
        let grant = try #require(try bench.submit([item(bench, verify(.task(task)))])[0].grant)
        var completion = Completion(task: grant.task, lease: grant.lease, attempt: grant.attempt, generations: [], generationIDs: [])
        completion.result = Array(#"{"verified": true, "verdicts": []}"#.utf8)
        _ = try bench.complete([completion])
        let result = try #require(try bench.status(grant.task).result)
        #expect(try JSONValue.parse(result)["verified"] == true)
    }
}
