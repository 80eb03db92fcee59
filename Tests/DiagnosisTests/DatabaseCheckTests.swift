import DatabaseTestSupport
import Diagnosis
import TaskStore
import TestSupport
import Testing

/// What the checks make of a server, fact by fact.
@Suite struct DatabaseJudgementTests {
    private func facts(_ change: (inout DatabaseFacts) -> Void = { _ in }) -> DatabaseFacts {
        var facts = DatabaseFacts()
        (facts.serverVersion, facts.user, facts.maximumConnections, facts.usedConnections) = (150_006, "b", 100, 5)
        (facts.hasSchema, facts.mayWrite, facts.isLocal) = (true, true, true)
        change(&facts)
        return facts
    }

    private func verdict(_ check: any Check) -> Finding.Verdict? { check.findings().last?.verdict }

    @Test("a good server passes every check")
    func good() {
        for check in [
            ServerCheck(facts()), PoolerCheck(facts()), DurabilityCheck(facts()), RightsCheck(facts()), EncryptionCheck(facts()),
            CapacityCheck(facts()),
        ] as [any Check] {
            #expect(check.findings().allSatisfy { $0.verdict == .ok && $0.remedy.isEmpty })
        }
        #expect(ServerCheck(facts()).findings()[0].found == "PostgreSQL 15.6, user b")
    }

    @Test("a standby fails, an old server warns")
    func server() {
        #expect(verdict(ServerCheck(facts { $0.isStandby = true })) == .fail)
        #expect(verdict(ServerCheck(facts { $0.serverVersion = 140_011 })) == .warn)
    }

    @Test("a pooler of transactions fails, one of sessions warns")
    func pooler() {
        #expect(verdict(PoolerCheck(facts { $0.pooler = .transaction })) == .fail)
        #expect(verdict(PoolerCheck(facts { $0.pooler = .session })) == .warn)
    }

    @Test("commits that are no promise fail")
    func durability() {
        #expect(verdict(DurabilityCheck(facts { $0.synchronousCommit = "off" })) == .fail)
        #expect(verdict(DurabilityCheck(facts { $0.fsync = "off" })) == .fail)
        #expect(verdict(DurabilityCheck(facts { $0.fullPageWrites = "off" })) == .fail)
        #expect(DurabilityCheck(facts()).findings()[0].found.contains("not the loss of the disk"))
        #expect(!DurabilityCheck(facts { $0.synchronousStandbys = 1 }).findings()[0].found.contains("not the loss of the disk"))
    }

    @Test("too few rights fail, too many warn, strangers' rights fail")
    func rights() {
        #expect(verdict(RightsCheck(facts { $0.isOpenToPublic = true })) == .fail)
        #expect(verdict(RightsCheck(facts { $0.missingRoles = ["scriptorium_reader"] })) == .fail)
        #expect(verdict(RightsCheck(facts { $0.mayWrite = false })) == .fail)
        #expect(verdict(RightsCheck(facts { $0.isSuperuser = true })) == .warn)
        #expect(RightsCheck(facts { ($0.hasSchema, $0.mayWrite) = (false, false) }).findings().isEmpty)
    }

    @Test("a server elsewhere wants TLS, and proof of who it is")
    func encryption() {
        func check(_ isEncrypted: Bool, _ mode: String) -> Finding.Verdict? {
            verdict(EncryptionCheck(facts { ($0.isLocal, $0.isEncrypted, $0.tlsMode) = (false, isEncrypted, mode) }))
        }
        #expect(check(false, "prefer") == .warn && check(true, "require") == .warn)
        #expect(check(true, "verify-full") == .ok && check(true, "verify-ca") == .ok)
    }

    @Test("full connections and an old snapshot warn")
    func capacity() {
        #expect(verdict(CapacityCheck(facts { $0.usedConnections = 95 })) == .warn)
        let old = CapacityCheck(facts { $0.oldestSnapshotSeconds = 4_000 }).findings()
        #expect(old.map(\.verdict) == [.ok, .warn] && old[1].found.contains("4000 s"))
    }

    @Test("a text index that is half built warns, whole or away it is well")
    func textIndex() {
        func check(_ state: TextIndex.State) -> Finding? {
            TextIndexCheck(state: TextIndex.Report(state: state, partitions: 4, indexed: 1)).findings().last
        }
        #expect(check(.stands)?.verdict == .ok && check(.missing)?.verdict == .ok)
        #expect(check(.halfBuilt)?.verdict == .warn && check(.halfBuilt)?.found.contains("1 of 4") == true)
        #expect(TextIndexCheck(state: nil).findings().isEmpty)
    }

