import Foundation
import Synchronization
import TaskProtocol
import TaskStore
import Testing

/// A database with months of history in it that have long passed.
private struct OldHistory {
    let bench: Bench
    /// `2026-01`, by how many months ago.
    private(set) var names: [Int: String] = [:]

    init(months: [Int]) throws {
        bench = try Bench()
        for ago in months {
            try bench.connection.execute("SELECT make_partitions(date_trunc('month', now()) - interval '\(ago) months', 1)")
            names[ago] = try bench.value("SELECT to_char(date_trunc('month', now() AT TIME ZONE 'UTC') - interval '\(ago) months', 'YYYY-MM')")
        }
    }

    func id(ago: Int) throws -> TaskID {
        let text = try bench.value(
            """
            SELECT overlay(uuid_v7()::text placing
                left(uuid_floor((date_trunc('month', now() AT TIME ZONE 'UTC') - interval '\(ago) months' + interval '3 days') AT TIME ZONE 'UTC')::text, 13)
                from 1)
            """)
        return try #require(text.flatMap { UUIDValue($0) })
    }

    /// A task of a month that ended then, with a row in everything that goes with it.
    @discardableResult
    func ended(ago: Int, state: String = "succeeded", key: String? = nil) throws -> TaskID {
        let task = try id(ago: ago)
        try bench.connection.execute(
            """
            INSERT INTO task (id, created_at, kind, queue, priority, max_attempts, seed_assigned, run_at, key, client, params, resolved)
            VALUES ('\(task)', uuid_time('\(task)'), 'generate', 'default', 0, 3, false, now(), \(key.map { "'\($0)'" } ?? "NULL"), '', '{"model": "demo"}', '{}');
            INSERT INTO outcome (task, created_at, finished_at, attempt, failures, losses, state, lease, started_at, ending)
            VALUES ('\(task)', uuid_time('\(task)'), now(), 2, 1, 0, '\(state)', gen_random_uuid(), now(), '\(state)');
            INSERT INTO tries (task, attempt, lease, started_at, finished_at, outcome)
            VALUES ('\(task)', 1, gen_random_uuid(), now(), now(), 'failed');
            INSERT INTO training_steps (task_id, step) VALUES ('\(task)', 1);
            INSERT INTO resolutions (task, resolved, seed_assigned) VALUES ('\(task)', '{}', false);
            INSERT INTO task_progress (task, progress) VALUES ('\(task)', '{}')
            """)
        if let key { try bench.connection.execute("INSERT INTO task_keys (queue, key, task) VALUES ('default', '\(key)', '\(task)')") }
        return task
    }

    /// A text of a month, of any task.
    func text(of task: TaskID, ago: Int) throws {
        let id = try id(ago: ago)
        try bench.connection.execute(
            """
            INSERT INTO generations (id, task_id, sample, prompt_index, draw, attempt, model, checkpoint_sha256, prompt, text, seed, seed_assigned, rng,
                numerics, params, precision, prompt_token_ids, token_ids, prompt_tokens, completion_tokens, finish_reason, created_at)
            VALUES ('\(id)', '\(task)', 0, 0, 0, 1, 'demo', '', '', 'a text', 1, false, 'philox', 'float32/1', '{}', 'float32', '{}', '{}', 0, 0, 'eos',
                uuid_time('\(id)'))
            """)
    }

    /// A task that waits, of a month.
    func waiting(ago: Int, after: [TaskID] = []) throws -> TaskID {
        let task = try id(ago: ago)
        let list = after.isEmpty ? "NULL" : "'{\(after.map(\.description).joined(separator: ","))}'"
        try bench.connection.execute(
            """
            INSERT INTO task (id, created_at, kind, queue, priority, max_attempts, seed_assigned, run_at, client, params, resolved, after)
            VALUES ('\(task)', uuid_time('\(task)'), 'generate', 'default', 0, 3, false, now(), '', '{"model": "demo"}', '{}', \(list));
            INSERT INTO hot (task, created_at, run_at, rank, queue, client)
            VALUES ('\(task)', uuid_time('\(task)'), now(), 0, 'default', '')
            """)
        return task
    }

