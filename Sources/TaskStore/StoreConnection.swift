internal import CPostgreSQL
internal import Glibc

/// A statement with a name, prepared once a connection.
package struct Statement: Sendable {
    package let name: String
    package let sql: String

    package init(_ name: String, _ sql: String) {
        self.name = name
        self.sql = sql
    }
}

/// One connection to PostgreSQL. It blocks, so it is made, used and closed on one thread of its own; that is why it is not `Sendable`.
package final class StoreConnection {
    let handle: OpaquePointer
    let patience: StorePatience
    private var prepared: Set<String> = []
    /// An answer was given up: what comes next would be the answer to something else.
    private var isGivenUp = false
    /// The server holds the connection and says nothing.
    private(set) var isUnresponsive = false
    /// A commit was sent, or a statement that is its own transaction, since ``beginRequest()``. As long as it is false a connection that is lost takes
    /// with it all that it was asked.
    private(set) var mayHaveCommitted = false
    private var isInTransaction = false

    /// Connects.
    /// - Throws: ``StoreError/connectionLost(_:)``; ``StoreError/pooledTransactions`` and ``StoreError/notDurable`` where the server is no good for the setup.
    /// - Parameters:
    ///   - url: libpq's connection string or `postgresql://` address; empty leaves all to libpq's `PG…` variables.
    ///   - setup: how the session is set up: ``SessionSetup/broker`` for the product's statements.
    ///   - patience: how long each answer may take. (Connecting takes at most five seconds a host.)
    package init(_ url: String, setup: SessionSetup = .broker, patience: StorePatience = .unbounded) throws(StoreError) {
        self.patience = patience
        let connection = Self.open(url)
        guard let connection else { throw .connectionLost("libpq has no memory") }
        handle = connection
        // From here on all properties are set, so that a throw runs deinit, which closes.
        guard PQstatus(connection) == CONNECTION_OK else { throw .connectionLost(Self.connectionProblem(connection)) }
        PQsetNoticeProcessor(connection, { _, _ in }, nil)
        PQsetnonblocking(connection, 1)
        if setup.needsSession, try pooler(url) == .transaction { throw .pooledTransactions }
        try execute(setup.sql)
        if setup.endsWithClient { try endWithClient() }
        if setup.needsDurability, try texts(Self.durability).first == "off" { throw .notDurable }
    }

    /// Kept for as long as the connection lasts, whatever the server is told later.
    private static let durability = Statement(
        "connection_durability", "SELECT set_config('synchronous_commit', current_setting('synchronous_commit'), false)")

    /// Has the server look every two seconds whether this process is still there. By itself it looks only once it has something to say: what was cut off
    /// would go on to its end, for hours where an index is built, with all its locks.
    private func endWithClient() throws(StoreError) {
        // Source: PostgreSQL 14, release notes. Some systems cannot look, and their servers refuse the setting.
        guard serverVersion >= 140_000 else { return }
        do throws(StoreError) { try execute("SET client_connection_check_interval = '2s'", name: "end_with_client") } catch {
            guard case .refused = error else { throw error }
        }
    }

    deinit {
        // libpq says goodbye, which would wait for a server that takes nothing.
        if isGivenUp { shutdown(PQsocket(handle), Int32(SHUT_RDWR)) }
        PQfinish(handle)
    }

    private static func open(_ url: String) -> OpaquePointer? {
        let pairs: [(String, String)] = [
            ("dbname", url), ("fallback_application_name", "scriptorium"), ("connect_timeout", "5"), ("keepalives_idle", "5"),
            ("keepalives_interval", "2"), ("keepalives_count", "3"), ("tcp_user_timeout", "10000"), ("client_encoding", "UTF8"),
        ].filter { $0.0 != "dbname" || !$0.1.isEmpty }
        let names = pairs.map { strdup($0.0) }
        let values = pairs.map { strdup($0.1) }
        defer { (names + values).forEach { free($0) } }
        let nameList: [UnsafePointer<CChar>?] = names.map { UnsafePointer($0) } + [nil]
        let valueList: [UnsafePointer<CChar>?] = values.map { UnsafePointer($0) } + [nil]
        return PQconnectdbParams(nameList, valueList, 1)
    }

    /// The first line of libpq's message: it names host, port, user and database, never a password or a row's value.
    private static func connectionProblem(_ connection: OpaquePointer) -> String {
        let text = PQerrorMessage(connection).map { String(cString: $0) } ?? ""
        return text.split(separator: "\n").first.map(String.init) ?? "no reason given"
    }

    /// Whether the connection can still be used.
    package var isAlive: Bool { !isGivenUp && PQstatus(handle) == CONNECTION_OK }

    /// The socket, to wait on for notifications.
    package var socket: Int32 { PQsocket(handle) }

    /// The server's version, as 150006.
    package var serverVersion: Int { Int(PQserverVersion(handle)) }

    /// Runs statements that take no parameters and return nothing.
    package func execute(_ sql: String, name: String = "text") throws(StoreError) {
        let result = try answer(to: sql)
        defer { PQclear(result) }
        let status = PQresultStatus(result)
        guard status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK || status == PGRES_EMPTY_QUERY else { throw problem(result, name) }
    }

    /// What comes from here on is another request.
    func beginRequest() { mayHaveCommitted = false }

    /// Sends statements without parameters, and waits for their answer.
    func answer(to sql: String) throws(StoreError) -> OpaquePointer {
        noteCommit()
        guard PQsendQuery(handle, sql) == 1 else { throw lost() }
        return try answer()
    }

    /// Bytes of parameters that one message may carry. Source: PostgreSQL 15, `PQ_LARGE_MESSAGE_LIMIT` (1 GiB less one), with room for the rest.
    private static let messageLimit = 1 << 30 - 1 << 20
    /// SQLSTATE of more than a server can take. Source: PostgreSQL 15, appendix A.
    static let programLimitExceeded = "54000"

    /// Runs one prepared statement.
    /// - Throws: ``StoreError/refused(sqlstate:statement:object:)`` also where the parameters are more than a message carries: a batch is then repeated
    ///   member by member.
    package func run(_ statement: Statement, _ parameters: [StatementParameter] = []) throws(StoreError) -> StatementRows {
        if !prepared.contains(statement.name) {
            guard PQsendPrepare(handle, statement.name, statement.sql, 0, nil) == 1 else { throw lost() }
            let result = try answer()
            defer { PQclear(result) }
            guard PQresultStatus(result) == PGRES_COMMAND_OK else { throw problem(result, statement.name) }
            prepared.insert(statement.name)
        }
        // The server closes the connection on a longer message, which would look like a database that is away.
        guard parameters.reduce(0, { $0 + ($1.bytes?.count ?? 0) }) < Self.messageLimit else {
            throw .refused(sqlstate: Self.programLimitExceeded, statement: statement.name, object: nil)
        }
        noteCommit()
        let isSent = Self.withPointers(parameters) { values, lengths, formats in
            PQsendQueryPrepared(handle, statement.name, Int32(parameters.count), values, lengths, formats, 1)
        }
        guard isSent == 1 else { throw lost() }
        let result = try answer()
        let status = PQresultStatus(result)
        guard status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK else {
            defer { PQclear(result) }
            throw problem(result, statement.name)
        }
        return StatementRows(result, statement: statement.name)
    }

    private func noteCommit() { if !isInTransaction { mayHaveCommitted = true } }

    /// Waits for the answer to what was sent: the last result of it, or the first that is an error.
    private func answer() throws(StoreError) -> OpaquePointer {
        let bound = AnswerWait(patience)
        var found: OpaquePointer?
        do throws(StoreError) {
            while true {
                switch PQflush(handle) {
                case 0: break
                case 1:
                    try wait(bound, writable: true)
                    guard PQconsumeInput(handle) == 1 else { throw lost() }
                    continue
                default: throw lost()
                }
                while PQisBusy(handle) == 1 {
                    try wait(bound, writable: false)
                    guard PQconsumeInput(handle) == 1 else { throw lost() }
                }
                guard let next = PQgetResult(handle) else { break }
                if let earlier = found, PQresultStatus(earlier) == PGRES_FATAL_ERROR {
                    PQclear(next)
                } else {
                    found.map { PQclear($0) }
                    found = next
                }
            }
        } catch {
            found.map { PQclear($0) }
            isGivenUp = true
            throw error
        }
        guard let found else { throw lost() }
        return found
    }

    private func wait(_ bound: AnswerWait, writable: Bool) throws(StoreError) {
        do throws(StoreError) { try bound.ready(PQsocket(handle), writable: writable) } catch {
            isUnresponsive = true
            throw error
        }
    }

    /// libpq reads the values while it sends, so one buffer that holds them all lives as long as the call.
    private static func withPointers<Result>(
        _ parameters: [StatementParameter], _ body: (UnsafePointer<UnsafePointer<CChar>?>?, UnsafePointer<Int32>?, UnsafePointer<Int32>?) -> Result
    ) -> Result {
        var storage: [UInt8] = []
        storage.reserveCapacity(parameters.reduce(1) { $0 + ($1.bytes?.count ?? 0) })
        var offsets: [Int?] = []
        for parameter in parameters {
            offsets.append(parameter.bytes.map { _ in storage.count })
            if let bytes = parameter.bytes { storage.append(contentsOf: bytes) }
        }
        storage.append(0)
        let lengths = parameters.map { Int32($0.bytes?.count ?? 0) }
        let formats = [Int32](repeating: 1, count: parameters.count)
        return storage.withUnsafeBytes { raw in
            let base = raw.baseAddress?.assumingMemoryBound(to: CChar.self)
            let values: [UnsafePointer<CChar>?] = offsets.map { offset in offset.flatMap { base?.advanced(by: $0) } }
            return values.withUnsafeBufferPointer { values in
                lengths.withUnsafeBufferPointer { lengths in
                    formats.withUnsafeBufferPointer { formats in body(values.baseAddress, lengths.baseAddress, formats.baseAddress) }
                }
            }
        }
    }

    /// Runs a body in a transaction: committed where it returns, rolled back where it throws.
    package func transaction<Value>(_ body: () throws(StoreError) -> Value) throws(StoreError) -> Value {
        isInTransaction = true
        defer { isInTransaction = false }
        try execute("BEGIN", name: "begin")
        do throws(StoreError) {
            let value = try body()
            isInTransaction = false
            try execute("COMMIT", name: "commit")
            return value
        } catch {
            if isAlive { try? execute("ROLLBACK", name: "rollback") }
            throw error
        }
    }

    /// Waits for a notification.
    /// - Returns: whether one came; false at the time limit.
    package func waitForNotification(milliseconds: Int32) throws(StoreError) -> Bool {
        if try drainNotifications() { return true }
        var descriptor = pollfd(fd: PQsocket(handle), events: Int16(POLLIN), revents: 0)
        let ready = poll(&descriptor, 1, milliseconds)
        guard ready > 0 else { return false }
        return try drainNotifications()
    }

    private func drainNotifications() throws(StoreError) -> Bool {
        guard PQconsumeInput(handle) == 1 else { throw lost() }
        var any = false
        while let notification = PQnotifies(handle) {
            PQfreemem(notification)
            any = true
        }
        return any
    }

    private func lost() -> StoreError { .connectionLost(Self.connectionProblem(handle)) }

    func problem(_ result: OpaquePointer, _ statement: String) -> StoreError {
        guard isAlive else { return .connectionLost("while running statement \(statement)") }
        // Fields are named by letters: postgres_ext.h, PG_DIAG_SQLSTATE and others.
        func field(_ letter: Character) -> String? {
            PQresultErrorField(result, Int32(letter.asciiValue ?? 0)).map { String(cString: $0) }
        }
        return StoreError.classify(sqlstate: field("C") ?? "XX000", statement: statement, object: field("n") ?? field("c"), table: field("t"))
    }
}

