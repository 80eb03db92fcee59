import ArgumentParser
import ArtifactStore
import Encodings
import Glibc
import Supervision
import TaskStore

/// `scriptorium artifacts`: the store that models, datasets and checkpoints lie in.
struct ArtifactsCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "artifacts", abstract: "Look after the artifact store.", subcommands: [ArtifactsCollectCommand.self])
}

struct ArtifactsCollectCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "gc", abstract: "Remove artifacts that no row names and that are older than a day.",
        discussion: """
            Kept is whatever a checkpoint, model, dataset, schedule or task names, with all files of it, and what was stored or used within the last \
            day. Needs the database (--database-url, DATABASE_URL or libpq's PGHOST and its kin) and the store itself; where `scriptorium up` keeps its \
            data it finds both. It may run while the service works.
            """)

    @Option(help: ArgumentHelp("Keep what was stored or used within so many hours; at least 2.", valueName: "hours"))
    var olderThan = 24

    @Flag(help: "Only say what would be removed.")
    var dryRun = false

    @Option(help: ArgumentHelp("The database, as libpq writes it.", valueName: "url"))
    var databaseUrl: String?

    @Option(help: ArgumentHelp("The artifact store, where it is not the one of `scriptorium up`.", valueName: "folder"))
    var artifacts: String?

    @Option(help: ArgumentHelp("The schema's SQL files, where they are not found by themselves.", valueName: "folder"))
    var migrations: String?

    @Option(help: ArgumentHelp("Where `scriptorium up` keeps its data.", valueName: "folder"))
    var dataDir = "./.scriptorium"

    @Flag(help: "Print one JSON object.")
    var json = false

    func validate() throws {
        // Brokers remember for an hour that an artifact is there, and renew its age no oftener.
        guard (2...87_600).contains(olderThan) else { throw ValidationError("--older-than: \(olderThan) is not in 2 … 87600") }
    }

    func run() async throws {
        let command = self
        let tally = try await onThread(throwing: { try command.collect() })
        print(json ? Self.json(tally, isDryRun: dryRun) : Self.table(tally, isDryRun: dryRun))
        if let failed = tally.failed.first {
            throw CommandFailure.failed("\(tally.failed.count) artifacts could not be removed, sha256:\(failed) among them: are they this user's?")
        }
    }

    private func collect() throws -> ArtifactCollection.Tally {
        let store = try self.store()
        let collection: ArtifactCollection
        do throws(ArtifactError) { collection = try ArtifactCollection(store) } catch { throw CommandFailure.failed("\(error)") }
        defer { collection.end() }
        let named = try self.named()
        // The database of one installation and the store of another would cost the second all that it has.
        guard named.isEmpty || collection.present(named) > 0 else {
            throw CommandFailure.usage(
                "none of the \(named.count) artifacts that the database names is in \(store.path): it is another service's store, and nothing was removed"
            )
        }
        return collection.collect(named: named, olderThanSeconds: olderThan * 3600, isDryRun: dryRun)
    }

    private func store() throws -> ArtifactDirectory {
        guard let path = try artifacts ?? ServiceFile.member("artifacts", dataDirectory: dataDir) else {
            throw CommandFailure.usage("name the artifact store with --artifacts, or run this where `scriptorium up` keeps its data (--data-dir)")
        }
        guard access(path + "/sha256", F_OK) == 0 else { throw CommandFailure.usage("\(path) is no artifact store") }
        do throws(ArtifactError) { return try ArtifactDirectory(path: path) } catch { throw CommandFailure.usage("--artifacts: \(error)") }
    }

    /// Only a schema that is known in all its parts says what is named.
    private func named() throws -> Set<String> {
        let migrator = try DatabasePreparation.migrator(migrations)
        let connection = try DatabasePreparation.connect(try databaseURL(), withinSeconds: 0, setup: .migration)
        do throws(MigrationError) { try migrator.requireCurrent(connection) } catch { throw DatabasePreparation.failure(error) }
        do throws(StoreError) {
            return try NamedArtifacts.all(connection)
        } catch {
            if case .connectionLost = error { throw CommandFailure.unavailable("\(error)") }
            throw CommandFailure.failed("\(error)")
        }
    }

    private func databaseURL() throws -> String {
        do {
            return try DatabasePreparation.url(databaseUrl)
        } catch {
            guard let kept = try ServiceFile.member("database_url", dataDirectory: dataDir) else { throw error }
            return kept
        }
    }

    // MARK: What was done

    private static func json(_ tally: ArtifactCollection.Tally, isDryRun: Bool) -> String {
        let removed = tally.removed.map { entry -> JSONValue in
            ["sha256": .string(entry.sha256), "bytes": .integer(entry.bytes), "age_hours": .integer(Int64(entry.ageSeconds / 3600))]
        }
        let object: JSONObject = [
            "dry_run": .bool(isDryRun), "removed": .array(removed), "removed_bytes": .integer(tally.removedBytes),
            "named": .integer(Int64(tally.named)),
            "young": .integer(Int64(tally.young)), "failed": .array(tally.failed.map { .string($0) }),
        ]
        return String(decoding: JSONValue.object(object).serialised, as: UTF8.self)
    }

    private static func table(_ tally: ArtifactCollection.Tally, isDryRun: Bool) -> String {
        let summary =
            "\(isDryRun ? "Would remove" : "Removed") \(tally.removed.count) artifacts, \(tally.removedBytes) bytes; kept \(tally.named) that are named "
            + "and \(tally.young) that are too young."
        guard !tally.removed.isEmpty else { return summary }
        let table = TextTable(
            columns: [.left("sha256"), .right("bytes"), .right("hours old")],
            rows: tally.removed.map { [$0.sha256, "\($0.bytes)", "\($0.ageSeconds / 3600)"] })
        return table.text + "\n" + summary
    }
}