    func retain(tasksDays: Int64? = 32, generationsDays: Int64? = nil, on connection: StoreConnection? = nil) throws -> RetentionReply {
        let policy = RetentionPolicy(tasksSeconds: tasksDays.map { $0 * 86_400 }, generationsSeconds: generationsDays.map { $0 * 86_400 })
        let reply = bench.ask(.retain(policy), on: connection)
        guard case .retained(let retained) = reply else { throw Bench.Surprise(description: "\(reply)") }
        return retained
    }

    /// As if the last look had been an hour ago.
    func letTimePass() throws { try bench.connection.execute("UPDATE retention SET looked_at = looked_at - interval '1 hour'") }

    func rows(_ relation: String) throws -> String? { try bench.value("SELECT count(*) FROM \(relation)") }
}

/// What a thread that looks again and again shares with its test.
private final class Looker: Sendable {
    let isToStop = Atomic(false)
    let looks = Atomic(0)
}

@Suite("Retention") struct RetentionTests {
    @Test("without a policy nothing is dropped, and the months ahead are made") func nothing() throws {
        let old = try OldHistory(months: [3])
        try old.ended(ago: 3)
        try old.bench.connection.execute(
            "DO $$ DECLARE t text; BEGIN FOR t IN SELECT inhrelid::regclass FROM pg_inherits WHERE inhparent IN ('task'::regclass, 'outcome'::regclass) AND inhrelid::regclass::text > 'task' || to_char(now(), '_YYYY_MM') LOOP EXECUTE 'DROP TABLE ' || t; END LOOP; END $$"
        )
        let ahead = "SELECT to_regclass('scriptorium.task' || to_char(now() AT TIME ZONE 'UTC' + interval '1 month', '_YYYY_MM')) IS NOT NULL"
        #expect(try old.bench.value(ahead) == "false")
        let reply = try old.retain(tasksDays: nil)
        #expect(reply == RetentionReply())
        #expect(try old.bench.value(ahead) == "true")
        #expect(try old.rows("tasks") == "1")
    }

    @Test("months that ended longer ago go whole: tasks with keys, attempts and training steps; texts and checkpoints stay") func tasks() throws {
        let old = try OldHistory(months: [5, 2])
        let gone = try old.ended(ago: 5, key: "old")
        try old.text(of: gone, ago: 5)
        let kept = try old.ended(ago: 2, key: "new")
        let reply = try old.retain(tasksDays: 100)
        #expect(reply.dropped.map(\.description) == ["tasks of \(old.names[5] ?? "")"])
        #expect(reply.looked && reply.held.isEmpty && reply.busy.isEmpty && !reply.hasMore)
        for relation in ["task", "outcome", "tries", "resolutions", "training_steps", "task_progress", "task_keys", "attempts"] {
            let expected = relation == "attempts" ? "2" : "1"
            #expect(try old.rows(relation) == expected, "\(relation)")
        }
        #expect(try old.rows("generations") == "1" && old.rows("checkpoints") == "1" && old.rows("models") == "1")
        #expect(try old.bench.state(gone) == nil && old.bench.state(kept) == .succeeded)
        var again = old.bench.generate()
        again.key = "old"
        #expect(try old.bench.submit([old.bench.item(again)])[0].duplicate == false)
    }

    @Test("the month that now is, and the last one until it is over for long enough, stay") func young() throws {
        let old = try OldHistory(months: [1])
        try old.ended(ago: 1)
        _ = try old.bench.complete([old.bench.completion(old.bench.running())])
        #expect(try old.retain(tasksDays: 40, generationsDays: 40).dropped.isEmpty)
        #expect(try old.rows("task") == "2" && old.rows("generations") == "1")
    }

