/// Brings the schema up to date: plain SQL files, each applied once, with its checksum kept.
package struct Migrator: Sendable {
    package let files: [Migration]

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

    /// Applies what waits: each file in its own transaction, or where its first line says so statement by statement outside of one.
    ///
    /// Only one process does so at a time; the others wait. What does not get its locks within 2 s is tried again, since everybody else waits behind it;
    /// an index that is built concurrently waits for as long as it must.
    /// - Parameters:
    ///   - dryRun: says what would be applied, and does nothing.
    ///   - patienceSeconds: how long to wait for another process.
    /// - Returns: the names of the files applied.
    @discardableResult
    package func run(_ connection: StoreConnection, dryRun: Bool = false, patienceSeconds: Int = 120) throws(MigrationError) -> [String] {
        if dryRun { return try status(connection).pending }
        return try MigrationLock.holding(connection, patienceSeconds: patienceSeconds) { () throws(MigrationError) in
            let count = try verified(connection)
            guard count < files.count else { return [] }
            try storing { () throws(StoreError) in try connection.execute(Self.bookkeeping, name: "bookkeeping") }
            for file in files[count...] { try apply(file, connection) }
            return files[count...].map(\.name)
        }
    }

    private func apply(_ file: Migration, _ connection: StoreConnection) throws(MigrationError) {
        for (index, step) in (file.steps ?? []).enumerated() {
            try repeating(file) { () throws(StoreError) in
                try connection.executeAlone(step, name: "\(file.name), statement \(index + 1)")
            }
        }
        try repeating(file) { () throws(StoreError) in
            try connection.transaction { () throws(StoreError) in
                if file.steps == nil { try connection.execute(file.sql, name: file.name) }
                try connection.execute(Self.closing, name: "closing")
                _ = try connection.run(Self.record, [.int32(file.version), .text(file.name), .text(file.checksum)])
            }
        }
    }

    /// Tries again what found its locks taken, or fell for somebody else's transaction.
    private func repeating(_ file: Migration, _ body: () throws(StoreError) -> Void) throws(MigrationError) {
        var tries = 5
        while true {
            do throws(StoreError) { return try body() } catch {
                tries -= 1
                switch error {
                case .lockTimeout where tries > 0, .collision where tries > 0: continue
                default: throw .failed(name: file.name, error)
                }
            }
        }
    }
}
