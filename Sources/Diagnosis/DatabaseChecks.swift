package import TaskStore

/// The database, from a connection string: each of the checks below looks at what one reading of it found.
package struct DatabaseCheck: Check {
    let url: String
    let migrator: Migrator?

    /// - Parameters:
    ///   - url: libpq's connection string.
    ///   - migrator: the program's migrations, where they were found.
    package init(url: String, migrator: Migrator?) {
        self.url = url
        self.migrator = migrator
    }

    package func findings() -> [Finding] {
        let facts: DatabaseFacts
        do throws(StoreError) { facts = try DatabaseFacts.read(url) } catch {
            return [.fail("database", "\(error)", mend: "is the server running, and does the connection string name it, its user and password?")]
        }
        var checks: [any Check] = [
            ServerCheck(facts), PoolerCheck(facts), DurabilityCheck(facts), RightsCheck(facts), EncryptionCheck(facts), CapacityCheck(facts),
        ]
        if let migrator { checks.append(SchemaCheck(state: SchemaCheck.state(url, migrator))) }
        if facts.hasSchema { checks.append(TextIndexCheck(state: TextIndexCheck.state(url))) }
        if facts.mayWrite, let retention = RetentionCheck.read(url) { checks.append(retention) }
        return checks.flatMap { $0.findings() }
    }
}

/// The server's version, and whether it takes writes.
package struct ServerCheck: Check {
    let facts: DatabaseFacts
    package init(_ facts: DatabaseFacts) { self.facts = facts }

    package func findings() -> [Finding] {
        let found = "PostgreSQL \(facts.serverVersion / 10_000).\(facts.serverVersion % 10_000), user \(facts.user)"
        if facts.isStandby {
            return [.fail("database", found + ", a standby", mend: "name the primary (several hosts and target_session_attrs=read-write find it)")]
        }
        if facts.serverVersion < 150_000 { return [.warn("database", found, mend: "Scriptorium is tested with PostgreSQL 15 and newer: upgrade")] }
        return [.ok("database", found)]
    }
}

/// What stands between: brokers listen for notifications and prepare statements, which a pooler of transactions loses.
package struct PoolerCheck: Check {
    let facts: DatabaseFacts
    package init(_ facts: DatabaseFacts) { self.facts = facts }

    package func findings() -> [Finding] {
        switch facts.pooler {
        case .none: [.ok("connection", "direct, no pooler between")]
        case .session:
            [
                .warn(
                    "connection", "through a pooler of sessions",
                    mend: "it works while every broker gets its eight connections; a direct one is safer")
            ]
        case .transaction:
            [
                .fail(
                    "connection", "through a pooler of transactions",
                    mend: "brokers need a direct connection to the primary; publishers in SQL may pool")
            ]
        }
    }
}

/// Whether a commit is a promise.
package struct DurabilityCheck: Check {
    let facts: DatabaseFacts
    package init(_ facts: DatabaseFacts) { self.facts = facts }

    package func findings() -> [Finding] {
        let found = "synchronous_commit \(facts.synchronousCommit), fsync \(facts.fsync), \(facts.synchronousStandbys) synchronous standbys"
        if facts.synchronousCommit == "off" {
            return [.fail("durability", found, mend: "a crash would lose accepted tasks, so brokers refuse it: set synchronous_commit = on")]
        }
        if facts.fsync != "on" || facts.fullPageWrites != "on" {
            return [
                .fail("durability", found + ", full_page_writes \(facts.fullPageWrites)", mend: "a crash would ruin the database: set both to on")
            ]
        }
        if facts.synchronousStandbys == 0 { return [.ok("durability", found + ": survives a crash, not the loss of the disk")] }
        return [.ok("durability", found)]
    }
}

