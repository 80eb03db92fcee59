import Encodings
import TaskProtocol
import TaskStore
import Testing

@Suite("Publishing in SQL") struct PublishingTests {
    private func adopt(_ bench: Bench) throws -> AdoptReply {
        guard case .unchecked(let tasks) = bench.ask(.unchecked(limit: 100)) else { throw Bench.Surprise(description: "no list") }
        let adoptions = tasks.map { task -> Adoption in
            guard let params = try? JSONValue.parse(task.params), let model = params["model"]?.stringValue else {
                return .reject(task: task.id, error: ContractError(.invalidArgument, "model is required", field: "params.model"))
            }
            return .accept(task: task.id, parameters: .generate(GenerateParameters(model: model)), seed: task.seed, seedAssigned: task.seedAssigned)
        }
        guard case .adopted(let reply) = bench.ask(.adopt(adoptions)) else { throw Bench.Surprise(description: "not adopted") }
        return reply
    }

    @Test("both forms publish a task that brokers then check, pin and run") func submit() throws {
        let bench = try Bench()
        let first = try bench.value("SELECT submit('generate', '{\"model\": \"demo\", \"prompt\": \"In the\"}')")
        let second = try bench.value(
            """
            SELECT submit(kind => 'generate', params => '{"model": "demo", "seed": 42}', queue => 'default', priority => 5, key => 'k',
                run_at => now() - interval '1 minute', timeout_s => 10, max_attempts => 2, after => NULL, tags => '{"a": "b"}')
            """)
        #expect(try bench.claim().grants.isEmpty, "nothing runs before it is pinned")
        let adopted = try adopt(bench)
        #expect(Set(adopted.ready.map(\.task.description)) == Set([first, second].compactMap { $0 }) && adopted.ended.isEmpty)
        let grants = try bench.claim().grants
        #expect(grants.map(\.task.description) == [second, first])
        #expect(grants[0].timeoutSeconds == 10 && grants[0].maxAttempts == 2)
        let resolved = try grants.map { try ResolvedTask.decode($0.resolved) }
        #expect(resolved[0].seed == 42 && !resolved[0].seedAssigned)
        #expect((10_000_000..<100_000_000).contains(resolved[1].seed) && resolved[1].seedAssigned)
        #expect(try bench.complete(grants.map { bench.completion($0) }) == [.recorded(.succeeded, nil), .recorded(.succeeded, nil)])
        #expect(try bench.value("SELECT string_agg(seed::text || (resolved ->> 'seed'), ',') FROM tasks WHERE key = 'k'") == "4242")
        #expect(try bench.value("SELECT tags ->> 'a' FROM generations WHERE seed = 42") == "b")
        #expect(try bench.value("SELECT bool_and(model = 'demo' AND checkpoint_id = '\(bench.checkpoint)') FROM generations") == "true")
    }

    @Test("a task that cannot be valid, or whose model is unknown, ends failed with the error") func invalid() throws {
        let bench = try Bench()
        let nonsense = try bench.value("SELECT submit('generate', '{}')")
        let unknown = try bench.value("SELECT submit('generate', '{\"model\": \"nobody\"}')")
        let ended = try adopt(bench).ended
        #expect(Set(ended.map(\.task.description)) == Set([nonsense, unknown].compactMap { $0 }))
        #expect(try bench.value("SELECT error ->> 'code' FROM tasks WHERE id = '\(unknown ?? "")'") == "not_found")
        #expect(try bench.value("SELECT error ->> 'field' FROM tasks WHERE id = '\(nonsense ?? "")'") == "params.model")
        #expect(try bench.value("SELECT count(*) FROM attempts") == "0")
    }

    @Test("a task of a transaction that is rolled back was never there") func rolledBack() throws {
        let bench = try Bench()
        let other = try StoreConnection(bench.url)
        try other.execute("BEGIN")
        let id = try #require(try bench.value("SELECT submit('generate', '{\"model\": \"demo\"}', key => 'gone')", on: other))
        #expect(bench.ask(.unchecked(limit: 10)) == .unchecked([]))
        try other.execute("ROLLBACK")
        #expect(bench.ask(.unchecked(limit: 10)) == .unchecked([]))
        #expect(try bench.state(try #require(UUIDValue(id))) == nil)
        #expect(try bench.value("SELECT count(*) FROM task_keys") == "0")
    }

