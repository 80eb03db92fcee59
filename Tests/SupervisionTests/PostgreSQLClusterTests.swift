import Supervision
import Testing

@Suite("The private PostgreSQL cluster")
struct PostgreSQLClusterTests {
    /// A postmaster.pid as PostgreSQL 15 leaves it; the file of a server that is starting ends before its status.
    private static func file(_ pid: Int, _ status: String?) -> String {
        let lines = ["\(pid)", "/data/postgres", "1700000000", "5432", "", "127.0.0.1", " 1234567  0"]
        return (lines + (status.map { [$0] } ?? [])).joined(separator: "\n") + "\n"
    }

    @Test("a server is ready once its own file says so, not where an earlier one's still stands there")
    func ready() {
        #expect(PostgreSQLCluster.isReady(42, says: Self.file(42, "ready   ")))
        #expect(!PostgreSQLCluster.isReady(42, says: Self.file(41, "ready   ")), "left by a crash of the machine")
        #expect(!PostgreSQLCluster.isReady(42, says: Self.file(42, "starting")))
        #expect(!PostgreSQLCluster.isReady(42, says: Self.file(42, nil)))
        #expect(!PostgreSQLCluster.isReady(42, says: ""))
    }
}
