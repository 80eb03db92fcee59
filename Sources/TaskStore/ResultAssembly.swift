internal import Encodings
internal import TaskProtocol

/// Puts `TaskStatus.result` together from the relations that hold its parts.
extension StoreSession {
    /// A result of more bytes is only announced: it is to be read in SQL.
    private static let resultLimit: Int64 = 64 << 20
    /// Results of one request are read up to here: a reply of so much would be refused anyway, and nobody's request may take all memory.
    private static let requestLimit = 2 * resultLimit

    private static let measure = Statement(
        "measure_results",
        """
        SELECT v.id, count(g.id), coalesce(sum(g.bytes), 0)::bigint
        FROM unnest($1::uuid[], $2::uuid[]) AS v (id, since)
        LEFT JOIN LATERAL (
            SELECT g.id, octet_length(g.text) + coalesce(pg_column_size(g.logprobs), 0) + 300
                + CASE WHEN g.params -> 'return_token_ids' = 'true' THEN 7 * cardinality(g.token_ids) ELSE 0 END AS bytes
            FROM generations g WHERE g.task_id = v.id AND g.id >= v.since OFFSET 0
        ) g ON true
        GROUP BY v.id
        """)

    private static let texts = Statement(
        "result_texts",
        """
        SELECT g.task_id, g.id, g.sample, g.prompt_index, g.text, convert_to(g.schema::text, 'UTF8'), g.prompt_tokens, g.completion_tokens,
            g.finish_reason, g.mean_logprob,
            CASE WHEN g.params -> 'return_token_ids' = 'true' THEN convert_to(array_to_json(g.token_ids)::text, 'UTF8') END,
            convert_to(g.logprobs::text, 'UTF8'), g.redrawn, g.seed, g.rng, g.numerics, g.precision, g.model, g.checkpoint_id, g.checkpoint_sha256
        FROM unnest($1::uuid[], $2::uuid[]) AS v (id, since)
        CROSS JOIN LATERAL (SELECT * FROM generations WHERE generations.task_id = v.id AND generations.id >= v.since OFFSET 0) g
        ORDER BY g.task_id, g.sample
        """)

    private static let checkpoints = Statement(
        "result_checkpoints",
        """
        SELECT v.id, c.id, c.step, c.uri, c.sha256, c.bytes, c.model
        FROM unnest($1::uuid[]) AS v (id)
        CROSS JOIN LATERAL (
            SELECT * FROM checkpoints WHERE checkpoints.task_id = v.id ORDER BY checkpoints.step DESC, checkpoints.created_at DESC LIMIT 1
        ) c
        """)

    /// - Returns: nil; where they are too much to be read at once, how many of the first ones fit, and nothing was added.
    func addResults(_ statuses: inout [TaskStatus]) throws(StoreError) -> Int? {
        let succeeded = statuses.filter { $0.state == .succeeded }
        let measured = try measuredTexts(statuses.filter { $0.state == .succeeded && $0.kind == TaskKind.generate.rawValue })
        if measured.total > Self.requestLimit {
            let firstBeyond = measured.firstBeyond.flatMap { id in statuses.firstIndex { $0.id == id } }
            return firstBeyond ?? statuses.count
        }
        let texts = try textResults(measured)
        let models = try modelResults(succeeded.filter { $0.kind == TaskKind.finetune.rawValue })
        for index in statuses.indices where statuses[index].state == .succeeded {
            if let result = texts[statuses[index].id] ?? models[statuses[index].id] { statuses[index].result = result }
        }
        return nil
    }

    private static func since(_ status: TaskStatus) -> UUIDValue { UUIDValue.firstText(ofTaskFrom: status.createdAt) }

    /// What the texts of some tasks would take, before they are read.
    private struct MeasuredTexts {
        /// Results that need no reading: of texts that are gone, or that alone are too much.
        var results: [TaskID: [UInt8]] = [:]
        /// The tasks whose texts are to be read.
        var sized: [TaskStatus] = []
        var bounds: [TaskID: UUIDValue] = [:]
        var total: Int64 = 0
        /// The first task whose result does not fit into one reply any more.
        var firstBeyond: TaskID?
    }

    private func measuredTexts(_ statuses: [TaskStatus]) throws(StoreError) -> MeasuredTexts {
        var measured = MeasuredTexts()
        guard !statuses.isEmpty else { return measured }
        measured.bounds = Dictionary(statuses.map { ($0.id, Self.since($0)) }, uniquingKeysWith: { first, _ in first })
        let ids = measured.bounds.keys.sorted()
        let sizes = try connection.run(Self.measure, [.uuids(ids), .uuids(ids.map { measured.bounds[$0] })])
        var sizeOf: [TaskID: (count: Int64, bytes: Int64)] = [:]
        for row in sizes.indices { sizeOf[try sizes.requireUUID(row, 0)] = (try sizes.requireInt(row, 1), try sizes.requireInt(row, 2)) }
        for status in statuses {
            guard let (count, bytes) = sizeOf.removeValue(forKey: status.id) else { continue }
            if count == 0 {
                measured.results[status.id] = Array("{\"expired\":true}".utf8)
            } else if bytes > Self.resultLimit {
                measured.results[status.id] = Array("{\"truncated\":true,\"generations\":\(count)}".utf8)
            } else {
                measured.total += bytes
                if measured.total > Self.resultLimit, measured.firstBeyond == nil { measured.firstBeyond = status.id }
                measured.sized.append(status)
            }
        }
        return measured
    }