    @Test("a key used for other params raises unique_violation") func keyConflict() throws {
        let bench = try Bench()
        let first = try bench.value("SELECT submit('generate', '{\"model\": \"demo\", \"n\": 1}', key => 'k')")
        #expect(try bench.value("SELECT submit('generate', '{\"n\": 1.0, \"model\": \"demo\", \"stop\": null}', key => 'k')") == first)
        let error = #expect(throws: StoreError.self) { try bench.value("SELECT submit('generate', '{\"model\": \"demo\", \"n\": 2}', key => 'k')") }
        guard case .refused("23505", _, _)? = error else { return unexpected() }
    }

    @Test(
        "arguments out of range are refused",
        arguments: [
            "'generate', '[]'", "'generate', '{}', priority => 101", "'generate', '{}', max_attempts => 0", "'generate', '{}', timeout_s => 0",
            "'generate', '{}', key => ''", "'generate', '{}', tags => '{\"a\": 1}'", "'generate', '{}', tags => '[]'", "'', '{}'",
            "'generate', '{}', run_at => 'infinity'", "'generate', '{}', after => ARRAY['01a20b5c-a312-7bd2-b916-b2951bbcfdf9']::uuid[]",
        ]) func outOfRange(_ call: String) throws
    {
        let bench = try Bench()
        #expect(throws: StoreError.self) { try bench.value("SELECT submit(\(call))") }
        #expect(try bench.value("SELECT count(*) FROM tasks") == "0")
    }

    @Test("cancel answers the state, for waiting, running, ended and unknown tasks") func cancel() throws {
        let bench = try Bench()
        let waiting = try #require(try bench.value("SELECT submit('generate', '{\"model\": \"demo\"}')"))
        let running = try bench.running()
        #expect(try bench.value("SELECT cancel('\(waiting)')") == "cancelled")
        #expect(try bench.value("SELECT cancel('\(waiting)')") == "cancelled")
        #expect(try bench.value("SELECT cancel('\(running.task)')") == "running")
        #expect(try bench.value("SELECT cancel_requested FROM tasks WHERE id = '\(running.task)'") == "true")
        _ = try bench.complete([bench.completion(running)])
        #expect(try bench.value("SELECT cancel('\(running.task)')") == "succeeded")
        #expect(throws: StoreError.self) { try bench.value("SELECT cancel('\(UUIDValue.random())')") }
    }

