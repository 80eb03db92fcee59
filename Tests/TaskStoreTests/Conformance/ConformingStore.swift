import Encodings
import QueueSimulation
import TaskProtocol
import TaskStore

/// A store that is held to what the others answer: PostgreSQL behind `TaskStore`, or the model that the simulations take for it.
protocol ConformingStore: AnyObject {
    func perform(_ request: StoreRequest, now: Int64) -> StoreReply
    /// Calls `scriptorium.submit()`.
    /// - Parameter drawn: the id that the model is to have drawn, with `now` in it; PostgreSQL draws its own.
    /// - Returns: the task, or nil for a key that was used with other params.
    func publish(_ publication: ModelStore.Publication, drawn: TaskID, now: Int64) throws -> TaskID?
    /// Lets time pass for all whose time is ahead.
    func bringForward(milliseconds: Int64) throws
    func rows(of tasks: [TaskID]) throws -> [ConformanceRow]
}

/// All that is recorded of a task, as far as both stores hold it.
struct ConformanceRow {
    var task: TaskID
    var state: String
    var attempt: Int
    var failures: Int
    var losses: Int
    var block: String?
    var lease: LeaseID?
    var session: SessionID?
    var cancelRequested: Bool
    var rank: Int64?
    var runAt: Int64?
    /// How each lease that is over ended, in the order of the leases.
    var endings: String
    var texts: String
    /// Steps of filed checkpoints.
    var checkpoints: String
    var resume: [UInt8]?
    var errorCode: String?
    var errorField: String?
    var isPinned: Bool
}

/// The model, whole or with a guard left out.
final class ModelUnderTest: ConformingStore {
    private var store: ModelStore

    init(mutation: ModelStore.Mutation? = nil) { store = ModelStore(mutation: mutation) }

    func perform(_ request: StoreRequest, now: Int64) -> StoreReply { store.perform(request, now: now) }

    func publish(_ publication: ModelStore.Publication, drawn: TaskID, now: Int64) -> TaskID? {
        store.publish(publication, id: drawn, now: now)
    }

    func bringForward(milliseconds: Int64) { store.bringForward(milliseconds: milliseconds) }

    func rows(of tasks: [TaskID]) -> [ConformanceRow] {
        tasks.sorted().compactMap { store.tasks[$0] }.map { task in
            let isOver = task.state.isTerminal
            return ConformanceRow(
                task: task.id, state: task.state.rawValue, attempt: task.attempt, failures: task.failures, losses: task.losses,
                block: task.block?.rawValue, lease: task.lease, session: task.session, cancelRequested: !isOver && task.cancelRequested,
                rank: isOver ? nil : task.rank, runAt: isOver ? nil : task.runAt,
                endings: task.endings.map { "\($0.key)=\($0.value)" }.sorted().joined(separator: " "),
                texts: task.generations.map { "\($0.sample):\($0.text)" }.sorted().joined(separator: " "),
                checkpoints: task.checkpoints.values.sorted().map(String.init).joined(separator: " "), resume: task.resume,
                errorCode: task.error?.code.rawValue, errorField: task.error?.field, isPinned: task.resolved != nil)
        }
    }
}

/// PostgreSQL, by the product's own statements under a broker's rights.
final class PostgreSQLUnderTest: ConformingStore {
    let bench: Bench

    init() throws { bench = try Bench() }

    func perform(_ request: StoreRequest, now: Int64) -> StoreReply { bench.ask(request) }

    private static let submit = Statement(
        "conformance_submit",
        """
        SELECT submit(
            'generate', $1::text::jsonb, queue => $2::text, priority => $3::int, key => $4::text, run_at => to_timestamp($5::bigint / 1000.0),
            after => $6::uuid[])
        """)

    func publish(_ publication: ModelStore.Publication, drawn: TaskID, now: Int64) throws -> TaskID? {
        do throws(StoreError) {
            return try bench.connection.run(
                Self.submit,
                [
                    .bytes(publication.params), .text(publication.queue), .int32(publication.priority), .text(publication.key),
                    .int(publication.runAt), publication.after.isEmpty ? .null : .uuids(publication.after),
                ]
            ).requireUUID(0, 0)
        } catch .refused(sqlstate: "23505", _, _) {
            return nil
        }
    }

    func bringForward(milliseconds: Int64) throws {
        try bench.connection.execute(
            """
            UPDATE hot SET run_at = run_at - \(milliseconds) * interval '1 millisecond', rank = rank - \(milliseconds) WHERE blocked = 'r'
            """)
    }

    private static let rows = Statement(
        "conformance_rows",
        """
        SELECT t.id, coalesce(o.state, CASE WHEN h.lease IS NULL THEN 'queued' ELSE 'running' END), coalesce(h.attempt, o.attempt),
            coalesce(h.failures, o.failures), coalesce(h.losses, o.losses), h.blocked::text, h.lease, h.session,
            coalesce(h.cancel_requested, false), h.rank, floor(extract(epoch FROM h.run_at) * 1000)::bigint,
            array_to_string(ARRAY(
                SELECT x.lease::text || '=' || x.ending FROM (
                    SELECT tries.lease, tries.outcome AS ending FROM tries WHERE tries.task = t.id
                    UNION ALL SELECT o.lease, o.ending WHERE o.lease IS NOT NULL
                ) x ORDER BY 1), ' '),
            array_to_string(ARRAY(SELECT g.sample || ':' || g.text FROM generations g WHERE g.task_id = t.id ORDER BY 1), ' '),
            array_to_string(ARRAY(SELECT c.step FROM checkpoints c WHERE c.task_id = t.id ORDER BY 1), ' '),
            convert_to((SELECT r.resume::text FROM task_resume r WHERE r.task = t.id), 'UTF8'), o.error ->> 'code', o.error ->> 'field',
            t.resolved IS NOT NULL OR EXISTS (SELECT FROM resolutions r WHERE r.task = t.id)
        FROM task t LEFT JOIN hot h ON h.task = t.id LEFT JOIN outcome o ON o.task = t.id
        WHERE t.id = ANY ($1::uuid[])
        ORDER BY t.id
        """)

    func rows(of tasks: [TaskID]) throws -> [ConformanceRow] {
        let rows = try bench.connection.run(Self.rows, [.uuids(tasks)])
        return try rows.indices.map { row in
            ConformanceRow(
                task: try rows.requireUUID(row, 0), state: try rows.requireString(row, 1), attempt: Int(try rows.requireInt(row, 2)),
                failures: Int(try rows.requireInt(row, 3)), losses: Int(try rows.requireInt(row, 4)), block: rows.string(row, 5),
                lease: rows.uuid(row, 6), session: rows.uuid(row, 7), cancelRequested: try rows.bool(row, 8), rank: rows.int(row, 9),
                runAt: rows.int(row, 10), endings: try rows.requireString(row, 11), texts: try rows.requireString(row, 12),
                checkpoints: try rows.requireString(row, 13), resume: rows.bytes(row, 14), errorCode: rows.string(row, 15),
                errorField: rows.string(row, 16), isPinned: try rows.bool(row, 17))
        }
    }
}