    @Test("texts go by themselves; their tasks then show an expired result, and succeeded they stay") func generations() throws {
        let old = try OldHistory(months: [4])
        let task = try old.ended(ago: 4)
        try old.text(of: task, ago: 4)
        #expect(try old.bench.status(task).result.map { String(decoding: $0, as: UTF8.self) }?.contains("a text") == true)
        #expect(try old.retain(tasksDays: nil, generationsDays: 60).dropped.map(\.history) == [.generations])
        let status = try old.bench.status(task)
        #expect(status.state == .succeeded)
        #expect(status.result.map { String(decoding: $0, as: UTF8.self) } == "{\"expired\":true}")
        #expect(try old.rows("generations") == "0" && old.rows("task") == "1")
    }

    @Test("a month with a task that waits or runs is held back until that ends", arguments: [false, true]) func unfinished(runs: Bool) throws {
        let old = try OldHistory(months: [5, 4])
        try old.ended(ago: 5)
        try old.ended(ago: 4)
        let task = try old.waiting(ago: 5)
        let grant = runs ? try old.bench.claim().grants.first : nil
        let reply = try old.retain()
        #expect(reply.dropped.map(\.description) == ["tasks of \(old.names[4] ?? "")"])
        #expect(reply.held.map(\.task) == [task] && reply.held[0].state == (runs ? "running" : "queued"))
        #expect(reply.held[0].reason.contains("\(task)"))
        #expect(try old.bench.connection.heldMonths() == reply.held)
        if let grant {
            #expect(try old.bench.complete([old.bench.completion(grant)]) == [.recorded(.succeeded, nil)])
        } else {
            guard case .cancelled = old.bench.ask(.cancel([task])) else { return unexpected() }
        }
        try old.letTimePass()
        #expect(try old.retain().dropped.map(\.description) == ["tasks of \(old.names[5] ?? "")"])
        #expect(try old.rows("tasks") == "0")
    }

    @Test("a month is held back by a waiting task that names one of its tasks in its after, whether or not that has succeeded") func named() throws {
        let old = try OldHistory(months: [5])
        let parent = try old.ended(ago: 5)
        try old.text(of: parent, ago: 5)
        let child = try old.waiting(ago: 0, after: [parent])
        let reply = try old.retain(generationsDays: 32)
        #expect(reply.dropped.isEmpty)
        #expect(reply.held.map(\.month.history) == [.tasks, .generations])
        #expect(reply.held.allSatisfy { $0.task == parent && $0.child == child && $0.state == nil })
        #expect(reply.held[0].reason.contains("\(child)"))
        // The function that drops looks by itself, too.
        let sql = "SELECT drop_month('tasks', '\(old.names[5] ?? "")-01', interval '32 days')"
        #expect(try old.bench.value(sql) == "held")
        guard case .cancelled = old.bench.ask(.cancel([child])) else { return unexpected() }
        try old.letTimePass()
        #expect(try old.retain(generationsDays: 32).dropped.count == 2)
    }

    @Test("a month that is not over for long enough is never dropped, whoever asks") func refusals() throws {
        let old = try OldHistory(months: [2])
        let broker = try StoreConnection(old.bench.url)
        for (month, keep) in [
            ("date_trunc('month', now())::date", "1 hour"), ("date_trunc('month', now() - interval '2 months')::date", "100 days"),
            ("date_trunc('month', now() - interval '2 months')::date", "-1 hour"),
            ("date_trunc('month', now() - interval '2 months')::date + 1", "1 hour"),
        ] {
            let error = #expect(throws: StoreError.self) { try old.bench.value("SELECT drop_month('tasks', \(month), '\(keep)')", on: broker) }
            #expect(error == .refused(sqlstate: "22023", statement: error.map(Self.statement) ?? "", object: nil))
        }
        #expect(throws: StoreError.self) { try old.bench.value("SELECT drop_month('hot', '2020-01-01', '1 hour')", on: broker) }
        #expect(throws: StoreError.self) { try broker.execute("DROP TABLE task_\((old.names[2] ?? "").replacingOccurrences(of: "-", with: "_"))") }
    }

