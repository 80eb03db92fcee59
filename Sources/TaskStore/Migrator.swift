internal import Encodings
internal import FoundationEssentials
internal import TaskProtocol
internal import Glibc

/// One numbered file of `migrations/`.
package struct Migration: Sendable, Equatable {
    package let version: Int
    /// The file's name, as `0001_tasks.sql`.
    package let name: String
    package let sql: String
    /// SHA-256 of the file's bytes.
    package let checksum: String
}

/// Why the schema cannot be brought, or trusted to be, up to date.
package enum MigrationError: Error, Sendable, Equatable, CustomStringConvertible {
    case folderMissing([String])
    case unreadable(path: String)
    /// Two files with one number, or a number left out.
    case misnumbered(name: String)
    /// An applied file has another content now.
    case changed(name: String)
    /// The database has been brought to a version that these files do not know.
    case databaseNewer(database: Int, files: Int)
    /// A broker's own check: files wait to be applied.
    case databaseOlder(database: Int, files: Int)
    /// Another process holds the migration lock.
    case locked(seconds: Int)
    case failed(name: String, StoreError)
    case store(StoreError)

    package var description: String {
        switch self {
        case .folderMissing(let places): "there is no folder of migrations; looked at \(places.joined(separator: ", ")). Name it with --migrations"
        case .unreadable(let path): "cannot read \(path)"
        case .misnumbered(let name): "\(name) does not follow the numbering 0001, 0002, …"
        case .changed(let name): "\(name) was changed after it had been applied; restore it, and put the change into a new file"
        case .databaseNewer(let database, let files): "the database is at version \(database), this program knows \(files); install the newer program"
        case .databaseOlder(let database, let files): "the database is at version \(database), this program needs \(files); run scriptorium migrate"
        case .locked(let seconds): "another migration has been under way for \(seconds) s; wait for it, then try again"
        case .failed(let name, let error): "\(name) was not applied: \(error)"
        case .store(let error): error.description
        }
    }
}

