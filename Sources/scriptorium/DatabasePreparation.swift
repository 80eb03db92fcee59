import Glibc
import Supervision
import TaskStore

/// Brings a database to where brokers can use it.
enum DatabasePreparation {
    /// The connection string that a command uses: its flag, else `DATABASE_URL`, else libpq's own variables (an empty string).
    /// - Throws: ``CommandFailure/usage(_:)`` where nothing names a database.
    static func url(_ flag: String?) throws -> String {
        if let flag { return flag }
        let environment = Program.environment()
        if let url = environment["DATABASE_URL"], !url.isEmpty { return url }
        if environment.keys.contains(where: { $0 == "PGHOST" || $0 == "PGSERVICE" || $0 == "PGDATABASE" || $0 == "PGHOSTADDR" }) { return "" }
        throw CommandFailure.usage("name the database with --database-url (or DATABASE_URL, or libpq's PGHOST and PGDATABASE)")
    }

    /// The migrations that belong to this program.
    static func migrator(_ folder: String?) throws -> Migrator {
        do {
            return try Migrator(
                folder: try Migrator.locate(named: folder, environment: Program.environment(), executable: Migrator.executablePath))
        } catch {
            throw CommandFailure.usage("\(error)")
        }
    }

    /// Waits up to half a minute for the server of `up`, brings the schema up to date, and lets brokers log in.
    /// - Parameter brokerPassword: nil leaves the roles as they are (the server is somebody else's).
    static func run(url: String, brokerPassword: String?, migrations: String?) throws {
        let connection = try connect(url, withinSeconds: 30, setup: .migration)
        do {
            try migrator(migrations).run(connection)
            if let brokerPassword {
                // The password is made of letters and digits by this program.
                try connection.execute("ALTER ROLE scriptorium_broker LOGIN PASSWORD '\(brokerPassword)'", name: "broker_login")
            }
        } catch let error as MigrationError {
            throw failure(error)
        } catch let error as StoreError {
            throw CommandFailure.unavailable("\(error)")
        }
    }

    /// Connects, trying again while the server is starting.
    static func connect(_ url: String, withinSeconds seconds: Double, setup: SessionSetup) throws -> StoreConnection {
        let deadline = monotonicSeconds() + seconds
        while true {
            do {
                return try StoreConnection(url, setup: setup)
            } catch {
                guard case .connectionLost = error, monotonicSeconds() < deadline else { throw CommandFailure.unavailable("\(error)") }
                usleep(50_000)
            }
        }
    }

    /// The exit status of a migration's error: 69 where the database is away or at another version, 1 where a file could not be applied.
    static func failure(_ error: MigrationError) -> CommandFailure {
        switch error {
        case .folderMissing, .unreadable, .misnumbered: .usage("\(error)")
        case .changed, .failed: .failed("\(error)")
        case .databaseNewer, .databaseOlder, .locked, .store: .unavailable("\(error)")
        }
    }
}