    private func textResults(_ measured: MeasuredTexts) throws(StoreError) -> [TaskID: [UInt8]] {
        var results = measured.results
        let (sized, bounds) = (measured.sized, measured.bounds)
        guard !sized.isEmpty else { return results }
        let rows = try connection.run(Self.texts, [.uuids(sized.map(\.id)), .uuids(sized.map { bounds[$0.id] })])
        var row = 0
        while row < rows.count {
            let task = try rows.requireUUID(row, 0)
            var end = row
            while end < rows.count, try rows.requireUUID(end, 0) == task { end += 1 }
            results[task] = try generateResult(rows, row..<end)
            row = end
        }
        return results
    }

    private func generateResult(_ rows: StatementRows, _ range: Range<Int>) throws(StoreError) -> [UInt8] {
        let first = range.lowerBound
        var writer = JSONWriter()
        writer.beginMap(6)
        writer.member("seed", try rows.requireInt(first, 13))
        writer.member("rng", rows.string(first, 14))
        writer.member("numerics", rows.string(first, 15))
        writer.key("model")
        writer.beginMap(3)
        writer.member("name", rows.string(first, 17))
        writer.member("checkpoint", rows.uuid(first, 18)?.description)
        writer.member("sha256", rows.string(first, 19))
        writer.endMap()
        writer.member("precision", rows.string(first, 16))
        writer.key("generations")
        writer.beginArray(range.count)
        for row in range { try writeText(rows, row, to: &writer) }
        writer.endArray()
        writer.endMap()
        return writer.bytes
    }

    private func writeText(_ rows: StatementRows, _ row: Int, to writer: inout JSONWriter) throws(StoreError) {
        let optional: [(name: String, json: [UInt8])] = [("schema", 5), ("token_ids", 10), ("logprobs", 11)].compactMap { name, column in
            rows.bytes(row, column).map { (name, $0) }
        }
        let redrawn = rows.int(row, 12)
        writer.beginMap(8 + optional.count + (redrawn == nil ? 0 : 1))
        writer.member("id", try rows.requireUUID(row, 1).description)
        writer.member("sample", rows.int(row, 2))
        writer.member("prompt_index", rows.int(row, 3))
        writer.member("text", rows.string(row, 4))
        writer.member("prompt_tokens", rows.int(row, 6))
        writer.member("completion_tokens", rows.int(row, 7))
        writer.member("finish_reason", rows.string(row, 8))
        writer.member("mean_logprob", rows.double(row, 9))
        for (name, json) in optional { writer.member(name, json: json) }
        if let redrawn { writer.member("redrawn", redrawn) }
        writer.endMap()
    }

    private func modelResults(_ statuses: [TaskStatus]) throws(StoreError) -> [TaskID: [UInt8]] {
        guard !statuses.isEmpty else { return [:] }
        let rows = try connection.run(Self.checkpoints, [.uuids(statuses.map(\.id))])
        let figures = Dictionary(statuses.map { ($0.id, $0.result) }, uniquingKeysWith: { first, _ in first })
        var results: [TaskID: [UInt8]] = [:]
        for row in rows.indices {
            let task = try rows.requireUUID(row, 0)
            let checkpoint: JSONObject = [
                "id": .string(try rows.requireUUID(row, 1).description), "step": .integer(try rows.requireInt(row, 2)),
                "uri": .string(try rows.requireString(row, 3)), "sha256": .string(try rows.requireString(row, 4)),
                "bytes": .integer(try rows.requireInt(row, 5)),
            ]
            var result: JSONObject = ["model": .string(try rows.requireString(row, 6)), "checkpoint": .object(checkpoint)]
            // What the worker reported (steps, losses, speed) stands in tasks.result; the checkpoint's own row is the truth about the rest.
            if let reported = figures[task].flatMap({ $0 }), let values = (try? JSONValue.parse(reported))?.objectValue {
                for (name, value) in values where result[name] == nil { result[name] = value }
            }
            results[task] = JSONValue.object(result).serialised
        }
        return results
    }
}

extension UUIDValue {
    /// Texts carry ids of the time of their completion: partitions before a task's own month need not be asked. A day more, as clocks are set back.
    /// - Parameter milliseconds: when the task was made.
    static func firstText(ofTaskFrom milliseconds: Int64) -> UUIDValue {
        UUIDValue(hi: UInt64(bitPattern: max(0, milliseconds - 86_400_000)) << 16, lo: 0)
    }
}
