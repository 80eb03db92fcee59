import DatabaseTestSupport
import Foundation
import TaskStore
import TestSupport
import Testing

/// Files whose statements run outside of a transaction: the product's own files, and some after them.
@Suite("Migrations without a transaction") struct ConcurrentMigrationTests {
    /// A migrated database, and a folder to add files to.
    private struct Place {
        let url: String
        let connection: StoreConnection
        let files: TemporaryDirectory
        let applied: Int

        init() throws {
            url = try TemporaryCluster.shared.database()
            connection = try StoreConnection(url, setup: .migration)
            files = try TemporaryDirectory()
            let folder = files.path
            for name in try FileManager.default.contentsOfDirectory(atPath: MigratorTests.folder) {
                try FileManager.default.copyItem(atPath: MigratorTests.folder + "/" + name, toPath: folder + "/" + name)
            }
            applied = try Migrator(folder: folder).files.count
            try connection.execute("CREATE TABLE scriptorium.probe (id int, word text); INSERT INTO scriptorium.probe VALUES (1, 'a'), (2, 'a')")
        }

        func migrator() throws -> Migrator { try Migrator(folder: files.path) }

        /// Writes the file after the product's.
        @discardableResult
        func write(_ sql: String, concurrently: Bool = true) throws -> String {
            let name = String(format: "%04d_probe.sql", applied + 1)
            try ((concurrently ? "-- scriptorium: concurrently\n" : "") + sql)
                .write(toFile: files.path + "/" + name, atomically: true, encoding: .utf8)
            return name
        }

        func value(_ sql: String) throws -> String? {
            try connection.run(Statement("p\(sql.hashValue)", "SELECT (\(sql))::text")).string(0, 0)
        }

        /// The process that builds an index, once it has waited for others for so long.
        func builder(waitingSeconds seconds: Double = 0) throws -> String {
            var pid: String?
            try eventually {
                pid = try value(
                    """
                    SELECT (SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'
                        AND query LIKE '%INDEX CONCURRENTLY%' AND query_start <= clock_timestamp() - interval '\(seconds) seconds')
                    """)
                return pid != nil
            }
            return try #require(pid)
        }

        func isValid(_ index: String) throws -> String? {
            try value("SELECT (SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass('scriptorium.\(index)'))")
        }
    }

    @Test("each statement runs by itself, outside of a transaction, and the file's row comes at the end") func applied() throws {
        let place = try Place()
        let name = try place.write(
            """
            CREATE INDEX CONCURRENTLY IF NOT EXISTS probe_word ON scriptorium.probe (word);
            /* ; not /* the */ end; */ COMMENT ON INDEX scriptorium.probe_word IS 'it''s; "one" statement';  -- so; is this
            CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS "Probe;id" ON scriptorium.probe (id);
            COMMENT ON INDEX scriptorium."Probe;id" IS E'a\\';b';
            DO $body$ BEGIN PERFORM $$;$$; EXECUTE 'COMMENT ON TABLE scriptorium.probe IS ''done'''; END; $body$;
            """)
        let migrator = try place.migrator()
        #expect(try migrator.run(place.connection, dryRun: true) == [name])
        #expect(try place.isValid("probe_word") == nil, "a dry run changes nothing")
        #expect(try migrator.run(place.connection) == [name])
        #expect(try place.isValid("probe_word") == "true" && place.isValid(#""Probe;id""#) == "true")
        #expect(try place.value("SELECT obj_description('scriptorium.probe_word'::regclass)") == #"it's; "one" statement"#)
        #expect(try place.value(#"SELECT obj_description('scriptorium."Probe;id"'::regclass)"#) == "a';b")
        #expect(try place.value("SELECT obj_description('scriptorium.probe'::regclass)") == "done")
        #expect(try place.value("SELECT sha256 FROM scriptorium.migrations WHERE name = '\(name)'") == migrator.files.last?.checksum)
        #expect(try place.value("SELECT current_setting('lock_timeout')") == "2s")
        #expect(try migrator.run(place.connection).isEmpty)
        try place.write("CREATE INDEX CONCURRENTLY IF NOT EXISTS probe_other ON scriptorium.probe (word)")
        let error = #expect(throws: MigrationError.self) { try place.migrator().run(place.connection) }
        #expect(error == .changed(name: name))
    }

