/// Why a statement did not do what it says.
///
/// A description names the statement and PostgreSQL's SQLSTATE, constraint or table, and never a value: the server's own messages may
/// quote prompts and keys, so they go nowhere.
package enum StoreError: Error, Sendable, Equatable, CustomStringConvertible {
    /// The connection is gone or could not be made; whether a commit under way took place is not known.
    case connectionLost(String)
    /// The transaction collided with another and was rolled back; the same again may succeed.
    case collision(sqlstate: String, statement: String)
    /// A lock was not free within `lock_timeout`; rolled back.
    case lockTimeout(statement: String)
    /// It took longer than `statement_timeout`; rolled back. The server works: the same again may be quicker.
    case statementTimeout(statement: String)
    /// No partition holds the ids yet; rolled back.
    case partitionMissing(statement: String)
    /// The server refused values or the statement itself; the same again fails again.
    case refused(sqlstate: String, statement: String, object: String?)
    /// The server answers commits that a crash can undo.
    case notDurable
    /// A pooler that gives each transaction any server process stands between.
    case pooledTransactions
    /// A row does not look as the migrations promise.
    case unexpectedRow(statement: String, column: Int)

    package var description: String {
        switch self {
        case .connectionLost(let why): "the connection to the database is lost (\(why))"
        case .collision(let sqlstate, let statement): "statement \(statement) collided with another transaction (SQLSTATE \(sqlstate))"
        case .lockTimeout(let statement): "statement \(statement) waited too long for a lock"
        case .statementTimeout(let statement): "statement \(statement) took too long"
        case .partitionMissing(let statement): "statement \(statement) found no partition for its ids"
        case .refused(let sqlstate, let statement, let object):
            "the database refused statement \(statement) (SQLSTATE \(sqlstate)\(object.map { ", \($0)" } ?? ""))"
        case .notDurable: "synchronous_commit is off for this database: a crash would lose accepted tasks; set it to on"
        case .pooledTransactions:
            "a pooler of transactions stands between this program and its database, which loses what brokers set, prepare and listen to: name the primary"
                + " itself in the connection string (who publishes in SQL may pool)"
        case .unexpectedRow(let statement, let column): "statement \(statement) returned an unexpected value in column \(column)"
        }
    }

    /// Whether it was the values of a statement that the database refused: another attempt would have the same. All else (a missing privilege, a damaged
    /// index, another schema) is mended by an operator, and then the same again succeeds. Errors that a site's own triggers raise are of values.
    var isAboutValues: Bool {
        guard case .refused(let sqlstate, _, _) = self else { return false }
        return ["22", "23", "54", "P0"].contains(where: sqlstate.hasPrefix)
    }

    /// Sorts a SQLSTATE into the cases that callers treat apart.
    /// Source: PostgreSQL 15, appendix A.
    static func classify(sqlstate: String, statement: String, object: String?, table: String?) -> StoreError {
        switch sqlstate {
        case "40001", "40P01": return .collision(sqlstate: sqlstate, statement: statement)
        case "55P03": return .lockTimeout(statement: statement)
        case "57014": return .statementTimeout(statement: statement)
        // A shut-down, a crash, a start-up still under way, a standby after a failover, no connection left.
        case "57P01", "57P02", "57P03", "57P05", "25006", "53300": return .connectionLost("SQLSTATE \(sqlstate)")
        // No name of a constraint: not a CHECK that failed, but no partition for a row.
        case "23514" where object == nil: return .partitionMissing(statement: statement)
        default:
            // Connections, resources, interventions and the system's own errors say nothing about the values: the same again may succeed,
            // on a new connection, and a finished result must not end for them.
            if ["08", "53", "57", "58"].contains(where: sqlstate.hasPrefix) { return .connectionLost("SQLSTATE \(sqlstate)") }
            return .refused(sqlstate: sqlstate, statement: statement, object: object ?? table)
        }
    }
}
