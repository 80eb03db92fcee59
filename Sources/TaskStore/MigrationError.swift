/// Why the schema cannot be brought, or trusted to be, up to date.
package enum MigrationError: Error, Sendable, Equatable, CustomStringConvertible {
    case folderMissing([String])
    case unreadable(path: String)
    /// Two files with one number, or a number left out.
    case misnumbered(name: String)
    /// A first line that speaks to the migrator says what it does not know.
    case unknownDirective(name: String)
    /// A statement of a file without a transaction that fails, or does harm, where it is run again after a cut; counted from 1.
    case notRepeatable(name: String, statement: Int)
    /// An applied file has another content now.
    case changed(name: String)
    /// The database has been brought to a version that these files do not know.
    case databaseNewer(database: Int, files: Int)
    /// A broker's own check: files wait to be applied.
    case databaseOlder(database: Int, files: Int)
    /// Another process holds the migration lock.
    case locked(seconds: Int)
    /// The table of texts was never free for the instant that a change of its text index needs.
    case textsInUse(tries: Int)
    /// The text index came out as it was meant in none of so many rounds: others change it, or its partitions, at the same time.
    case textIndexUnsettled(rounds: Int)
    case failed(name: String, StoreError)
    case store(StoreError)

    package var description: String {
        switch self {
        case .folderMissing(let places): "there is no folder of migrations; looked at \(places.joined(separator: ", ")). Name it with --migrations"
        case .unreadable(let path): "cannot read \(path)"
        case .misnumbered(let name): "\(name) does not follow the numbering 0001, 0002, …"
        case .unknownDirective(let name): "\(name): the first line says something else than “\(Migration.concurrently)”"
        case .notRepeatable(let name, let statement):
            "\(name), statement \(statement), cannot be repeated after a cut: an index is made IF NOT EXISTS and dropped IF EXISTS, and there is no BEGIN"
        case .changed(let name): "\(name) was changed after it had been applied; restore it, and put the change into a new file"
        case .databaseNewer(let database, let files): "the database is at version \(database), this program knows \(files); install the newer program"
        case .databaseOlder(let database, let files): "the database is at version \(database), this program needs \(files); run scriptorium migrate"
        case .locked(let seconds): "another migration has been under way for \(seconds) s; wait for it, then try again"
        case .textsInUse(let tries):
            "the text index was not changed: somebody was reading or writing generations at each of \(tries) tries; end long transactions"
                + " (pg_stat_activity), or try again later"
        case .textIndexUnsettled(let rounds):
            "the text index was not finished in \(rounds) rounds, as something else changes it or the months of generations; try again later"
        case .failed(let name, let error): "\(name) was not applied: \(error)"
        case .store(let error): error.description
        }
    }
}
