import TaskStore

/// A database that benchmarks of the queue may fill.
struct BenchmarkDatabase {
    /// libpq's connection string, of somebody who may write all tables.
    let url: String
    /// It was made for the benchmark, server and all.
    let isOwn: Bool

    private static let portion = 100_000

    /// Lays tasks into it that have succeeded, as brokers would leave them, but for their texts.
    func addFinished(_ count: Int) throws {
        guard count > 0 else { return }
        let connection = try DatabasePreparation.connect(url, withinSeconds: 0, setup: .migration)
        try connection.execute("SET search_path = scriptorium, pg_catalog, pg_temp", name: "bench_path")
        // Their ids are numbered: drawing each would take longer than the rest.
        let id = "(left(uuid_floor(now())::text, 14) || '7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid"
        for first in stride(from: 1, through: count, by: Self.portion) {
            try connection.execute(
                """
                WITH t AS (
                    INSERT INTO task (id, created_at, kind, queue, priority, max_attempts, seed_assigned, run_at, client, params, resolved)
                    SELECT \(id), now(), 'generate', 'default', 0, 3, false, now(), '', '{"model": "bench", "prompt": ""}', '{}'
                    FROM generate_series(\(first), \(min(first + Self.portion - 1, count))) n
                    RETURNING id, created_at
                )
                INSERT INTO outcome (task, created_at, finished_at, started_at, attempt, failures, losses, state, ending)
                SELECT id, created_at, now(), now(), 1, 0, 0, 'succeeded', 'succeeded' FROM t
                """, name: "bench_finished")
        }
        guard isOwn else { return }
        // Else its checkpoint and its analysis would fall into what is measured.
        try connection.execute("ANALYZE task; ANALYZE outcome; CHECKPOINT", name: "bench_settle")
    }
}