/// Who may do what: the user has a broker's rights and no more, and strangers have none.
package struct RightsCheck: Check {
    let facts: DatabaseFacts
    package init(_ facts: DatabaseFacts) { self.facts = facts }

    package func findings() -> [Finding] {
        // Without a schema there is nothing to have rights to: the schema's check says so.
        guard facts.hasSchema else { return [] }
        if facts.isOpenToPublic {
            return [.fail("rights", "every user of the cluster may use the schema", mend: "REVOKE ALL ON SCHEMA scriptorium FROM PUBLIC")]
        }
        if !facts.missingRoles.isEmpty {
            return [
                .fail("rights", "missing roles: \(facts.missingRoles.joined(separator: ", "))", mend: "run scriptorium migrate as the schema's owner")
            ]
        }
        if !facts.mayWrite {
            return [
                .fail(
                    "rights", "\(facts.user) may not do what brokers do",
                    mend: "GRANT scriptorium_broker TO \(facts.user), or connect as another user")
            ]
        }
        if facts.isSuperuser {
            return [
                .warn(
                    "rights", "\(facts.user) is a superuser", mend: "brokers need scriptorium_broker's rights only: give them a user with that role")
            ]
        }
        return [.ok("rights", "\(facts.user) may do what brokers do; PUBLIC may do nothing")]
    }
}

/// TLS between here and a server elsewhere.
package struct EncryptionCheck: Check {
    let facts: DatabaseFacts
    package init(_ facts: DatabaseFacts) { self.facts = facts }

    package func findings() -> [Finding] {
        let found = facts.isEncrypted ? "TLS, sslmode=\(facts.tlsMode)" : "not encrypted"
        if facts.isLocal { return [.ok("encryption", found + "; the server is on this machine")] }
        guard facts.isEncrypted else {
            return [.warn("encryption", found, mend: "prompts and passwords cross the network in the clear: sslmode=verify-full sslrootcert=FILE")]
        }
        if facts.tlsMode == "verify-full" || facts.tlsMode == "verify-ca" { return [.ok("encryption", found)] }
        return [.warn("encryption", found, mend: "nothing proves that it is the right server: sslmode=verify-full sslrootcert=FILE")]
    }
}

/// Room for a broker's connections, and nothing that holds vacuum back.
package struct CapacityCheck: Check {
    let facts: DatabaseFacts
    /// What one broker opens.
    package static let connectionsOfABroker = 8

    package init(_ facts: DatabaseFacts) { self.facts = facts }

    package func findings() -> [Finding] {
        var findings: [Finding] = []
        let found = "\(facts.usedConnections) of \(facts.maximumConnections) connections in use"
        if facts.maximumConnections - facts.usedConnections < Self.connectionsOfABroker {
            findings.append(.warn("capacity", found, mend: "a broker opens \(Self.connectionsOfABroker): raise max_connections, or close some"))
        } else {
            findings.append(.ok("capacity", found))
        }
        if facts.oldestSnapshotSeconds > 600 {
            let age = "a transaction has held its snapshot for \(Int(facts.oldestSnapshotSeconds)) s"
            findings.append(.warn("vacuum", age, mend: "the queue slows down behind it: look for it in pg_stat_activity, and end it"))
        }
        return findings
    }
}

/// Whether the schema is what this program needs.
package struct SchemaCheck: Check {
    package enum State: Sendable, Equatable {
        case current(version: Int)
        case wrong(MigrationError)
    }

    let state: State
    package init(state: State) { self.state = state }

    /// Looks.
    package static func state(_ url: String, _ migrator: Migrator) -> State {
        do {
            try migrator.requireCurrent(try StoreConnection(url, setup: .migration))
            return .current(version: migrator.files.count)
        } catch let error as MigrationError {
            return .wrong(error)
        } catch let error as StoreError {
            return .wrong(.store(error))
        } catch {
            return .wrong(.store(.connectionLost("\(error)")))
        }
    }

    package func findings() -> [Finding] {
        switch state {
        case .current(let version): [.ok("schema", "version \(version), up to date")]
        case .wrong(.databaseOlder(let database, let files)):
            [.fail("schema", "version \(database), this program needs \(files)", mend: "run scriptorium migrate as the schema's owner")]
        case .wrong(.databaseNewer(let database, let files)):
            [.fail("schema", "version \(database), this program knows \(files)", mend: "install the program that the schema was migrated with")]
        case .wrong(let error): [.fail("schema", "\(error)", mend: "run scriptorium migrate --status as the schema's owner")]
        }
    }
}
