import Encodings
import Synchronization
import TaskProtocol
import TaskStore
import Testing

@Suite("Artifacts that rows name") struct ArtifactTests {
    private func digest(_ number: Int) -> String {
        let digits = String(number, radix: 16)
        return String(repeating: "e", count: 64 - digits.count) + digits
    }

    private func finetune(_ bench: Bench, output: String, dataset: FinetuneParameters.Dataset, json: JSONValue) -> TaskSubmission {
        let parameters = FinetuneParameters(base: .model("demo"), output: output, dataset: dataset)
        let params: JSONObject = ["dataset": json, "model": "demo", "output": .string(output)]
        return TaskSubmission(parameters: .finetune(parameters), submittedParams: JSONValue.object(params).canonical)
    }

    private func byURI(_ bench: Bench, _ number: Int, output: String) -> TaskSubmission {
        let uri = "sha256:" + digest(number)
        return finetune(bench, output: output, dataset: .uri(uri), json: .object(["uri": .string(uri)]))
    }

    @Test("checkpoints, datasets, schedules, finetunes of any state, waiting generates and resume states name artifacts; nothing else does")
    func named()
        throws
    {
        let bench = try Bench()
        let lone = ContractError(.internalError, "x")
        // Datasets, and a finetune that waits, one that was pinned to a dataset whose name moved on, one that failed, one that succeeded.
        func dataset(_ number: Int) -> StoreReply {
            bench.ask(.registerDataset(DatasetRegistration(name: "d", manifest: digest(number), bytes: 1)))
        }
        guard case .datasets = dataset(1) else { return unexpected() }
        try bench.submit([bench.item(finetune(bench, output: "a", dataset: .name("d"), json: .object(["name": "d"])))])
        guard case .datasets = dataset(2) else { return unexpected() }
        let failed = try bench.running(byURI(bench, 3, output: "b"))
        let saved = Array("{\"manifest\":\"\(digest(4))\",\"step\":1}".utf8)
        _ = try bench.settle(
            .checkpoint([CheckpointCommit(task: failed.task, lease: failed.lease, attempt: 1, id: bench.newID(), record: nil, resume: saved)]))
        _ = try bench.settle(
            .fail([Failure(task: failed.task, lease: failed.lease, attempt: 1, error: lone, cause: .failed, final: true, delayMilliseconds: 0)]))
        let done = try bench.running(byURI(bench, 5, output: "c"))
        let useless = Array("{\"manifest\":\"\(digest(6))\",\"step\":1}".utf8)
        _ = try bench.settle(
            .checkpoint([CheckpointCommit(task: done.task, lease: done.lease, attempt: 1, id: bench.newID(), record: nil, resume: useless)]))
        _ = try bench.complete([Completion(task: done.task, lease: done.lease, attempt: 1, result: nil)])
        // One that came by SQL and was pinned later, and a schedule.
        let uri = "sha256:" + digest(7).uppercased().replacing("SHA256", with: "sha256")
        _ = try bench.value("SELECT submit('finetune', '{\"output\": \"s\", \"model\": \"demo\", \"dataset\": {\"uri\": \"\(uri)\"}}')")
        try bench.connection.execute(
            "INSERT INTO schedules (name, cron, kind, params) VALUES ('n', '* * * * *', 'finetune', '{\"u\": \"\(digest(8))\"}')")
        // A prompt of a finished generate names nothing; that of a waiting one may.
        let finished = try bench.running(bench.generate(prompt: digest(9)))
        _ = try bench.complete([bench.completion(finished)])
        try bench.submit([bench.item(bench.generate(prompt: digest(10)))])
        let found = try NamedArtifacts.all(try StoreConnection(bench.url, setup: .migration))
        let expected = Set([1, 2, 3, 4, 5, 7, 8, 10].map(digest) + [Bench.manifest])
        #expect(found.subtracting([Bench.digest]) == expected)
        #expect(try NamedArtifacts.all(bench.connection) == found, "brokers' settings read the same")
    }

