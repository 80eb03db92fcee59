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

    /// Waits up to half a minute for the server of `up`, makes the database, brings its schema up to date, and lets brokers log in.
    /// - Parameters:
    ///   - textSearch: builds or drops the text index; nil leaves it as it is.
    ///   - interruption: ends it, as an index may take hours; the next run goes on.
    ///   - say: told before something that may take long.
    static func run(
        _ address: DatabaseAddress, migrations: String?, textSearch: Bool? = nil, interruption: Interruption? = nil, say: (String) -> Void = { _ in }
    ) throws {
        let patience = StorePatience(seconds: nil, interruption: interruption)
        do {
            if let maintenance = address.maintenance {
                let connection = try connect(maintenance, withinSeconds: 30, setup: .migration, patience: patience)
                let known = try connection.run(Statement("databases", "SELECT 1 FROM pg_database WHERE datname = $1::text"), [.text(address.name)])
                if known.count == 0 { try connection.execute("CREATE DATABASE \(address.name)", name: "create_database") }
            }
            let connection = try connect(address.owner, withinSeconds: 30, setup: .migration, patience: patience)
            try migrator(migrations).run(connection)
            if let textSearch {
                let index = TextIndex(connection)
                if textSearch, try index.report()?.state != .stands { say("The text index is being built: this may take long.") }
                try index.set(textSearch)
            }
            if let brokerPassword = address.brokerPassword {
                // The password is made of letters and digits by this program.
                try connection.execute("ALTER ROLE scriptorium_broker LOGIN PASSWORD '\(brokerPassword)'", name: "broker_login")
            }
        } catch let error as MigrationError {
            throw failure(error)
        } catch let error as StoreError {
            throw CommandFailure.unavailable("\(error)")
        }
    }

    /// Connects, trying again while the server is starting, unless the wait is cut short.
    static func connect(
        _ url: String, withinSeconds seconds: Double, setup: SessionSetup, patience: StorePatience = .unbounded
    ) throws -> StoreConnection {
        let deadline = monotonicSeconds() + seconds
        while true {
            do {
                return try StoreConnection(url, setup: setup, patience: patience)
            } catch {
                guard case .connectionLost = error, monotonicSeconds() < deadline, patience.interruption?.isRaised != true else {
                    throw CommandFailure.unavailable("\(error)")
                }
                usleep(50_000)
            }
        }
    }

    /// The exit status of a migration's error: 69 where the database is away or at another version, 1 where a file could not be applied.
    static func failure(_ error: MigrationError) -> CommandFailure {
        switch error {
        case .folderMissing, .unreadable, .misnumbered, .unknownDirective, .notRepeatable: .usage("\(error)")
        case .changed, .failed: .failed("\(error)")
        case .databaseNewer, .databaseOlder, .locked, .textsInUse, .textIndexUnsettled, .store: .unavailable("\(error)")
        }
    }
}