    @Test("an index that a cut run left invalid is dropped and built again, one that is whole is left") func repaired() throws {
        let place = try Place()
        let name = try place.write(
            """
            CREATE INDEX CONCURRENTLY IF NOT EXISTS probe_id ON scriptorium.probe (id);
            CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS probe_word ON scriptorium.probe (word);
            """)
        let migrator = try place.migrator()
        let error = #expect(throws: MigrationError.self) { try migrator.run(place.connection) }
        guard case .failed(name, .refused("23505", _, _)) = error else {
            Issue.record("\(error as Any)")
            return
        }
        #expect(try migrator.status(place.connection).pending == [name])
        #expect(try place.isValid("probe_word") == "false" && place.isValid("probe_id") == "true")
        let whole = try place.value("SELECT 'scriptorium.probe_id'::regclass::oid")
        try place.connection.execute("DELETE FROM scriptorium.probe WHERE id = 2")
        #expect(try migrator.run(place.connection) == [name])
        #expect(try place.isValid("probe_word") == "true")
        #expect(try place.value("SELECT 'scriptorium.probe_id'::regclass::oid") == whole)
        #expect(try place.value("SELECT count(*) FROM pg_index WHERE indrelid = 'scriptorium.probe'::regclass") == "2")
        try migrator.requireCurrent(place.connection)
    }

    @Test("an index waits for open transactions for longer than short locks may, while others ask for the migration lock", .timeLimit(.minutes(2)))
    func waiting() throws {
        let place = try Place()
        let name = try place.write("CREATE INDEX CONCURRENTLY IF NOT EXISTS probe_word ON scriptorium.probe (word)")
        let migrator = try place.migrator()
        let holder = try StoreConnection(place.url, setup: .migration)
        try holder.execute("BEGIN; INSERT INTO scriptorium.probe VALUES (3, 'c')")
        let url = place.url
        let runs = (0..<2).map { _ in BlockingCall { try migrator.run(StoreConnection(url, setup: .migration)) } }
        _ = try place.builder(waitingSeconds: 2.5)
        try holder.execute("COMMIT")
        #expect(try runs.flatMap { try $0.value() } == [name])
        #expect(try place.isValid("probe_word") == "true")
    }

    @Test("a build that was cancelled is taken up by the next run", .timeLimit(.minutes(2))) func cancelled() throws {
        let place = try Place()
        let name = try place.write("CREATE INDEX CONCURRENTLY IF NOT EXISTS probe_word ON scriptorium.probe (word)")
        let migrator = try place.migrator()
        let holder = try StoreConnection(place.url, setup: .migration)
        try holder.execute("BEGIN; INSERT INTO scriptorium.probe VALUES (3, 'c')")
        let url = place.url
        let run = BlockingCall { try migrator.run(StoreConnection(url, setup: .migration)) }
        #expect(try place.value("SELECT pg_cancel_backend(\(place.builder()))") == "true")
        #expect(throws: MigrationError.self) { try run.value() }
        #expect(try place.isValid("probe_word") == "false")
        try holder.execute("COMMIT")
        #expect(try migrator.run(place.connection) == [name])
        #expect(try place.isValid("probe_word") == "true")
    }

    @Test("what cannot be repeated after a cut is refused before anything is applied, as is a first line that says something unknown")
    func refused() throws {
        let place = try Place()
        for (sql, statement) in [
            ("CREATE INDEX CONCURRENTLY probe_word ON scriptorium.probe (word)", 1),
            ("SELECT 1; CREATE UNIQUE INDEX CONCURRENTLY ON scriptorium.probe (word)", 2),
            ("SELECT 1;; -- nothing\n; DROP INDEX CONCURRENTLY scriptorium.probe_word", 2), ("BEGIN; SELECT 1; COMMIT", 1),
        ] {
            let name = try place.write(sql)
            let error = #expect(throws: MigrationError.self) { try place.migrator() }
            #expect(error == .notRepeatable(name: name, statement: statement))
        }
        let name = try place.write("-- scriptorium: concurrent\nSELECT 1", concurrently: false)
        let error = #expect(throws: MigrationError.self) { try place.migrator() }
        #expect(error == .unknownDirective(name: name))
    }
}