    private static func statement(_ error: StoreError) -> String {
        if case .refused(_, let statement, _) = error { statement } else { "" }
    }

    @Test("behind a reader with an open transaction a month is busy, nobody waits for long, and a later look drops it", .timeLimit(.minutes(1)))
    func reader() throws {
        let old = try OldHistory(months: [5])
        try old.ended(ago: 5)
        let reader = try Bench.patient(old.bench.ownerURL)
        try reader.execute("BEGIN; SELECT count(*) FROM scriptorium.tasks")
        let reply = try old.retain()
        #expect(reply.dropped.isEmpty && reply.busy.map(\.description) == ["tasks of \(old.names[5] ?? "")"])
        #expect(try old.rows("retention") == "0", "the next look need not wait")
        // All locks are given back: others write.
        try old.bench.submit([old.bench.item()])
        try reader.execute("COMMIT")
        #expect(try old.retain().dropped.count == 1)
    }

    @Test("a month that the database refuses to drop is named with the reason, the others go, and no look repeats it at once") func refused() throws {
        let old = try OldHistory(months: [5, 4])
        try old.ended(ago: 5)
        try old.ended(ago: 4)
        let partition = "task_\((old.names[5] ?? "").replacingOccurrences(of: "-", with: "_"))"
        try old.bench.connection.execute("CREATE VIEW public.report AS SELECT id FROM scriptorium.\(partition)")
        let reply = try old.retain()
        #expect(reply.dropped.map(\.description) == ["tasks of \(old.names[4] ?? "")"])
        #expect(reply.refused.map(\.month.description) == ["tasks of \(old.names[5] ?? "")"] && reply.busy.isEmpty)
        // dependent_objects_still_exist
        #expect(reply.refused.first?.reason.contains("2BP01") == true)
        #expect(try old.rows("task") == "1", "half a month never goes")
        #expect(try old.rows("outcome") == "1" && old.rows("tries") == "1")
        #expect(try old.retain().looked == false)
        try old.bench.connection.execute("DROP VIEW public.report")
        try old.letTimePass()
        #expect(try old.retain().dropped.count == 1)
    }

    @Test("while a reader keeps a month, the look ends with it: whoever waits behind it waits once") func endsWithBusy() throws {
        let old = try OldHistory(months: [6, 5, 4])
        for ago in [6, 5, 4] { try old.ended(ago: ago) }
        let reader = try Bench.patient(old.bench.ownerURL)
        try reader.execute("BEGIN; SELECT count(*) FROM scriptorium.tasks")
        #expect(try old.retain().busy.map(\.description) == ["tasks of \(old.names[6] ?? "")"])
        try reader.execute("ROLLBACK")
        #expect(try old.retain().dropped.count == 3)
    }

    @Test("while months cannot be dropped behind a reader, tasks are still published, claimed and completed", .timeLimit(.minutes(3)))
    func claims() async throws {
        let old = try OldHistory(months: [5])
        try old.ended(ago: 5)
        let reader = try Bench.patient(old.bench.ownerURL)
        try reader.execute("BEGIN; SELECT count(*) FROM scriptorium.tasks")
        let url = old.bench.url
        let looker = Looker()
        async let ended: Void = withCheckedContinuation { continuation in
            Thread.detachNewThread {
                defer { continuation.resume() }
                guard let connection = try? StoreConnection(url) else { return }
                while !looker.isToStop.load(ordering: .acquiring) {
                    let reply = StoreSession(connection).perform(.retain(RetentionPolicy(tasksSeconds: 32 * 86_400)))
                    if case .retained(let retained) = reply, retained.busy.count == 1 { looker.looks.add(1, ordering: .releasing) }
                }
            }
        }
        // Every statement gets its locks between two tries: none runs into its own bound of five seconds.
        var tasks = 0
        let deadline = ContinuousClock.now + .seconds(120)
        while tasks < 20 || looker.looks.load(ordering: .acquiring) < 2, ContinuousClock.now < deadline {
            let grant = try old.bench.running()
            #expect(try old.bench.complete([old.bench.completion(grant)]) == [.recorded(.succeeded, nil)])
            tasks += 1
        }
        #expect(looker.looks.load(ordering: .acquiring) >= 2, "the reader kept its month")
        looker.isToStop.store(true, ordering: .releasing)
        await ended
        try reader.execute("ROLLBACK")
        #expect(try old.retain().dropped.count == 1)
        #expect(try old.rows("task") == "\(tasks)" && old.rows("generations") == "\(tasks)")
    }

