import Encodings
import TaskProtocol
import TaskStore
import Testing

@Suite("Finetunes, models and datasets") struct TrainingTests {
    private func record(_ step: Int) -> CheckpointRecord {
        CheckpointRecord(
            step: step, manifest: Bench.manifest, sha256: Bench.digest, tokenizerSHA256: Bench.manifest, architecture: "gpt2", parameters: 5,
            contextLength: 64, bytes: 10, lineByLine: true, config: Array("{}".utf8), loss: 2.5, averageLoss: 2.75)
    }

    private func commit(_ bench: Bench, _ grant: Grant, step: Int) throws -> (id: CheckpointID, settlement: Settlement) {
        let id = bench.newID()
        let resume = Array("{\"step\":\(step)}".utf8)
        let commit = CheckpointCommit(task: grant.task, lease: grant.lease, attempt: grant.attempt, id: id, record: record(step), resume: resume)
        return (id, try bench.settle(.checkpoint([commit]))[0].settlement)
    }

    private func steps(_ range: ClosedRange<Int>, loss: Double) -> [TrainingStepRecord] {
        range.map { TrainingStepRecord(step: $0, loss: loss, averageLoss: loss, learningRate: 0.001, gradientNorm: 0.5, tokensPerSecond: 1000) }
    }

    @Test("a finetune's checkpoints are filed under its lease; the name moves when it succeeds, and its result names the checkpoint") func success()
        throws
    {
        let bench = try Bench()
        let grant = try bench.running(bench.finetune(output: "tuned"))
        let (checkpoint, settlement) = try commit(bench, grant, step: 1000)
        #expect(settlement == .recorded(.running, nil))
        guard case .models(let before) = bench.ask(.models) else { return unexpected() }
        #expect(before.map(\.name) == ["demo"])
        #expect(bench.ask(.progress([ProgressUpdate(task: grant.task, lease: grant.lease, progress: Array("{\"step\":3}".utf8))])) == .done)
        #expect(try bench.status(grant.task).progress.map { try JSONValue.parse($0) } == ["step": 3])
        var done = Completion(task: grant.task, lease: grant.lease, attempt: 1, result: Array("{\"steps\":1000,\"final_loss\":2.5}".utf8))
        done.modelCheckpoint = checkpoint
        #expect(try bench.complete([done]) == [.recorded(.succeeded, nil)])
        guard case .models(let after) = bench.ask(.models) else { return unexpected() }
        #expect(after.map(\.name) == ["demo", "tuned"] && after[1].checkpoint == checkpoint)
        let result = try JSONValue.parse(try #require(try bench.status(grant.task).result))
        #expect(result["model"]?.stringValue == "tuned" && result["steps"]?.intValue == 1000 && result["final_loss"]?.doubleValue == 2.5)
        #expect(result["checkpoint"]?["uri"]?.stringValue == "sha256:" + Bench.manifest && result["checkpoint"]?["step"]?.intValue == 1000)
        #expect(try bench.value("SELECT parent_id FROM checkpoints WHERE id = '\(checkpoint)'") == bench.checkpoint.description)
        let next = try bench.running(bench.generate("tuned@1000"))
        #expect(try ResolvedTask.decode(next.resolved).model?.checkpoint == checkpoint)
    }

    @Test("an output name that exists is a conflict, unless it is the base's own or overwrite is set") func conflict() throws {
        let bench = try Bench()
        _ = bench.ask(.registerModel(Bench.model("taken", checkpoint: .random())))
        guard case .refused(_, let error) = try bench.outcomes([SubmitGroup(items: [bench.item(bench.finetune(output: "taken"))])])[0] else {
            return unexpected()
        }
        #expect(error.code == .conflict && error.field == "params.output")
        try bench.submit([bench.item(bench.finetune(output: "taken", overwrite: true)), bench.item(bench.finetune(output: "demo"))])
    }

    @Test("an output name taken while the finetune ran fails it, and keeps its checkpoints") func takenMeanwhile() throws {
        let bench = try Bench()
        let grant = try bench.running(bench.finetune(output: "race"))
        let (checkpoint, _) = try commit(bench, grant, step: 10)
        _ = bench.ask(.registerModel(Bench.model("race", checkpoint: .random())))
        var done = Completion(task: grant.task, lease: grant.lease, attempt: 1)
        done.modelCheckpoint = checkpoint
        let settled = try bench.complete([done])
        guard case .recorded(.failed, let error?) = settled[0] else { return unexpected() }
        #expect(error.code == .conflict)
        #expect(try bench.complete([done]) == [.alreadyRecorded(.failed, error)])
        #expect(try bench.state(grant.task) == .failed)
        #expect(try bench.value("SELECT count(*) FROM checkpoints WHERE id = '\(checkpoint)'") == "1")
        #expect(try bench.value("SELECT checkpoint_id <> '\(checkpoint)' FROM models WHERE name = 'race'") == "true")
    }

    @Test("a resumed run replaces the steps after its checkpoint, and goes on from its resume state") func resume() throws {
        let bench = try Bench()
        let grant = try bench.running(bench.finetune(output: "tuned"))
        _ = bench.ask(.trainingSteps([TrainingStepsUpdate(task: grant.task, lease: grant.lease, steps: steps(1...10, loss: 3))]))
        _ = try commit(bench, grant, step: 5)
        _ = bench.ask(.endSession(bench.session))
        _ = bench.ask(.trainingSteps([TrainingStepsUpdate(task: grant.task, lease: grant.lease, steps: steps(11...12, loss: 3))]))
        #expect(try commit(bench, grant, step: 12).settlement == .stale)
        #expect(try bench.value("SELECT count(*) FROM checkpoints WHERE task_id IS NOT NULL") == "1")
        let session = SessionID.random()
        try bench.register(session)
        let next = try #require(try bench.claim(session: session).grants.first)
        #expect(try JSONValue.parse(try #require(next.resume)) == ["step": 5])
        _ = bench.ask(.trainingSteps([TrainingStepsUpdate(task: next.task, lease: next.lease, discardAfter: 5, steps: steps(6...7, loss: 2))]))
        #expect(try bench.value("SELECT string_agg(step || ':' || loss, ',' ORDER BY step) FROM training_steps") == "1:3,2:3,3:3,4:3,5:3,6:2,7:2")
        // A broker that this worker has left wakes up and writes the same attempt's older steps: the newer ones stay.
        _ = bench.ask(.trainingSteps([TrainingStepsUpdate(task: next.task, lease: next.lease, discardAfter: 5, steps: steps(6...6, loss: 2))]))
        #expect(try bench.value("SELECT string_agg(step || ':' || loss, ',' ORDER BY step) FROM training_steps") == "1:3,2:3,3:3,4:3,5:3,6:2,7:2")
    }

    @Test("a state that a broker kept while the database was away from it does not take the place of a later one of the same attempt")
    func lateState() throws {
        let bench = try Bench()
        let grant = try bench.running(bench.finetune(output: "tuned"))
        for step in [100, 1200, 200] { #expect(try commit(bench, grant, step: step).settlement == .recorded(.running, nil)) }
        func saved() throws -> String? { try bench.value("SELECT resume ->> 'step' FROM task_resume") }
        #expect(try saved() == "1200")
        // Of those that come together the last step counts.
        let states = ["{\"step\":1300}", "{\"step\":1250}"].map { Array($0.utf8) }
        let commits = states.map {
            CheckpointCommit(task: grant.task, lease: grant.lease, attempt: grant.attempt, id: bench.newID(), record: nil, resume: $0)
        }
        _ = try bench.settle(.checkpoint(commits))
        #expect(try saved() == "1300")
        // An attempt that found no state begins anew.
        _ = bench.ask(.endSession(bench.session))
        let session = SessionID.random()
        try bench.register(session)
        let next = try #require(try bench.claim(session: session).grants.first)
        _ = try commit(bench, next, step: 7)
        #expect(try saved() == "7")
    }

    @Test("datasets are registered, replaced and named in finetunes; an unknown one is not found") func datasets() throws {
        let bench = try Bench()
        guard case .datasets(let rows) = bench.ask(.registerDataset(DatasetRegistration(name: "bible", manifest: Bench.manifest, bytes: 4_400_000)))
        else { return unexpected() }
        #expect(rows.map(\.name) == ["bible"] && rows[0].uri == "sha256:" + Bench.manifest)
        _ = bench.ask(.registerDataset(DatasetRegistration(name: "bible", manifest: Bench.digest, bytes: 1, lineByLine: true)))
        guard case .datasets(let all) = bench.ask(.datasets) else { return unexpected() }
        #expect(all.map(\.sha256) == [Bench.digest])
        func finetune(_ name: String) -> TaskSubmission {
            var submission = bench.finetune(output: "tuned")
            submission.parameters = .finetune(FinetuneParameters(base: .model("demo"), output: "tuned", dataset: .name(name)))
            return submission
        }
        let grant = try bench.running(finetune("bible"))
        let resolved = try ResolvedTask.decode(grant.resolved)
        #expect(resolved.dataset?.sha256 == Bench.digest && resolved.dataset?.lineByLine == true)
        guard case .refused(_, let error) = try bench.outcomes([SubmitGroup(items: [bench.item(finetune("koran"))])])[0] else { return unexpected() }
        #expect(error.code == .notFound && error.field == "params.dataset.name")
    }

    @Test("several datasets are pinned in their order, the names among them by what is registered") func severalDatasets() throws {
        let bench = try Bench()
        _ = bench.ask(.registerDataset(DatasetRegistration(name: "bible", manifest: Bench.manifest, bytes: 1, lineByLine: true)))
        _ = bench.ask(.registerDataset(DatasetRegistration(name: "rows", manifest: Bench.digest, bytes: 1)))
        func finetune(_ dataset: FinetuneParameters.Dataset) -> TaskSubmission {
            var submission = bench.finetune(output: "tuned")
            submission.parameters = .finetune(FinetuneParameters(base: .model("demo"), output: "tuned", dataset: dataset))
            return submission
        }
        let uri = "sha256:" + String(repeating: "c", count: 64)
        let stages: FinetuneParameters.Dataset = .crossTrain([
            .init(.merge([.init(.name("rows")), .init(.text("a text")), .init(.name("bible"))], equalize: true)),
            .init(.uri(uri), lineByLine: true), .init(.name("bible"), lineByLine: false),
        ])
        let resolved = try ResolvedTask.decode(try bench.running(finetune(stages)).resolved)
        #expect(resolved.dataset == nil && resolved.datasets.map(\.name) == ["rows", "bible", nil, "bible"])
        #expect(resolved.datasets.map(\.sha256) == [Bench.digest, Bench.manifest, String(repeating: "c", count: 64), Bench.manifest])
        guard case .finetune(let parameters) = resolved.parameters else { return unexpected() }
        #expect(parameters.leaves.map(\.lineByLine) == [false, false, true, true, false])
        let unknown = finetune(.merge([.init(.name("rows")), .init(.name("koran"))], equalize: true))
        guard case .refused(_, let error) = try bench.outcomes([SubmitGroup(items: [bench.item(unknown)])])[0] else { return unexpected() }
        #expect(error.code == .notFound && error.field == "params.dataset" && error.message.contains("koran"))
    }

    @Test("a base that is named by its checkpoint is a task's own: its name may be the output") func ownBase() throws {
        let bench = try Bench()
        for base in ["demo", "demo@0", bench.checkpoint.description, "sha256:" + Bench.digest] {
            var submission = bench.finetune(output: "demo")
            submission.parameters = .finetune(FinetuneParameters(base: .model(base), output: "demo", dataset: .text("a text")))
            guard case .accepted = try bench.outcomes([SubmitGroup(items: [bench.item(submission)])])[0] else { return unexpected() }
        }
    }

    @Test(
        "names that are UUIDs or break the rule are refused",
        arguments: [
            "01a20b5c-a312-7bd2-b916-b2951bbcfdf9", "", "-a", "a b", "é", "a/b", String(repeating: "a", count: 101),
        ]) func names(name: String) throws
    {
        let bench = try Bench()
        guard case .refused(let error) = bench.ask(.registerModel(Bench.model(name, checkpoint: .random()))) else { return unexpected() }
        #expect(error.code == .invalidArgument && error.field == "model.name")
        guard case .refused = bench.ask(.registerDataset(DatasetRegistration(name: name, manifest: Bench.manifest, bytes: 1))) else {
            return unexpected()
        }
    }

    @Test("a model imported again under its name keeps one checkpoint") func importedTwice() throws {
        let bench = try Bench()
        guard case .models(let rows) = bench.ask(.registerModel(Bench.model("demo", checkpoint: .random()))) else { return unexpected() }
        #expect(rows.map(\.checkpoint) == [bench.checkpoint])
        #expect(try bench.value("SELECT count(*) FROM checkpoints") == "1")
    }
}
