/// What a database server is and promises, as far as brokers care: for `scriptorium doctor`, and for a broker's start.
package struct DatabaseFacts: Sendable, Equatable {
    /// What stands between this process and the server.
    package enum Pooler: String, Sendable {
        case none
        /// A connection to the pooler is one to the server, as long as it lasts.
        case session
        /// Each transaction may go to another server process: nothing of a session lasts.
        case transaction
    }

    /// As 150006.
    package var serverVersion = 0
    /// A standby takes no writes.
    package var isStandby = false
    package var fsync = "on"
    package var fullPageWrites = "on"
    package var synchronousCommit = "on"
    /// How many standbys confirm a commit before it is answered.
    package var synchronousStandbys = 0
    package var maximumConnections = 0
    package var usedConnections = 0
    package var user = ""
    package var isSuperuser = false
    /// Whether the schema is there at all.
    package var hasSchema = false
    /// Whether this user may do what brokers do.
    package var mayWrite = false
    /// Whether everybody in the cluster may look into the schema.
    package var isOpenToPublic = false
    /// Those of the three roles that do not exist.
    package var missingRoles: [String] = []
    /// Age of the oldest transaction that holds vacuum back.
    package var oldestSnapshotSeconds = 0.0
    package var isEncrypted = false
    package var isLocal = false
    /// libpq's `sslmode`.
    package var tlsMode = ""
    package var pooler = Pooler.none

    package init() {}

    /// Looks. Changes nothing.
    /// - Throws: where the server cannot be reached or does not answer.
    package static func read(_ url: String) throws(StoreError) -> DatabaseFacts {
        let connection = try StoreConnection(url, setup: .looking)
        var facts = DatabaseFacts()
        facts.serverVersion = connection.serverVersion
        facts.isEncrypted = connection.isEncrypted
        facts.isLocal = connection.isLocal
        facts.tlsMode = connection.option("sslmode") ?? ""
        facts.takeServer(try connection.texts(server))
        facts.takeRights(try connection.texts(rights))
        facts.pooler = try connection.pooler(url)
        return facts
    }

    // MARK: Statements

    private static let server = Statement(
        "facts_server",
        """
        SELECT pg_is_in_recovery(), current_setting('fsync'), current_setting('full_page_writes'), current_setting('synchronous_commit'),
            (SELECT count(*) FROM pg_stat_replication WHERE sync_state IN ('sync', 'quorum')), current_setting('max_connections'),
            (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'), current_user,
            (SELECT rolsuper FROM pg_roles WHERE rolname = current_user),
            coalesce((SELECT extract(epoch FROM now() - min(xact_start)) FROM pg_stat_activity WHERE backend_xmin IS NOT NULL), 0)
        """)

    /// The table is looked up only by those who may use the schema: others would get an error instead of an answer.
    private static let rights = Statement(
        "facts_rights",
        """
        SELECT n.oid IS NOT NULL, coalesce(has_schema_privilege('public', n.oid, 'USAGE'), false),
            array_to_string(ARRAY(SELECT r FROM unnest(ARRAY['scriptorium_reader', 'scriptorium_publisher', 'scriptorium_broker']) r
                WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = r) ORDER BY r), ','),
            coalesce(has_schema_privilege(n.oid, 'USAGE') AND (SELECT bool_and(has_table_privilege(c.oid, 'SELECT')
                AND has_table_privilege(c.oid, 'INSERT') AND (c.relname <> 'hot'
                    OR has_table_privilege(c.oid, 'UPDATE') AND has_table_privilege(c.oid, 'DELETE')))
                FROM pg_class c WHERE c.relnamespace = n.oid AND c.relname IN ('task', 'hot', 'outcome', 'generations')), false)
        FROM (SELECT 1) AS one LEFT JOIN pg_namespace n ON n.nspname = 'scriptorium'
        """)

    // MARK: Reading

    private mutating func takeServer(_ row: [String?]) {
        isStandby = row[0] == "t"
        (fsync, fullPageWrites, synchronousCommit) = (row[1] ?? "", row[2] ?? "", row[3] ?? "")
        synchronousStandbys = row[4].flatMap { Int($0) } ?? 0
        maximumConnections = row[5].flatMap { Int($0) } ?? 0
        usedConnections = row[6].flatMap { Int($0) } ?? 0
        user = row[7] ?? ""
        isSuperuser = row[8] == "t"
        oldestSnapshotSeconds = row[9].flatMap { Double($0) } ?? 0
    }

    private mutating func takeRights(_ row: [String?]) {
        hasSchema = row[0] == "t"
        isOpenToPublic = row[1] == "t"
        missingRoles = (row[2] ?? "").split(separator: ",").map(String.init)
        mayWrite = row[3] == "t"
    }
}

extension SessionSetup {
    /// For looking at a server only: nothing that a pooler could refuse, or keep.
    static let looking = SessionSetup(sql: "SELECT 1", needsSession: false)
}