    @Test("of several brokers one acts, and after it none for some minutes", .timeLimit(.minutes(1))) func election() async throws {
        let old = try OldHistory(months: [5])
        try old.ended(ago: 5)
        let holder = try StoreConnection(old.bench.url)
        _ = try old.bench.value("SELECT pg_advisory_lock(hashtextextended('scriptorium.retention', 0))", on: holder)
        #expect(try old.retain() == RetentionReply(), "another one acts")
        _ = try old.bench.value("SELECT pg_advisory_unlock(hashtextextended('scriptorium.retention', 0))", on: holder)
        let url = old.bench.url
        let dropped = try await withThrowingTaskGroup(of: Int.self) { group in
            for _ in 0..<4 {
                group.addTask {
                    try await withCheckedThrowingContinuation { continuation in
                        Thread.detachNewThread {
                            continuation.resume(
                                with: Result {
                                    let reply = StoreSession(try StoreConnection(url)).perform(.retain(RetentionPolicy(tasksSeconds: 32 * 86_400)))
                                    guard case .retained(let retained) = reply else { throw Bench.Surprise(description: "\(reply)") }
                                    return retained.dropped.count
                                })
                        }
                    }
                }
            }
            return try await group.reduce(0, +)
        }
        #expect(dropped == 1)
        #expect(try old.retain().looked == false)
        #expect(try old.retain(tasksDays: 33).looked, "another policy is another matter")
    }

    @Test("a task that comes to name a month while it is about to go either holds it or is told that its task is gone", .timeLimit(.minutes(1)))
    func race() throws {
        let old = try OldHistory(months: [5])
        let parent = try old.ended(ago: 5)
        let publisher = try Bench.patient(old.bench.url)
        try publisher.execute("BEGIN")
        let sql = "SELECT submit('generate', '{\"model\": \"demo\"}', after => ARRAY['\(parent)']::uuid[])"
        let child = try #require(try old.bench.value(sql, on: publisher))
        #expect(try old.retain().busy.count == 1, "its transaction has read the month")
        try publisher.execute("COMMIT")
        let reply = try old.retain()
        #expect(reply.held.map { $0.child?.description } == [child] && reply.dropped.isEmpty)
    }

    @Test("keys of dropped months go by portions, those of a month that stands stay") func keys() throws {
        let old = try OldHistory(months: [6, 5, 4])
        for ago in [6, 4] { try old.ended(ago: ago, key: "k\(ago)") }
        let held = try old.waiting(ago: 5)
        try old.bench.connection.execute("INSERT INTO task_keys (queue, key, task) VALUES ('default', 'held', '\(held)')")
        #expect(try old.retain().dropped.count == 2)
        #expect(try old.bench.value("SELECT string_agg(key, ',') FROM task_keys") == "held")
        try old.bench.connection.execute(
            """
            INSERT INTO task_keys (queue, key, task)
            SELECT 'default', 'n' || n, overlay(uuid_v7()::text placing left('\(old.id(ago: 6))', 13) from 1)::uuid FROM generate_series(1, 5) n
            """)
        #expect(try old.bench.value("SELECT forget_dropped(3)") == "3")
        #expect(try old.bench.value("SELECT forget_dropped(3)") == "2")
        #expect(try old.bench.value("SELECT forget_dropped(3)") == "0")
        #expect(try old.bench.value("SELECT string_agg(key, ',') FROM task_keys") == "held")
    }
}