/// Brings the schema up to date: plain SQL files, each applied once, in its own transaction, with its checksum kept.
package struct Migrator: Sendable {
    package let files: [Migration]

    /// Reads a folder's files named `<number>_<what>.sql`.
    package init(folder: String) throws(MigrationError) {
        guard let names = try? FileManager.default.contentsOfDirectory(atPath: folder) else { throw .unreadable(path: folder) }
        var files: [Migration] = []
        for name in names.filter({ $0.hasSuffix(".sql") }).sorted() {
            guard let version = Int(name.prefix { $0 != "_" }), version == files.count + 1 else { throw .misnumbered(name: name) }
            guard let data = FileManager.default.contents(atPath: folder + "/" + name) else { throw .unreadable(path: folder + "/" + name) }
            let bytes = [UInt8](data)
            files.append(Migration(version: version, name: name, sql: String(decoding: bytes, as: UTF8.self), checksum: SHA256Digest.hex(of: bytes)))
        }
        guard !files.isEmpty else { throw .unreadable(path: folder) }
        self.files = files
    }

    /// Finds the folder: the one named, else `SCRIPTORIUM_MIGRATIONS`, else beside the executable in `../share/scriptorium/migrations`, else
    /// `migrations` beside the `Package.swift` above it.
    package static func locate(named: String?, environment: [String: String], executable: String) throws(MigrationError) -> String {
        func isFolder(_ path: String) -> Bool {
            var status = stat()
            return stat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFDIR
        }
        if let path = named ?? environment["SCRIPTORIUM_MIGRATIONS"].flatMap({ $0.isEmpty ? nil : $0 }) {
            guard isFolder(path) else { throw .folderMissing([path]) }
            return path
        }
        var parts = executable.split(separator: "/", omittingEmptySubsequences: true).dropLast().map(String.init)
        let shared = "/" + (parts.dropLast() + ["share", "scriptorium", "migrations"]).joined(separator: "/")
        if isFolder(shared) { return shared }
        var tried = [shared]
        while !parts.isEmpty {
            let root = "/" + parts.joined(separator: "/")
            if access(root + "/Package.swift", F_OK) == 0 {
                if isFolder(root + "/migrations") { return root + "/migrations" }
                tried.append(root + "/migrations")
            }
            parts.removeLast()
        }
        throw .folderMissing(tried)
    }

    /// The running program's path, for ``locate(named:environment:executable:)``.
    package static var executablePath: String {
        var buffer = [CChar](repeating: 0, count: 4096)
        let length = readlink("/proc/self/exe", &buffer, buffer.count)
        return length > 0 ? String(decoding: buffer[..<length].map { UInt8(bitPattern: $0) }, as: UTF8.self) : ""
    }

    // MARK: State

    private static let applied = Statement("applied", "SELECT version, name, sha256 FROM scriptorium.migrations ORDER BY version")
    private static let exists = Statement("migrations_exist", "SELECT to_regclass('scriptorium.migrations') IS NOT NULL")

    /// Which files are applied and which wait.
    package struct Status: Sendable, Equatable {
        package var applied: [String]
        package var pending: [String]
    }

    /// Compares the database with the files; changes nothing.
    /// - Throws: ``MigrationError/changed(name:)`` and ``MigrationError/databaseNewer(database:files:)`` among others.
    package func status(_ connection: StoreConnection) throws(MigrationError) -> Status {
        let count = try verified(connection)
        return Status(applied: files[..<count].map(\.name), pending: files[count...].map(\.name))
    }

    /// A broker's check at its start: the schema must be exactly as the files leave it.
    package func requireCurrent(_ connection: StoreConnection) throws(MigrationError) {
        let count = try verified(connection)
        guard count == files.count else { throw .databaseOlder(database: count, files: files.count) }
    }

    /// How many files are applied, all of them unchanged.
    private func verified(_ connection: StoreConnection) throws(MigrationError) -> Int {
        do {
            guard try connection.run(Self.exists).bool(0, 0) else { return 0 }
            let rows = try connection.run(Self.applied)
            for row in rows.indices {
                let version = Int(try rows.requireInt(row, 0))
                guard version <= files.count else {
                    throw MigrationError.databaseNewer(database: Int(try rows.requireInt(rows.count - 1, 0)), files: files.count)
                }
                guard version == row + 1 else { throw MigrationError.misnumbered(name: try rows.requireString(row, 1)) }
                guard files[row].checksum == rows.string(row, 2) else { throw MigrationError.changed(name: files[row].name) }
            }
            return rows.count
        } catch let error as MigrationError {
            throw error
        } catch let error as StoreError {
            throw .store(error)
        } catch {
            throw .store(.connectionLost("unknown"))
        }
    }

    // MARK: Applying

    private static let lockKey = "7461736b71"
    private static let tryLock = Statement("migration_lock", "SELECT pg_try_advisory_lock(x'\(lockKey)'::bigint)")
    private static let unlock = Statement("migration_unlock", "SELECT pg_advisory_unlock(x'\(lockKey)'::bigint)")
    private static let record = Statement(
        "migration_record", "INSERT INTO scriptorium.migrations (version, name, sha256) VALUES ($1::int, $2::text, $3::text)")
    private static let bookkeeping = """
        CREATE SCHEMA IF NOT EXISTS scriptorium;
        CREATE TABLE IF NOT EXISTS scriptorium.migrations (
            version integer PRIMARY KEY, name text NOT NULL, sha256 text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now()
        );
        COMMENT ON TABLE scriptorium.migrations IS 'The migrations that were applied';
        COMMENT ON COLUMN scriptorium.migrations.version IS 'The file''s number';
        COMMENT ON COLUMN scriptorium.migrations.name IS 'The file''s name';
        COMMENT ON COLUMN scriptorium.migrations.sha256 IS 'The digest of the file as it was applied';
        COMMENT ON COLUMN scriptorium.migrations.applied_at IS 'When it was applied'
        """

    /// PostgreSQL lets everybody execute a new function; no file needs to remember that. Default privileges would do so for all that the owner ever makes
    /// in this database, also elsewhere.
    private static let closing = """
        REVOKE ALL ON SCHEMA scriptorium FROM PUBLIC; REVOKE ALL ON ALL FUNCTIONS IN SCHEMA scriptorium FROM PUBLIC;
        REVOKE ALL ON ALL TABLES IN SCHEMA scriptorium FROM PUBLIC
        """

    /// Applies what waits, each file in its own transaction.
    ///
    /// Only one process does so at a time: the others wait for the lock by asking for it again and again, since a waiting transaction would
    /// hold up a `CREATE INDEX CONCURRENTLY`. A file that does not get its table locks within 2 s is tried again.
    /// - Parameters:
    ///   - dryRun: says what would be applied, and does nothing.
    ///   - patienceSeconds: how long to wait for another process.
    /// - Returns: the names of the files applied.
    @discardableResult
    package func run(_ connection: StoreConnection, dryRun: Bool = false, patienceSeconds: Int = 120) throws(MigrationError) -> [String] {
        if dryRun { return try status(connection).pending }
        try takeLock(connection, patienceSeconds)
        defer { _ = try? connection.run(Self.unlock) }
        let count = try verified(connection)
        guard count < files.count else { return [] }
        try storing { () throws(StoreError) in try connection.execute(Self.bookkeeping, name: "bookkeeping") }
        for file in files[count...] { try apply(file, connection) }
        return files[count...].map(\.name)
    }

    private func takeLock(_ connection: StoreConnection, _ patienceSeconds: Int) throws(MigrationError) {
        for _ in 0..<max(1, patienceSeconds * 10) {
            if try storing({ () throws(StoreError) in try connection.run(Self.tryLock).bool(0, 0) }) { return }
            usleep(100_000)
        }
        throw .locked(seconds: patienceSeconds)
    }

    private func apply(_ file: Migration, _ connection: StoreConnection) throws(MigrationError) {
        var tries = 5
        while true {
            do throws(StoreError) {
                return try connection.transaction { () throws(StoreError) in
                    try connection.execute(file.sql, name: file.name)
                    try connection.execute(Self.closing, name: "closing")
                    _ = try connection.run(Self.record, [.int32(file.version), .text(file.name), .text(file.checksum)])
                }
            } catch {
                tries -= 1
                if case .lockTimeout = error, tries > 0 { continue }
                throw .failed(name: file.name, error)
            }
        }
    }

    private func storing<Value>(_ body: () throws(StoreError) -> Value) throws(MigrationError) -> Value {
        do throws(StoreError) { return try body() } catch { throw .store(error) }
    }
}
