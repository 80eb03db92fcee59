/// The artifacts that rows name: what garbage collection spares, with all files of those that are manifests.
package enum NamedArtifacts {
    /// One statement, so one picture. Digests are found in text, wherever in it they stand: 64 hexadecimal digits of something else spare an artifact
    /// too much, never one too little.
    ///
    /// A finished generate names only its model's files, which its checkpoint's row names for good, so the many of them are not read. Resume states
    /// of tasks that succeeded are of no use any more; those of failed and cancelled ones serve a retry.
    private static let statement = Statement(
        "named_artifacts",
        """
        WITH named (body) AS (
            SELECT uri FROM scriptorium.checkpoints
            UNION ALL SELECT uri || ' ' || sha256 FROM scriptorium.datasets
            UNION ALL SELECT params::text FROM scriptorium.schedules
            UNION ALL SELECT t.params::text || ' ' || coalesce(t.resolved, '') FROM scriptorium.task t WHERE t.kind <> 'generate'
            UNION ALL
            SELECT t.params::text || ' ' || coalesce(t.resolved, '')
            FROM scriptorium.hot h JOIN scriptorium.task t ON t.id = h.task WHERE t.kind = 'generate'
            UNION ALL
            SELECT r.resolved FROM scriptorium.resolutions r
            WHERE EXISTS (SELECT FROM scriptorium.hot h WHERE h.task = r.task)
                OR EXISTS (SELECT FROM scriptorium.task t WHERE t.id = r.task AND t.kind <> 'generate')
            UNION ALL
            SELECT p.resume::text FROM scriptorium.task_resume p
            WHERE NOT EXISTS (SELECT FROM scriptorium.outcome o WHERE o.task = p.task AND o.state = 'succeeded')
        )
        SELECT DISTINCT lower(found[1]) FROM named, regexp_matches(named.body, '[0-9a-fA-F]{64}', 'g') AS found
        """)

    /// Every digest that a row names.
    package static func all(_ connection: StoreConnection) throws(StoreError) -> Set<String> {
        let rows = try connection.run(statement)
        var digests = Set<String>()
        for row in rows.indices { digests.insert(try rows.requireString(row, 0)) }
        return digests
    }
}
