internal import Glibc

/// Lets one process at a time change the schema.
///
/// It is a lock of the session, so it outlasts the statements that run outside of transactions, and is free once the server has seen that its holder is
/// gone (``SessionSetup/endsWithClient``). The others ask for it again and again and never wait for it: a statement that waits has a snapshot, and `CREATE INDEX CONCURRENTLY` waits for all snapshots. The
/// two would wait for each other.
enum MigrationLock {
    private static let key = "7461736b71"
    private static let tryLock = Statement("migration_lock", "SELECT pg_try_advisory_lock(x'\(key)'::bigint)")
    private static let unlock = Statement("migration_unlock", "SELECT pg_advisory_unlock(x'\(key)'::bigint)")

    /// Runs a body while this connection holds the lock.
    /// - Throws: ``MigrationError/locked(seconds:)`` where another process keeps it for so long.
    static func holding<Value>(
        _ connection: StoreConnection, patienceSeconds: Int, _ body: () throws(MigrationError) -> Value
    ) throws(MigrationError) -> Value {
        try take(connection, patienceSeconds)
        // On a connection that is lost the lock goes with its session.
        defer { _ = try? connection.run(unlock) }
        return try body()
    }

    private static func take(_ connection: StoreConnection, _ patienceSeconds: Int) throws(MigrationError) {
        for _ in 0..<max(1, patienceSeconds * 10) {
            if try storing({ () throws(StoreError) in try connection.run(tryLock).bool(0, 0) }) { return }
            usleep(100_000)
        }
        throw .locked(seconds: patienceSeconds)
    }
}

/// Names the trouble of a statement that belongs to no file.
func storing<Value>(_ body: () throws(StoreError) -> Value) throws(MigrationError) -> Value {
    do throws(StoreError) { return try body() } catch { throw .store(error) }
}
