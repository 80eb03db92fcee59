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

    /// The process that libpq was told to cancel: another than `pg_backend_pid()` where a pooler stands between.
    var announcedProcess: Int32 { PQbackendPID(handle) }

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
