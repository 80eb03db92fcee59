/// One numbered file of `migrations/`.
///
/// Most files are applied in a transaction each: whole, or not at all. One whose first line is
///
///     -- scriptorium: concurrently
///
/// is applied statement by statement outside of a transaction, which `CREATE INDEX CONCURRENTLY` asks for. It may be cut off between any two
/// statements, or within one, and is then applied again from its first: each of its statements must be one that can be repeated.
package struct Migration: Sendable, Equatable {
    package let version: Int
    /// The file's name, as `0001_tasks.sql`.
    package let name: String
    package let sql: String
    /// SHA-256 of the file's bytes.
    package let checksum: String
    /// The statements of a file without a transaction, in order; nil where one transaction holds all.
    let steps: [SQLStatement]?

    /// The first line of a file whose statements run outside of a transaction.
    static let concurrently = "-- scriptorium: concurrently"

    /// Reads what the first line says, and looks at each statement of a file without a transaction.
    /// - Throws: ``MigrationError/unknownDirective(name:)``, ``MigrationError/notRepeatable(name:statement:)``.
    init(version: Int, name: String, sql: String, checksum: String) throws(MigrationError) {
        (self.version, self.name, self.sql, self.checksum) = (version, name, sql, checksum)
        let first = sql.prefix { !$0.isNewline }
        guard first.hasPrefix("-- scriptorium:") else {
            steps = nil
            return
        }
        guard first == Self.concurrently else { throw .unknownDirective(name: name) }
        let statements = SQLStatement.split(sql)
        for (index, statement) in statements.enumerated() where !statement.isRepeatable {
            throw .notRepeatable(name: name, statement: index + 1)
        }
        steps = statements
    }
}