    @Test("a task is pinned to a dataset only while the store holds it; each is asked about once a task, and models never") func pinning() throws {
        let bench = try Bench()
        let asked = Mutex<[String]>([])
        let standing = Mutex<ArtifactStanding>(.present)
        let store = StoreSession(
            bench.connection,
            artifacts: { sha256 in
                asked.withLock { $0.append(sha256) }
                return standing.withLock { $0 }
            })
        func submit(_ items: [SubmitItem]) -> [SubmitOutcome] {
            guard case .submitted(let outcomes) = store.perform(.submit(items.map { SubmitGroup(items: [$0]) })) else { return [] }
            return outcomes
        }
        #expect(submit([bench.item(), bench.item(byURI(bench, 1, output: "a"))]).count == 2)
        #expect(asked.withLock { $0 } == [digest(1)])
        standing.withLock { $0 = .missing }
        let outcomes = submit([bench.item(), bench.item(byURI(bench, 2, output: "b")), bench.item()])
        guard case .accepted = outcomes[0], case .refused(0, let error) = outcomes[1], case .accepted = outcomes[2] else { return unexpected() }
        #expect(error.code == .notFound && error.field == "params.dataset.uri")
        standing.withLock { $0 = .unreachable }
        guard case .refused(0, let away)? = submit([bench.item(byURI(bench, 3, output: "c"))]).first else { return unexpected() }
        #expect(away.code == .unavailable)
        // What was stored by an earlier sending stays accepted, whatever became of its dataset.
        standing.withLock { $0 = .present }
        let item = bench.item(byURI(bench, 4, output: "d"))
        guard case .accepted? = submit([item]).first else { return unexpected() }
        standing.withLock { $0 = .missing }
        guard case .accepted(let again)? = submit([item]).first else { return unexpected() }
        #expect(again[0].id == item.id)
    }

    @Test("a dataset by web address is pinned to the digest of what was fetched; until then, and where it may not be, nothing is accepted")
    func pinningAddresses() throws {
        let bench = try Bench()
        let address = "https://data.example/corpus.txt"
        let standing = Mutex<ArtifactStanding>(.fetching)
        let store = StoreSession(bench.connection, artifacts: { $0 == address ? standing.withLock { $0 } : .missing })
        let task = finetune(bench, output: "a", dataset: .uri(address), json: ["uri": .string(address)])
        func submit() -> SubmitOutcome? {
            guard case .submitted(let outcomes) = store.perform(.submit([SubmitGroup(items: [bench.item(task)])])) else { return nil }
            return outcomes.first
        }
        guard case .refused(0, let waiting)? = submit() else { return unexpected() }
        #expect(waiting.code == .busy && waiting.field == "params.dataset.uri")
        standing.withLock { $0 = .refused("not here") }
        guard case .refused(0, let refused)? = submit() else { return unexpected() }
        #expect(refused.code == .invalidArgument && refused.message == "not here")
        standing.withLock { $0 = .fetched(sha256: digest(6)) }
        guard case .accepted(let accepted)? = submit() else { return unexpected() }
        let pinned = try bench.value("SELECT resolved->'dataset'->>'sha256' FROM tasks WHERE id = '\(accepted[0].id)'")
        #expect(pinned == digest(6))
    }

    @Test("of merged datasets each is asked about, and one that is missing refuses the task") func pinningMerged() throws {
        let bench = try Bench()
        let store = StoreSession(bench.connection, artifacts: { [missing = digest(2)] in $0 == missing ? .missing : .present })
        func submit(_ numbers: [Int], output: String) -> SubmitOutcome? {
            let uris = numbers.map { "sha256:" + digest($0) }
            let task = finetune(
                bench, output: output, dataset: .merge([.init(.text("a text"))] + uris.map { .init(.uri($0)) }, equalize: false),
                json: .object(["merge": .array([.object(["text": "a text"])] + uris.map { .object(["uri": .string($0)]) })]))
            guard case .submitted(let outcomes) = store.perform(.submit([SubmitGroup(items: [bench.item(task)])])) else { return nil }
            return outcomes.first
        }
        guard case .accepted? = submit([1, 3], output: "a") else { return unexpected() }
        guard case .refused(0, let error)? = submit([1, 2], output: "b") else { return unexpected() }
        #expect(error.code == .notFound && error.field == "params.dataset")
    }

    @Test("a task from SQL waits while the store cannot be looked into, and ends where its dataset is missing") func adopting() throws {
        let bench = try Bench()
        let standing = Mutex<ArtifactStanding>(.unreachable)
        let store = StoreSession(bench.connection, artifacts: { _ in standing.withLock { $0 } })
        let submission = byURI(bench, 1, output: "a")
        let params = String(decoding: submission.submittedParams, as: UTF8.self)
        let id = try #require(try bench.value("SELECT submit('finetune', '\(params)')").flatMap(UUIDValue.init(_:)))
        let accept = StoreRequest.adopt([.accept(task: id, parameters: submission.parameters, seed: 1, seedAssigned: true)])
        #expect(store.perform(accept) == .adopted(AdoptReply(ready: [], ended: [])))
        guard case .unchecked(let waiting, _) = store.perform(.unchecked(limit: 10)) else { return unexpected() }
        #expect(waiting.map(\.id) == [id])
        standing.withLock { $0 = .fetching }
        #expect(store.perform(accept) == .adopted(AdoptReply(ready: [], ended: [])))
        standing.withLock { $0 = .missing }
        guard case .adopted(let reply) = store.perform(accept) else { return unexpected() }
        #expect(reply.ended.map(\.state) == [.failed] && reply.ended[0].error?.code == .notFound)
    }
}
