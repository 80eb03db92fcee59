/// How the text index lies over the table of texts and its months, as the catalogue has it.
///
/// An index counts by what it is, not by its name: GIN over `text_search` alone and over all rows. So also one counts that an operator made, or that
/// a rebuild left behind.
struct TextIndexLayout: Sendable, Equatable {
    /// One index; its name is quoted where it must be, and says its schema.
    struct Index: Sendable, Equatable {
        let name: String
        let isValid: Bool
        /// Whether it belongs to one of the table: it then goes with that, and not without it.
        let isAttached: Bool
    }

    /// A month of texts.
    struct Partition: Sendable, Equatable {
        /// Quoted, with its schema.
        let name: String
        /// What an index of it is called, as where PostgreSQL names it.
        let indexName: String
        var indexes: [Index] = []

        /// The one that the table's takes, or has.
        var usable: Index? { indexes.first { $0.isValid && $0.isAttached } ?? indexes.first { $0.isValid } }
    }

    /// Those of the table itself: valid where each month has one that belongs to it.
    var parents: [Index] = []
    var partitions: [Partition] = []

    /// Whether each search can use it.
    var stands: Bool { parents.contains { $0.isValid } }
    /// Whether no insert pays for it.
    var isMissing: Bool { parents.isEmpty && partitions.allSatisfy { $0.indexes.isEmpty } }
    /// The months in whose way nothing stands.
    var isCovered: Bool { partitions.allSatisfy { $0.usable != nil } }

    private static let statement = Statement(
        "text_index_layout",
        """
        WITH parent AS (
            SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = 'scriptorium' AND c.relname = 'generations'
        ), tables AS (
            SELECT oid, false AS is_partition FROM parent
            UNION ALL SELECT h.inhrelid, true FROM pg_inherits h JOIN parent p ON p.oid = h.inhparent WHERE NOT h.inhdetachpending
        ), indexes AS (
            SELECT i.indrelid, i.indisvalid, format('%I.%I', n.nspname, c.relname) AS name,
                EXISTS (SELECT FROM pg_inherits h WHERE h.inhrelid = i.indexrelid) AS is_attached
            FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_am m ON m.oid = c.relam
                JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
            WHERE i.indrelid IN (SELECT oid FROM tables) AND m.amname = 'gin' AND i.indnatts = 1 AND i.indpred IS NULL AND a.attname = 'text_search'
        )
        SELECT t.is_partition, format('%I.%I', n.nspname, c.relname), format('%I', c.relname || '_text_search_idx'), x.name, x.indisvalid, x.is_attached
        FROM tables t JOIN pg_class c ON c.oid = t.oid JOIN pg_namespace n ON n.oid = c.relnamespace LEFT JOIN indexes x ON x.indrelid = t.oid
        ORDER BY t.is_partition, c.relname, x.name
        """)

    /// Looks. Nobody needs a right for it.
    /// - Returns: nil where there is no table of texts: the schema is not there, or older than it.
    static func read(_ connection: StoreConnection) throws(StoreError) -> TextIndexLayout? {
        let rows = try connection.run(statement)
        guard rows.count > 0 else { return nil }
        var layout = TextIndexLayout()
        for row in rows.indices {
            let index =
                rows.isNull(row, 3)
                ? nil : Index(name: try rows.requireString(row, 3), isValid: try rows.bool(row, 4), isAttached: try rows.bool(row, 5))
            guard try rows.bool(row, 0) else {
                layout.parents += index.map { [$0] } ?? []
                continue
            }
            let name = try rows.requireString(row, 1)
            if layout.partitions.last?.name != name {
                layout.partitions.append(Partition(name: name, indexName: try rows.requireString(row, 2)))
            }
            if let index { layout.partitions[layout.partitions.count - 1].indexes.append(index) }
        }
        return layout
    }
}
