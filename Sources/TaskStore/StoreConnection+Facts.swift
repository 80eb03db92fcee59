internal import CPostgreSQL

extension StoreConnection {
    /// The first row of a query as text, for looking at a server that may not be what it should: nothing is prepared, so that this works behind
    /// a pooler too.
    package func texts(_ statement: Statement) throws(StoreError) -> [String?] {
        let result = try answer(to: statement.sql)
        defer { PQclear(result) }
        guard PQresultStatus(result) == PGRES_TUPLES_OK, PQntuples(result) > 0 else { throw problem(result, statement.name) }
        return (0..<PQnfields(result)).map { column in
            PQgetisnull(result, 0, column) == 1 ? nil : PQgetvalue(result, 0, column).map { String(cString: $0) }
        }
    }

    /// What stands between this connection and its server.
    ///
    /// A pooler makes up the process that it announces. Whether it pools transactions shows when a second connection has one open: it has then
    /// taken the first one's server process, or the first one gets another. A pooler that has no process for the second one is taken for one of sessions,
    /// which keeps each as long as its connection.
    /// - Parameter url: where the second one goes.
    func pooler(_ url: String) throws(StoreError) -> DatabaseFacts.Pooler {
        let first = try texts(Self.process)[0]
        guard first != String(PQbackendPID(handle)) else { return .none }
        let second: String?
        let other: StoreConnection
        do throws(StoreError) {
            let patience = StorePatience(seconds: StorePatience.ofProbes, interruption: patience.interruption)
            other = try StoreConnection(url, setup: .looking, patience: patience)
            try other.execute("BEGIN", name: "facts_begin")
            second = try other.texts(Self.process)[0]
        } catch {
            return .session
        }
        // More than once: where processes take turns, the first connection may get its own again.
        var isShared = second == first
        for _ in 0..<4 where !isShared { isShared = try texts(Self.process)[0] != first }
        try other.execute("ROLLBACK", name: "facts_rollback")
        return isShared ? .transaction : .session
    }

    private static let process = Statement("facts_process", "SELECT pg_backend_pid()")

    /// Whether the connection is encrypted.
    var isEncrypted: Bool { PQsslInUse(handle) == 1 }

    /// Whether the server is on this machine: a local socket, or a loopback address.
    var isLocal: Bool {
        let host = PQhost(handle).map { String(cString: $0) } ?? ""
        let address = PQhostaddr(handle).map { String(cString: $0) } ?? ""
        return host.hasPrefix("/") || host.isEmpty || address.hasPrefix("127.") || address == "::1"
    }

    /// What libpq used for one of its parameters, as `sslmode`.
    func option(_ name: String) -> String? {
        guard let options = PQconninfo(handle) else { return nil }
        defer { PQconninfoFree(options) }
        var place = options
        while let keyword = place.pointee.keyword {
            if String(cString: keyword) == name { return place.pointee.val.map { String(cString: $0) } }
            place += 1
        }
        return nil
    }
}
