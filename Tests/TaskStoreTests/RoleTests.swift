import DatabaseTestSupport
import Foundation
import TaskProtocol
import TaskStore
import TestSupport
import Testing

/// Who may do what in the database, asked of PostgreSQL's catalogue, which knows every object, and tried by real logins.
@Suite("Roles of the database", .timeLimit(.minutes(2))) struct RoleTests {
    typealias Login = TemporaryCluster.Login

    /// The relations that the contract names.
    private static let publicRelations = [
        "tasks", "generations", "models", "checkpoints", "datasets", "training_steps", "attempts", "queues", "schedules", "workers", "brokers",
    ]

    private func connection(_ bench: Bench, as login: Login) throws -> StoreConnection {
        try StoreConnection(TemporaryCluster.url(bench.ownerURL, as: login))
    }

    private func list(_ bench: Bench, _ sql: String) throws -> [String] {
        try bench.value("SELECT string_agg(line, E'\\n' ORDER BY line COLLATE \"C\") FROM (\(sql)) lines (line)")?
            .split(separator: "\n").map(String.init) ?? []
    }

    /// What a login may do with the schema's relations, columns of theirs included, as `SELECT tasks`.
    private func rights(_ bench: Bench, _ login: Login, where condition: String = "true") throws -> [String] {
        try list(
            bench,
            """
            SELECT p.name || ' ' || c.relname
            FROM pg_class c, unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'REFERENCES', 'TRIGGER']) p (name)
            WHERE c.relnamespace = 'scriptorium'::regnamespace AND c.relkind NOT IN ('i', 'I', 'c') AND (\(condition))
                AND (has_table_privilege('tests_\(login)', c.oid, p.name)
                    OR p.name IN ('SELECT', 'INSERT', 'UPDATE', 'REFERENCES') AND has_any_column_privilege('tests_\(login)', c.oid, p.name))
            """)
    }

    private func functions(_ bench: Bench, _ login: Login) throws -> [String] {
        try list(
            bench,
            """
            SELECT DISTINCT proname::text FROM pg_proc
            WHERE pronamespace = 'scriptorium'::regnamespace AND has_function_privilege('tests_\(login)', oid, 'EXECUTE')
            """)
    }

    /// A bench whose history has months that a broker made at run time: they must be as closed as the first ones.
    private func makeBench() throws -> Bench {
        let bench = try Bench()
        #expect(try bench.value("SELECT make_partitions(now() + interval '1 year', 1)", on: connection(bench, as: .broker)) != "0")
        return bench
    }

    private func isDenied(_ connection: StoreConnection, _ sql: String) {
        let error = #expect(throws: StoreError.self, "\(sql)") { try connection.execute(sql, name: "denied") }
        // insufficient_privilege
        guard case .refused("42501", _, _)? = error else { return unexpected("\(sql): \(error.map(\.description) ?? "done")") }
    }

    private func unexpected(_ what: String) { Issue.record("not denied: \(what)") }

    @Test("a reader reads the relations of the contract, and that is all that it may") func reader() throws {
        let bench = try makeBench()
        #expect(try rights(bench, .reader) == Self.publicRelations.map { "SELECT \($0)" }.sorted())
        #expect(try functions(bench, .reader) == ["proof", "uuid_floor", "uuid_time"])
        _ = try bench.complete([bench.completion(bench.running())])
        let reader = try connection(bench, as: .reader)
        for relation in Self.publicRelations { try reader.execute("SELECT * FROM \(relation)") }
        #expect(try bench.value("SELECT text IS NOT NULL FROM generations", on: reader) == "true")
        for sql in [
            "SELECT * FROM hot", "SELECT * FROM task", "SELECT * FROM task_keys", "SELECT * FROM sessions", "DELETE FROM generations",
            "UPDATE queues SET paused = true", "INSERT INTO models (name) VALUES ('x')", "TRUNCATE generations",
            "SELECT submit('generate', '{}')", "SELECT cancel(gen_random_uuid())", "SELECT make_partitions(now(), 1)", "CREATE TABLE mine (id int)",
        ] { isDenied(reader, sql) }
    }

    @Test("a publisher submits and cancels through the functions, and neither reads nor writes a table") func publisher() throws {
        let bench = try makeBench()
        #expect(try rights(bench, .publisher) == [])
        #expect(try functions(bench, .publisher) == ["cancel", "submit", "submit_many"])
        let publisher = try connection(bench, as: .publisher)
        let id = try #require(try bench.value("SELECT submit('generate', '{\"model\": \"demo\"}', key => 'k')", on: publisher))
        #expect(try bench.value("SELECT submit('generate', '{\"model\": \"demo\"}', key => 'k')", on: publisher) == id)
        _ = try #require(
            try bench.value(
                "SELECT submit_many('[{\"kind\": \"generate\", \"params\": {\"model\": \"demo\"}, \"after\": [\"\(id)\"]}]')", on: publisher))
        #expect(try bench.value("SELECT cancel('\(id)')", on: publisher) == "cancelled")
        #expect(try bench.value("SELECT string_agg(DISTINCT client, ',') FROM task") == "tests_publisher", "its tasks are its own, for fairness")
        for sql in [
            "SELECT * FROM tasks", "SELECT * FROM generations", "SELECT * FROM hot", "INSERT INTO hot DEFAULT VALUES", "DELETE FROM task",
            "UPDATE queues SET paused = true", "SELECT pause_queue('default')", "SELECT publish(gen_random_uuid(), '{}', 'postgres')",
            "SELECT make_partitions(now(), 1)", "SELECT drop_month('tasks', '2020-01-01', interval '1 day')", "SELECT forget_dropped(1)",
            "CREATE TABLE mine (id int)",
        ] { isDenied(publisher, sql) }
    }

    @Test("who has no role has no right: PUBLIC can do nothing") func stranger() throws {
        let bench = try makeBench()
        #expect(try rights(bench, .stranger) == [] && functions(bench, .stranger) == [])
        let stranger = try connection(bench, as: .stranger)
        for sql in [
            "SELECT * FROM scriptorium.tasks", "SELECT * FROM scriptorium.models", "SELECT * FROM scriptorium.migrations",
            "SELECT scriptorium.cancel(gen_random_uuid())", "SELECT scriptorium.submit('generate', '{}')", "SELECT scriptorium.uuid_v7()",
            "CREATE TABLE scriptorium.mine (id int)",
        ] { isDenied(stranger, sql) }
        // What a later file adds is closed too, although PostgreSQL opens new functions to everybody.
        let files = try TemporaryDirectory()
        for file in try Migrator(folder: MigratorTests.folder).files {
            try FileManager.default.copyItem(atPath: MigratorTests.folder + "/" + file.name, toPath: files.path + "/" + file.name)
        }
        let next = String(format: "%04d_next.sql", try Migrator(folder: files.path).files.count + 1)
        try "CREATE FUNCTION scriptorium.next() RETURNS int LANGUAGE sql RETURN 1; CREATE TABLE scriptorium.next_rows (id int)"
            .write(toFile: files.path + "/" + next, atomically: true, encoding: .utf8)
        #expect(try Migrator(folder: files.path).run(StoreConnection(bench.ownerURL, setup: .migration)) == [next])
        #expect(try rights(bench, .stranger) == [] && functions(bench, .stranger) == [])
    }

    @Test("a broker works on rows: it owns nothing, changes no schema, reads no file and runs no program") func broker() throws {
        let bench = try makeBench()
        #expect(try rights(bench, .broker, where: "c.relispartition") == [], "partitions only through their parents")
        let strong = try rights(bench, .broker).filter { ["TRUNCATE", "REFERENCES", "TRIGGER"].contains($0.split(separator: " ")[0]) }
        #expect(strong == [])
        #expect(try rights(bench, .broker, where: "c.relname = 'migrations'") == ["SELECT migrations"])
        let broker = try connection(bench, as: .broker)
        for sql in [
            "DROP TABLE hot", "ALTER TABLE task ADD COLUMN mine int", "TRUNCATE task", "CREATE TABLE mine (id int)",
            "INSERT INTO migrations DEFAULT VALUES", "DELETE FROM migrations", "DROP SCHEMA scriptorium CASCADE",
            "ALTER FUNCTION cancel(uuid) SECURITY INVOKER", "CREATE ROLE mine", "COPY task TO PROGRAM 'true'", "COPY task FROM '/etc/hostname'",
            "SET ROLE scriptorium_publisher", "SET SESSION AUTHORIZATION postgres", "ALTER SYSTEM SET fsync = off",
        ] { isDenied(broker, sql) }
    }

    @Test("the roles themselves are bare: no attribute, no membership, nothing owned, no right to create") func bare() throws {
        let bench = try makeBench()
        let roles = "ARRAY['scriptorium_reader', 'scriptorium_publisher', 'scriptorium_broker']"
        #expect(
            try list(
                bench,
                "SELECT rolname::text FROM pg_roles WHERE rolname = ANY (\(roles)) AND (rolsuper OR rolcreaterole OR rolcreatedb OR rolbypassrls OR rolreplication)"
            )
                == [])
        #expect(try list(bench, "SELECT roleid::regrole::text FROM pg_auth_members WHERE member::regrole::text = ANY (\(roles))") == [])
        #expect(
            try list(bench, "SELECT classid::regclass::text FROM pg_shdepend WHERE deptype = 'o' AND refobjid::regrole::text = ANY (\(roles))") == [])
        #expect(
            try list(
                bench,
                "SELECT r FROM unnest(\(roles)) r WHERE has_schema_privilege(r, 'scriptorium', 'CREATE') OR has_database_privilege(r, current_database(), 'CREATE')"
            )
                == [])
    }

    @Test("functions that act as the owner are few, and search nothing that their caller could put in the way") func definers() throws {
        let bench = try makeBench()
        let definers = "FROM pg_proc WHERE pronamespace = 'scriptorium'::regnamespace AND prosecdef"
        #expect(try list(bench, "SELECT proname::text \(definers)") == ["cancel", "drop_month", "make_partitions", "submit", "submit_many"])
        #expect(
            try list(
                bench, "SELECT proname::text \(definers) AND NOT 'search_path=pg_catalog, scriptorium, pg_temp' = ANY (coalesce(proconfig, '{}'))")
                == [])
        // Functions in a language that looks names up as it runs are called by those: they are bound the same way.
        #expect(
            try list(
                bench,
                """
                SELECT proname::text FROM pg_proc JOIN pg_language l ON l.oid = prolang
                WHERE pronamespace = 'scriptorium'::regnamespace AND lanname = 'plpgsql'
                    AND NOT coalesce(proconfig, '{}') && ARRAY['search_path=pg_catalog, scriptorium, pg_temp', 'search_path=pg_catalog, pg_temp']
                """) == [])
    }

    @Test("what a publisher puts in the way of names is not found") func shadows() throws {
        let bench = try makeBench()
        let publisher = try connection(bench, as: .publisher)
        try publisher.execute(
            """
            CREATE TEMP TABLE hot (task uuid); CREATE TEMP TABLE task (id uuid); CREATE TEMP TABLE brokers (idle boolean);
            CREATE FUNCTION pg_temp.uuid_v7() RETURNS uuid LANGUAGE sql AS 'SELECT ''00000000-0000-0000-0000-000000000000''::uuid';
            CREATE FUNCTION pg_temp.jsonb_strip_nulls(jsonb) RETURNS jsonb LANGUAGE plpgsql AS 'BEGIN RAISE ''found''; END';
            CREATE FUNCTION pg_temp.octet_length(text) RETURNS integer LANGUAGE plpgsql AS 'BEGIN RAISE ''found''; END';
            SET search_path = pg_temp, scriptorium, pg_catalog
            """)
        let id = try #require(try bench.value("SELECT scriptorium.submit('generate', '{\"model\": \"demo\"}')", on: publisher))
        #expect(try bench.value("SELECT count(*) FROM scriptorium.hot WHERE task = '\(id)'") == "1")
        #expect(try bench.value("SELECT (SELECT count(*) FROM pg_temp.hot) + (SELECT count(*) FROM pg_temp.task)", on: publisher) == "0")
        #expect(try bench.value("SELECT scriptorium.cancel('\(id)')", on: publisher) == "cancelled")
    }

    /// The whole of a broker's work, with the rights of a login that was only granted `scriptorium_broker`.
    private func work(_ bench: Bench) throws {
        let broker = try connection(bench, as: .broker)
        let grant = try bench.running()
        #expect(bench.ask(.complete([bench.completion(grant)]), on: broker) == .completed([SettlementReply(settlement: .recorded(.succeeded, nil))]))
        let cron = ScheduleChange(name: "s", cron: "@hourly", kind: .generate, params: Array(#"{"model":"demo"}"#.utf8), misfire: nil)
        for request in [
            StoreRequest.dueSweep(), .endBackoffs(longestMilliseconds: 1), .figures, .durability, .models, .datasets,
            .get([grant.task], results: true),
            .unchecked(limit: 1), .cancel([grant.task]), .retry([SeenEnd(task: grant.task, attempt: 1, endedAt: 0)]), .states([grant.task]),
            .explain(grant.task), .markIdle(broker: bench.broker, idle: true),
            .leases([bench.session]), .administer(.setSchedule(cron)), .administer(.schedules), .administer(.removeSchedule(name: "s")),
            .administer(.queues), .endSession(bench.session), .endBroker(bench.broker),
            .retain(RetentionPolicy(tasksSeconds: 32 * 86_400, generationsSeconds: 32 * 86_400)),
        ] {
            if case .failed(let why) = bench.ask(request, on: broker) { Issue.record("\(request): \(why)") }
        }
        try StoreSession(broker).makePartitions()
        #expect(try NamedArtifacts.all(broker).count > 0)
        #expect(try bench.value("SELECT count(*) > 0 FROM scriptorium.migrations", on: broker) == "true")
        try broker.execute("LISTEN scriptorium; SELECT pause_queue('default'); SELECT resume_queue('default'); SELECT limit_queue('default', NULL)")
    }

    @Test("a broker needs no more than its role") func brokerWorks() throws { try work(makeBench()) }

    @Test("an owner that is no superuser migrates; brokers then make and drop months of its tables") func ownerWithoutPower() throws {
        // Makes the logins.
        let superuser = try StoreConnection(TemporaryCluster.shared.database(), setup: .migration)
        try superuser.execute(
            "DO $$ BEGIN CREATE ROLE tests_owner LOGIN CREATEROLE; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$")
        let empty = try TemporaryCluster.shared.database(migrated: false)
        try StoreConnection(empty, setup: .migration).execute(
            "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I OWNER TO tests_owner', current_database()); END $$")
        let url = empty + " user=tests_owner"
        try Migrator(folder: MigratorTests.folder).run(StoreConnection(url, setup: .migration))
        let bench = try Bench(ownerURL: url)
        #expect(try bench.value("SELECT usesuper FROM pg_user WHERE usename = current_user") == "false")
        try work(bench)
        let broker = try connection(bench, as: .broker)
        #expect(try bench.value("SELECT make_partitions(now() - interval '6 months', 1)", on: broker) == "6")
        try bench.connection.execute("DELETE FROM retention")
        guard case .retained(let reply) = bench.ask(.retain(RetentionPolicy(tasksSeconds: 32 * 86_400, generationsSeconds: 32 * 86_400)), on: broker)
        else { return unexpected("no reply") }
        #expect(reply.dropped.map(\.history) == [.tasks, .generations])
    }

    @Test("a database whose commits are no promise is refused, and only that") func durability() throws {
        let url = try TemporaryCluster.shared.database()
        let owner = try StoreConnection(url, setup: .migration)
        let name = try #require(try owner.run(Statement("name", "SELECT current_database()::text")).string(0, 0))
        for level in ["on", "local", "remote_write", "remote_apply"] {
            try owner.execute("ALTER DATABASE \(name) SET synchronous_commit = \(level)")
            let connection = try StoreConnection(url)
            #expect(StoreSession(connection).perform(.durability) != .failed(.busy))
        }
        try owner.execute("ALTER DATABASE \(name) SET synchronous_commit = off")
        let error = #expect(throws: StoreError.self) { try StoreConnection(url) }
        #expect(error == .notDurable)
        #expect(error?.description.contains("synchronous_commit") == true)
        // What changes the schema, or only looks, may still come.
        _ = try StoreConnection(url, setup: .migration)
        _ = try StoreConnection(url, setup: .history)
    }
}
