import Encodings
import TaskProtocol
import TaskStore
import Testing

@Suite("Publishing in SQL") struct PublishingTests {
    /// What a broker does with what it finds unchecked.
    private func adopt(_ bench: Bench) throws -> AdoptReply {
        guard case .unchecked(let tasks, _) = bench.ask(.unchecked(limit: 10_000)) else { throw Bench.Surprise(description: "no list") }
        let adoptions = tasks.map { task -> Adoption in
            do throws(ContractError) {
                let submission = try task.checked()
                return .accept(
                    task: task.id, parameters: submission.parameters, after: submission.after, seed: task.seed ?? submission.parameters.seed,
                    seedAssigned: task.seedAssigned)
            } catch {
                return .reject(task: task.id, error: error)
            }
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
        let other = try Bench.patient(bench.url)
        try other.execute("BEGIN")
        let id = try #require(try bench.value("SELECT submit('generate', '{\"model\": \"demo\"}', key => 'gone')", on: other))
        #expect(bench.ask(.unchecked(limit: 10)) == .unchecked([], isCut: false))
        try other.execute("ROLLBACK")
        #expect(bench.ask(.unchecked(limit: 10)) == .unchecked([], isCut: false))
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
        "what cannot be stored at all is refused",
        arguments: [
            "submit('generate', '[]')", "submit(NULL, '{}')", "submit('generate', NULL)", "submit('generate', to_jsonb(repeat('x', 17000000)))",
            "submit('generate', jsonb_build_object('prompt', repeat('x', 16777216)))", "submit_many('[]')", "submit_many('{}')", "submit_many(NULL)",
            "submit_many('[{\"kind\": \"generate\", \"params\": {\"model\": \"demo\"}}, {\"kind\": \"generate\"}]')", "submit_many('[7]')",
        ]) func refused(_ call: String) throws
    {
        let bench = try Bench()
        #expect(throws: StoreError.self) { try bench.value("SELECT count(*) FROM (SELECT \(call)) x") }
        #expect(try bench.value("SELECT count(*) FROM tasks") == "0")
    }

    /// Members as a client sends them, and as arguments of `submit()` where its types allow that.
    private static let misfits: [(json: String, arguments: String?)] = [
        (#""priority":101"#, "priority => 101"), (#""priority":-2000000000"#, "priority => -2000000000"), (#""priority":1.5"#, nil),
        (#""priority":"high""#, nil), (#""max_attempts":0"#, "max_attempts => 0"), (#""max_attempts":101"#, "max_attempts => 101"),
        (#""timeout_s":0"#, "timeout_s => 0"), (#""timeout_s":-3"#, "timeout_s => -3"), (#""timeout_s":2e9"#, "timeout_s => 2e9"),
        (#""timeout_s":"NaN""#, "timeout_s => 'NaN'"), (#""timeout_s":"Infinity""#, "timeout_s => 'Infinity'"),
        (#""key":"""#, "key => ''"), (#""key":"\#(String(repeating: "k", count: 300))""#, "key => repeat('k', 300)"), (#""key":7"#, nil),
        (#""queue":"no blanks""#, "queue => 'no blanks'"), (#""queue":"""#, "queue => ''"), (#""queue":7"#, nil),
        (#""queue":"01a20b5c-a312-7bd2-b916-b2951bbcfdf9""#, "queue => '01a20b5c-a312-7bd2-b916-b2951bbcfdf9'"),
        (#""run_at":"infinity""#, "run_at => 'infinity'"), (#""run_at":"tomorrow""#, nil), (#""run_at":"2026-02-30T00:00:00Z""#, nil),
        (#""run_at":"2026-11-24T12:00:00+99:99""#, nil), (#""run_at":5"#, nil), (#""tags":{"a":1}"#, #"tags => '{"a":1}'"#),
        (#""tags":[]"#, "tags => '[]'"), (#""tags":{"a":"\#(String(repeating: "t", count: 257))"}"#, nil),
        (#""after":["\#(UUIDValue(hi: 1, lo: 1))",null]"#, "after => ARRAY['\(UUIDValue(hi: 1, lo: 1))', NULL]::uuid[]"),
        (
            #""after":[\#([String](repeating: #""\#(UUIDValue(hi: 1, lo: 1))""#, count: 101).joined(separator: ","))]"#,
            "after => array_fill('\(UUIDValue(hi: 1, lo: 1))'::uuid, ARRAY[101])"
        ), (#""after":["x"]"#, nil), (#""after":"x""#, nil), (#""colour":"red""#, nil),
    ]

    @Test("a task whose members cannot be valid ends failed with the error that a ZeroMQ client gets", arguments: misfits)
    func misfit(_ members: (json: String, arguments: String?)) throws {
        let bench = try Bench()
        let task = #"{"kind":"generate","params":{"model":"demo"},\#(members.json)}"#
        guard case .failure(var expected) = Request.decode(Array(#"{"op":"submit","task":\#(task)}"#.utf8)).operation else { return unexpected() }
        expected.field = expected.field.map { String($0.dropFirst("task.".count)) }
        var ids = [try bench.value("SELECT submit_many('[\(task)]')")]
        if let arguments = members.arguments { ids.append(try bench.value("SELECT submit('generate', '{\"model\": \"demo\"}', \(arguments))")) }
        let ended = try adopt(bench).ended
        #expect(Set(ended.map(\.task.description)) == Set(ids.compactMap { $0 }))
        for end in ended {
            let status = try bench.status(end.task)
            #expect(status.state == .failed && status.error.flatMap { ContractError(json: $0) } == expected, "\(members.json)")
        }
        #expect(try bench.value("SELECT count(*) FROM task_given") == "\(ids.count)" || members.json.contains("01a20b5c"))
        let retry = bench.ask(.retry(try bench.ends(ended.map(\.task))))
        guard case .retried = retry else { return unexpected() }
        #expect(try adopt(bench).ended.count == ids.count, "tried again, it fails again")
    }

    @Test("an id in after that does not exist ends the task as not_found; one that failed ends it as dependency_failed") func badParents() throws {
        let bench = try Bench()
        let doomed = try bench.running()
        let child = try #require(
            try bench.value("SELECT submit('generate', '{\"model\": \"demo\"}', after => ARRAY['\(doomed.task)'::uuid])").flatMap(UUIDValue.init(_:)))
        let orphan = try #require(
            try bench.value(
                "SELECT submit('generate', '{\"model\": \"demo\"}', after => ARRAY['\(doomed.task)', '\(UUIDValue.random())']::uuid[])"
            ).flatMap(UUIDValue.init(_:)))
        #expect(try adopt(bench).ended.map(\.task) == [orphan])
        #expect(
            try bench.status(orphan).error.flatMap { ContractError(json: $0) } == ContractError(.notFound, "there is no such task", field: "after[1]")
        )
        #expect(try bench.status(child).waitingFor == .after)
        _ = try bench.settle(.fail([bench.failure(doomed, final: true)]))
        #expect(try bench.status(child).error.flatMap { ContractError(json: $0) }?.code == .dependencyFailed)
        let late = try #require(
            try bench.value("SELECT submit('generate', '{\"model\": \"demo\"}', after => ARRAY['\(doomed.task)'::uuid])").flatMap(UUIDValue.init(_:)))
        #expect(try adopt(bench).ended.map(\.task) == [late])
    }

    @Test("many tasks are published at once, in order, by keys only once, and all or none") func many() throws {
        let bench = try Bench()
        let tasks = (0..<500).map {
            #"{"kind":"generate","params":{"model":"demo","n":\#(1 + $0 % 7)},"key":"\#($0 % 250 < 200 ? "b\($0 % 7)-\($0)" : "a\($0)")"}"#
        }
        let call =
            "SELECT string_agg(id::text, ',' ORDER BY place) FROM submit_many('[\(tasks.joined(separator: ","))]') WITH ORDINALITY t (id, place)"
        let ids = try #require(try bench.value(call)).split(separator: ",").compactMap { UUIDValue(String($0)) }
        #expect(ids.count == 500 && ids == ids.sorted() && Set(ids).count == 500)
        #expect(try bench.value(call) == ids.map(\.description).joined(separator: ","), "the same keys name the same tasks")
        #expect(try bench.value("SELECT string_agg(key, ',' ORDER BY id) FROM tasks WHERE params -> 'n' = '3'")?.hasPrefix("b2-2,b2-9,") == true)
        #expect(try adopt(bench).ready.count == 500)
        #expect(try bench.claim(slots: 500).grants.map(\.task) == ids)
        let double = #"{"kind":"generate","params":{"model":"demo"},"key":"twice"}"#
        #expect(try bench.value("SELECT count(DISTINCT id) FROM submit_many('[\(double),\(double)]') t (id)") == "1")
        let conflict = #"[{"kind":"generate","params":{"model":"demo"}},{"kind":"generate","params":{"model":"other"},"key":"twice"}]"#
        let error = #expect(throws: StoreError.self) { try bench.value("SELECT count(*) FROM submit_many('\(conflict)')") }
        guard case .refused("23505", _, _)? = error else { return unexpected() }
        #expect(try bench.value("SELECT count(*) FROM tasks") == "501")
    }

    @Test("a key whose task retention has dropped is free again, for both ways to publish") func orphanedKey() throws {
        let bench = try Bench()
        for key in ["sql", "zmq"] {
            try bench.connection.execute("INSERT INTO task_keys (queue, key, task) VALUES ('default', '\(key)', '\(UUIDValue(hi: 0x7000, lo: 1))')")
        }
        let id = try bench.value("SELECT submit('generate', '{\"model\": \"demo\"}', key => 'sql')")
        #expect(try bench.value("SELECT task FROM task_keys WHERE key = 'sql'") == id)
        var submission = bench.generate()
        submission.key = "zmq"
        let task = try bench.submit([bench.item(submission)])[0]
        #expect(!task.duplicate)
        #expect(try bench.value("SELECT task FROM task_keys WHERE key = 'zmq'") == task.id.description)
    }

    @Test("cancelling in SQL what others wait for hands those to the next broker's check, which ends them") func cancelParent() throws {
        let bench = try Bench()
        let parent = try bench.submit([bench.item()])[0]
        var child = bench.generate()
        child.after = [parent.id]
        let waiting = try bench.submit([bench.item(child)])[0]
        #expect(try bench.value("SELECT cancel('\(parent.id)')") == "cancelled")
        #expect(try adopt(bench).ended.map(\.task) == [waiting.id])
        #expect(try bench.status(waiting.id).error.flatMap { ContractError(json: $0) }?.code == .dependencyFailed)
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
        #expect(try adopt(bench) == AdoptReply(ready: [], ended: [], setAside: 1))
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

    @Test("an error never shows a value") func secrecy() throws {
        let bench = try Bench()
        let error = #expect(throws: StoreError.self) { try bench.connection.execute("SELECT 'a secret prompt'::uuid", name: "secret") }
        #expect(error?.description.contains("prompt") == false)
        #expect(error?.description.contains("22P02") == true)
    }
}
