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

    @OptionGroup(title: "Searching")
    var searching: TextSearchOptions

    @Flag(help: "Only say what is applied and what waits, and whether the text index stands.")
    var status = false

    @Flag(help: "Only say what would be applied, and done to the text index.")
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
            let report = try outcome(migrator, connection)
            return json ? report.json : report.text(saysState: status)
        } catch {
            throw DatabasePreparation.failure(error)
        }
    }

    private func outcome(_ migrator: Migrator, _ connection: StoreConnection) throws(MigrationError) -> MigrationReport {
        let index = TextIndex(connection)
        if status {
            let state = try migrator.status(connection)
            return MigrationReport(applied: state.applied, pending: state.pending, index: try index.report())
        }
        let names = try migrator.run(connection, dryRun: dryRun)
        var report = MigrationReport(isDryRun: dryRun)
        if dryRun { report.pending = names } else { report.applied = names }
        report.index = try index.report()
        guard let isWanted = searching.textSearch else { return report }
        if dryRun {
            // The migrations make it with its table.
            let state = report.index?.state ?? .stands
            report.change = state == (isWanted ? .stands : .missing) ? nil : isWanted
        } else {
            report.change = try index.set(isWanted) ? isWanted : nil
            report.index = try index.report()
        }
        return report
    }
}

/// What `migrate` found, did or would do.
private struct MigrationReport {
    var applied: [String] = []
    var pending: [String] = []
    /// nil: there is no table of texts yet.
    var index: TextIndex.Report?
    /// Whether the text index was built (true) or dropped; in a dry run, would be. nil: it is as it was.
    var change: Bool?
    var isDryRun = false

    /// For people. A run that changes nothing about the index says nothing of it.
    func text(saysState: Bool) -> String {
        var lines = applied.map { "applied  \($0)" } + pending.map { "pending  \($0)" }
        if saysState, let index { lines.append(Self.words(index)) }
        if let change {
            let done = change ? "built" : "dropped"
            lines.append(isDryRun ? "text index would be \(done)" : "text index \(done)")
        }
        return lines.isEmpty ? "The schema is up to date." : lines.joined(separator: "\n")
    }

    private static func words(_ index: TextIndex.Report) -> String {
        switch index.state {
        case .stands: "text index stands"
        case .missing: "text index missing, as after --no-text-search"
        case .halfBuilt:
            "text index half built (\(index.indexed) of \(index.partitions) months): finish it with --text-search, or drop it with --no-text-search"
        }
    }

    /// For programs.
    var json: String {
        let list = { (names: [String]) in JSONValue.array(names.map { .string($0) }) }
        let object: JSONObject = [
            "applied": list(applied), "pending": list(pending), "text_index": index.map { .string($0.state.rawValue) } ?? .null,
            "text_index_change": change.map { .string($0 ? "build" : "drop") } ?? .null,
        ]
        return String(decoding: JSONValue.object(object).serialised, as: UTF8.self)
    }
}