    @Test("a month that is held back warns, and names the task")
    func retention() {
        #expect(RetentionCheck(held: []).findings().map(\.verdict) == [.ok])
        let held = RetentionCheck(held: [("tasks of 2026-01", "its task 7 is queued")]).findings()
        #expect(held.map(\.verdict) == [.warn] && held[0].found == "the tasks of 2026-01 should be gone: its task 7 is queued")
    }

    @Test("another schema than the program's fails, and says which way to go")
    func schema() {
        func finding(_ error: MigrationError) -> Finding { SchemaCheck(state: .wrong(error)).findings()[0] }
        #expect(SchemaCheck(state: .current(version: 4)).findings() == [.ok("schema", "version 4, up to date")])
        #expect(finding(.databaseOlder(database: 0, files: 4)).remedy.contains("scriptorium migrate"))
        #expect(finding(.databaseNewer(database: 9, files: 4)).remedy.contains("install the program"))
        #expect(finding(.changed(name: "0001_tasks.sql")).verdict == .fail)
    }
}

/// The same against a real server.
@Suite(.serialized, .timeLimit(.minutes(2))) struct DatabaseCheckTests {
    /// Of a connection string's words the last one counts.
    private func url(_ database: String, user: String = "postgres") -> String { database + " user=\(user)" }

    private func migrator() throws -> Migrator { try Migrator(folder: Fixtures.root + "/migrations") }

    private func finding(_ subject: String, _ findings: [Finding]) -> Finding? { findings.first { $0.subject == subject } }

    @Test("a migrated database and a broker's user are found right, whatever the cluster's own faults")
    func migrated() throws {
        let database = try TemporaryCluster.shared.database()
        let findings = DatabaseCheck(url: url(database), migrator: try migrator()).findings()
        #expect(finding("schema", findings)?.verdict == .ok)
        #expect(finding("connection", findings)?.verdict == .ok)
        #expect(finding("encryption", findings)?.verdict == .ok)
        #expect(finding("retention", findings)?.verdict == .ok)
        #expect(finding("text index", findings)?.found == "stands")
        // The tests' cluster runs with fsync off, as a superuser: both are to be seen.
        #expect(finding("durability", findings)?.verdict == .fail && finding("rights", findings)?.verdict == .warn)
        let connection = try StoreConnection(url(database), setup: .migration)
        try connection.execute("DO $$ BEGIN CREATE ROLE doctor_broker LOGIN IN ROLE scriptorium_broker; EXCEPTION WHEN duplicate_object THEN END $$")
        try connection.execute("DO $$ BEGIN CREATE ROLE doctor_stranger LOGIN; EXCEPTION WHEN duplicate_object THEN END $$")
        let broker = DatabaseCheck(url: url(database, user: "doctor_broker"), migrator: try migrator()).findings()
        #expect(finding("rights", broker)?.verdict == .ok && finding("schema", broker)?.verdict == .ok)
        #expect(finding("retention", broker)?.verdict == .ok && finding("text index", broker)?.verdict == .ok, "a broker's user may look")
        let stranger = DatabaseCheck(url: url(database, user: "doctor_stranger"), migrator: nil).findings()
        #expect(finding("rights", stranger)?.verdict == .fail)
        try connection.execute("GRANT USAGE ON SCHEMA scriptorium TO PUBLIC")
        let open = DatabaseCheck(url: url(database), migrator: nil).findings()
        #expect(finding("rights", open)?.remedy.contains("REVOKE") == true)
    }

    @Test("an empty database wants its schema, and no database is told with its reason")
    func without() throws {
        let database = try TemporaryCluster.shared.database(migrated: false)
        let findings = DatabaseCheck(url: url(database), migrator: try migrator()).findings()
        #expect(finding("schema", findings)?.remedy.contains("scriptorium migrate") == true && finding("rights", findings) == nil)
        let nobody = DatabaseCheck(url: "host=127.0.0.1 port=1 dbname=x", migrator: nil).findings()
        #expect(nobody.map(\.verdict) == [.fail] && nobody[0].found.contains("127.0.0.1"))
    }
}
