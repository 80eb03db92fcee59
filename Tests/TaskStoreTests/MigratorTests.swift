import DatabaseTestSupport
import Foundation
import TaskStore
import TestSupport
import Testing

@Suite("Migrations") struct MigratorTests {
    static let folder = Fixtures.root + "/migrations"

    private func empty() throws -> StoreConnection { try StoreConnection(TemporaryCluster.shared.database(migrated: false), setup: .migration) }

    private func copy() throws -> TemporaryDirectory {
        let copy = try TemporaryDirectory()
        for name in try FileManager.default.contentsOfDirectory(atPath: Self.folder) {
            try FileManager.default.copyItem(atPath: Self.folder + "/" + name, toPath: copy.path + "/" + name)
        }
        return copy
    }

    @Test("files are applied once each, and a second run applies nothing") func twice() throws {
        let migrator = try Migrator(folder: Self.folder)
        let connection = try empty()
        #expect(try migrator.status(connection).applied.isEmpty)
        #expect(try migrator.run(connection, dryRun: true).count == migrator.files.count)
        #expect(try migrator.status(connection).applied.isEmpty, "a dry run changes nothing")
        #expect(try migrator.run(connection) == migrator.files.map(\.name))
        #expect(try migrator.run(connection).isEmpty)
        #expect(try migrator.status(connection).pending.isEmpty)
        try migrator.requireCurrent(connection)
    }

    @Test("a file changed after it was applied is an error that names it") func changed() throws {
        let files = try copy()
        let connection = try empty()
        try Migrator(folder: files.path).run(connection)
        let name = try Migrator(folder: files.path).files[1].name
        let path = files.path + "/" + name
        try (String(contentsOfFile: path, encoding: .utf8) + "\n-- later\n").write(toFile: path, atomically: true, encoding: .utf8)
        let error = #expect(throws: MigrationError.self) { try Migrator(folder: files.path).run(connection) }
        #expect(error == .changed(name: name))
    }

    @Test("a database newer than the files is refused, an older one named to the broker") func versions() throws {
        let files = try copy()
        let connection = try empty()
        let all = try Migrator(folder: files.path)
        try all.run(connection)
        let last = all.files[all.files.count - 1].name
        try FileManager.default.removeItem(atPath: files.path + "/" + last)
        let fewer = try Migrator(folder: files.path)
        let error = #expect(throws: MigrationError.self) { try fewer.run(connection) }
        #expect(error == .databaseNewer(database: all.files.count, files: fewer.files.count))
        let fresh = try empty()
        try fewer.run(fresh)
        let older = #expect(throws: MigrationError.self) { try all.requireCurrent(fresh) }
        #expect(older == .databaseOlder(database: fewer.files.count, files: all.files.count))
    }

    @Test("a file that fails leaves the version before it") func failing() throws {
        let files = try copy()
        let connection = try empty()
        let count = try Migrator(folder: files.path).files.count
        let name = String(format: "%04d_broken.sql", count + 1)
        try "CREATE TABLE scriptorium.half (id int); SELECT 1 / 0;".write(toFile: files.path + "/" + name, atomically: true, encoding: .utf8)
        let migrator = try Migrator(folder: files.path)
        #expect(throws: MigrationError.self) { try migrator.run(connection) }
        #expect(try migrator.status(connection).pending == [name])
        #expect(try connection.run(Statement("half", "SELECT to_regclass('scriptorium.half') IS NULL")).bool(0, 0))
    }

    @Test("several migrators at once apply each file once") func concurrent() async throws {
        let url = try TemporaryCluster.shared.database(migrated: false)
        let applied = try await withThrowingTaskGroup(of: Int.self) { group in
            for _ in 0..<4 {
                group.addTask {
                    try await withCheckedThrowingContinuation { continuation in
                        Thread.detachNewThread {
                            continuation.resume(
                                with: Result { try Migrator(folder: Self.folder).run(StoreConnection(url, setup: .migration)).count })
                        }
                    }
                }
            }
            return try await group.reduce(0, +)
        }
        #expect(try applied == Migrator(folder: Self.folder).files.count)
    }

    @Test("every table, view and column says what it is") func comments() throws {
        let connection = try StoreConnection(TemporaryCluster.shared.database())
        let silent = try connection.run(
            Statement(
                "silent",
                """
                SELECT c.relname || coalesce('.' || a.attname, '')
                FROM pg_class c LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
                WHERE c.relnamespace = 'scriptorium'::regnamespace AND c.relkind IN ('r', 'p', 'v')
                    AND (col_description(c.oid, a.attnum) IS NULL OR obj_description(c.oid, 'pg_class') IS NULL)
                """))
        #expect(silent.indices.compactMap { silent.string($0, 0) } == [])
    }

    @Test("the folder is found by name, by environment and beside the sources") func located() throws {
        #expect(try Migrator.locate(named: Self.folder, environment: [:], executable: "/x/y") == Self.folder)
        #expect(try Migrator.locate(named: nil, environment: ["SCRIPTORIUM_MIGRATIONS": Self.folder], executable: "/x/y") == Self.folder)
        #expect(try Migrator.locate(named: nil, environment: [:], executable: Fixtures.root + "/.build/release/scriptorium") == Self.folder)
        #expect(throws: MigrationError.self) { try Migrator.locate(named: "/nowhere", environment: [:], executable: "/x/y") }
    }
}