/// The settings that a new connection begins with.
package struct SessionSetup: Sendable {
    let sql: String
    /// Whether what is set and prepared must last from one transaction to the next, so that a pooler of transactions is refused: the next may find
    /// nothing of it, and tasks would be ended for errors that are not theirs.
    var needsSession = true
    /// Whether a server whose commits are no promise is refused: a crash of it would lose accepted tasks.
    var needsDurability = false
    /// Whether what the server does for this session is to end with it.
    var endsWithClient = false

    /// For the product's statements: their plans are chosen once and always go through the indexes made for them. A plan made while the
    /// queue was empty would scan it whole, and would be kept when it has grown. A broker that stands still in the midst of a transaction holds
    /// rows that the others need: its transaction ends before its sessions can lapse, and where it goes on it asks again. Each statement sees what was
    /// committed before it, whatever the database's default: guards are looked at under locks that an earlier statement took.
    package static let broker = SessionSetup(
        sql: """
            SET search_path = scriptorium, pg_catalog, pg_temp; SET TimeZone = 'UTC'; SET client_min_messages = error; SET jit = off;
            SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off;
            SET enable_bitmapscan = off; SET default_transaction_isolation = 'read committed'; SET statement_timeout = '20s';
            SET idle_in_transaction_session_timeout = '4s'; SET lock_timeout = '2s'
            """, needsDurability: true)

    /// What a migration that others must wait behind waits for at most.
    static let migrationLocks = "SET lock_timeout = '2s'"

    /// For migrations, which may take hours where an index is built. Each statement sees what was committed before it.
    package static let migration = SessionSetup(
        sql: """
            SET search_path = pg_catalog, pg_temp; SET TimeZone = 'UTC'; SET client_min_messages = error; SET statement_timeout = 0;
            SET default_transaction_isolation = 'read committed'; \(migrationLocks)
            """, endsWithClient: true)
}
