import ArgumentParser
import Encodings
import Supervision
import TaskStore

/// `scriptorium migrate`: bring the database schema up to date.
struct MigrateCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "migrate", abstract: "Bring the database schema up to date.",
        discussion: "Needs the schema's owner. The database: --database-url, DATABASE_URL, or libpq's PGHOST and its kin.")

    @Option(help: ArgumentHelp("The database, as libpq writes it.", valueName: "url"))
    var databaseUrl: String?

    @Option(help: ArgumentHelp("The SQL files, where they are not found by themselves.", valueName: "folder"))
    var migrations: String?

    @Flag(help: "Only say what is applied and what waits.")
    var status = false

    @Flag(help: "Only say what would be applied.")
    var dryRun = false

    @Flag(help: "Print one JSON object.")
    var json = false

    func run() async throws {
        let command = self
        print(try await onThread(throwing: { try command.migrate() }))
    }

    private func migrate() throws -> String {
        let migrator = try DatabasePreparation.migrator(migrations)
        let connection = try DatabasePreparation.connect(try DatabasePreparation.url(databaseUrl), withinSeconds: 0, setup: .migration)
        do {
            if status {
                let state = try migrator.status(connection)
                return text(applied: state.applied, pending: state.pending)
            }
            let names = try migrator.run(connection, dryRun: dryRun)
            return dryRun ? text(applied: [], pending: names) : text(applied: names, pending: [])
        } catch {
            throw DatabasePreparation.failure(error)
        }
    }

    private func text(applied: [String], pending: [String]) -> String {
        if json {
            let list = { (names: [String]) in JSONValue.array(names.map { .string($0) }) }
            return String(decoding: JSONValue.object(["applied": list(applied), "pending": list(pending)]).serialised, as: UTF8.self)
        }
        let lines = applied.map { "applied  \($0)" } + pending.map { "pending  \($0)" }
        return lines.isEmpty ? "The schema is up to date." : lines.joined(separator: "\n")
    }
}
