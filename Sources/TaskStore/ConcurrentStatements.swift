/// Statements outside of a transaction, as `CREATE INDEX CONCURRENTLY` must be.
///
/// Such an index is built in several transactions of its own and leaves readers and writers alone; before and after it waits until those that were there
/// are done. Where it is cut off, by a kill, a cancel or values that are not unique, the index stands there invalid: no query uses it, each insert
/// pays for it, and `IF NOT EXISTS` takes it for the one that was wanted.
extension StoreConnection {
    private static let invalid = Statement(
        "invalid_index",
        """
        SELECT format('DROP INDEX CONCURRENTLY IF EXISTS scriptorium.%I', c.relname) FROM pg_class c JOIN pg_index i ON i.indexrelid = c.oid
        WHERE c.relnamespace = 'scriptorium'::regnamespace AND c.relname = $1::text::name AND c.relkind = 'i' AND NOT i.indisvalid
        """)

    /// Runs a statement of a file without a transaction. An index that it makes and that stands there invalid is dropped first; one that is whole stays.
    func executeAlone(_ statement: SQLStatement, name: String) throws(StoreError) {
        guard statement.isConcurrent else { return try execute(statement.sql, name: name) }
        if let index = statement.concurrentIndex {
            let found = try run(Self.invalid, [.text(index)])
            for row in found.indices { try executeConcurrently(try found.requireString(row, 0), name: "drop_invalid_index") }
        }
        try executeConcurrently(statement.sql, name: name)
    }

    /// Runs a statement that waits for the transactions of others without anybody's waiting for it: it may take its time.
    func executeConcurrently(_ sql: String, name: String) throws(StoreError) {
        try execute("SET lock_timeout = 0", name: "lock_timeout")
        do throws(StoreError) { try execute(sql, name: name) } catch {
            // What went wrong with the statement is what counts; where this fails too the connection is lost.
            if isAlive { try? execute(SessionSetup.migrationLocks, name: "lock_timeout") }
            throw error
        }
        try execute(SessionSetup.migrationLocks, name: "lock_timeout")
    }
}