    @Test("a task published after another waits for it") func after() throws {
        let bench = try Bench()
        let parent = try bench.running()
        let child = try #require(
            try bench.value("SELECT submit('generate', '{\"model\": \"demo\"}', after => ARRAY['\(parent.task)'::uuid])").flatMap(UUIDValue.init(_:)))
        #expect(try bench.status(child).waitingFor == .after)
        _ = try bench.complete([bench.completion(parent)])
        #expect(try adopt(bench).ready.map(\.task) == [child])
    }

    @Test("submit() notifies only while a broker has marked itself idle") func notify() throws {
        let bench = try Bench()
        let listener = try StoreConnection(bench.url)
        try listener.execute("LISTEN scriptorium")
        _ = try bench.value("SELECT submit('generate', '{\"model\": \"demo\"}')")
        #expect(try listener.waitForNotification(milliseconds: 200) == false)
        _ = bench.ask(.markIdle(broker: bench.broker, idle: true))
        _ = try bench.value("SELECT submit('generate', '{\"model\": \"demo\", \"n\": 1}')")
        #expect(try listener.waitForNotification(milliseconds: 5000))
    }

    @Test("readers read all of the contract and write nothing; publishers publish and cancel and see nothing; others have no right") func roles()
        throws
    {
        let bench = try Bench()
        let reader = try StoreConnection(bench.url)
        try reader.execute("SET ROLE scriptorium_reader")
        for relation in [
            "tasks", "generations", "models", "checkpoints", "datasets", "training_steps", "attempts", "queues", "schedules", "workers", "brokers",
        ] {
            try reader.execute("SELECT * FROM scriptorium.\(relation) LIMIT 1")
            for forbidden in ["DELETE FROM scriptorium.\(relation)", "INSERT INTO scriptorium.\(relation) DEFAULT VALUES"] {
                let error = #expect(throws: StoreError.self, "\(forbidden)") { try reader.execute(forbidden) }
                guard case .refused("42501", _, _)? = error else {
                    // A view that could not be written by anybody answers otherwise.
                    guard case .refused("55000", _, _)? = error else { return unexpected() }
                    continue
                }
            }
        }
        for hidden in ["SELECT * FROM scriptorium.hot", "SELECT * FROM scriptorium.task", "SELECT scriptorium.submit('generate', '{}')"] {
            #expect(throws: StoreError.self, "\(hidden)") { try reader.execute(hidden) }
        }
        let publisher = try StoreConnection(bench.url)
        try publisher.execute("SET ROLE scriptorium_publisher")
        let id = try #require(try bench.value("SELECT scriptorium.submit('generate', '{\"model\": \"demo\"}')", on: publisher))
        #expect(try bench.value("SELECT scriptorium.cancel('\(id)')", on: publisher) == "cancelled")
        for hidden in [
            "SELECT * FROM scriptorium.tasks", "DELETE FROM scriptorium.task", "SELECT scriptorium.make_generation_partitions(now(), 1)",
        ] {
            #expect(throws: StoreError.self, "\(hidden)") { try publisher.execute(hidden) }
        }
        try bench.connection.execute("DO $$ BEGIN CREATE ROLE scriptorium_test_nobody; EXCEPTION WHEN duplicate_object THEN NULL; END $$")
        let nobody = try StoreConnection(bench.url)
        try nobody.execute("SET ROLE scriptorium_test_nobody")
        for hidden in ["SELECT * FROM scriptorium.models", "SELECT scriptorium.cancel('\(id)')", "SELECT scriptorium.uuid_v7()"] {
            #expect(throws: StoreError.self, "\(hidden)") { try nobody.execute(hidden) }
        }
        let open = try bench.value(
            """
            SELECT string_agg(proname, ',') FROM pg_proc
            WHERE pronamespace = 'scriptorium'::regnamespace AND (has_function_privilege('public', oid, 'EXECUTE')
                OR prosecdef AND NOT coalesce(proconfig::text, '') LIKE '%search_path=pg_catalog, scriptorium, pg_temp%')
            """)
        #expect(open == nil)
    }

    @Test("a broker needs no more than its role") func brokerRole() throws {
        let bench = try Bench()
        let broker = try StoreConnection(bench.url)
        try broker.execute("SET ROLE scriptorium_broker")
        let item = bench.item(lease: .random())
        guard case .submitted(let outcomes) = bench.ask(.submit([SubmitGroup(items: [item])]), on: broker), case .accepted(let tasks) = outcomes[0],
            let grant = tasks[0].grant
        else { return unexpected() }
        #expect(bench.ask(.complete([bench.completion(grant)]), on: broker) == .completed([SettlementReply(settlement: .recorded(.succeeded, nil))]))
        for request in [
            StoreRequest.dueSweep, .endBackoffs(longestMilliseconds: 1), .figures, .durability, .models, .datasets, .get([grant.task], results: true),
            .unchecked(limit: 1),
        ] {
            if case .failed(let why) = bench.ask(request, on: broker) { Issue.record("\(request): \(why)") }
        }
        try StoreSession(broker).makePartitions()
        #expect(try bench.value("SELECT count(*) > 0 FROM scriptorium.migrations", on: broker) == "true")
    }

    @Test("an error never shows a value") func secrecy() throws {
        let bench = try Bench()
        let error = #expect(throws: StoreError.self) { try bench.connection.execute("SELECT 'a secret prompt'::uuid", name: "secret") }
        #expect(error?.description.contains("prompt") == false)
        #expect(error?.description.contains("22P02") == true)
    }
}
