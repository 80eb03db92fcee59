internal import TaskProtocol

/// The texts of finished tasks.
extension StoreSession {
    private static let contexts = Statement(
        "generation_contexts",
        """
        SELECT v.id, convert_to(coalesce(t.resolved, (SELECT x.resolved FROM resolutions x WHERE x.task = v.id)), 'UTF8'),
            t.seed, t.seed_assigned, convert_to(t.tags::text, 'UTF8'), o.worker
        FROM unnest($1::uuid[]) AS v (id)
        CROSS JOIN LATERAL (SELECT * FROM task WHERE task.id = v.id OFFSET 0) t
        CROSS JOIN LATERAL (SELECT outcome.worker FROM outcome WHERE outcome.task = v.id OFFSET 0) o
        """)

    private static let insert = Statement(
        "insert_generations",
        """
        INSERT INTO generations (
            id, created_at, task_id, sample, prompt_index, draw, attempt, model, checkpoint_id, checkpoint_sha256, tokenizer_sha256, prompt, text,
            schema, seed, seed_assigned, rng, numerics, params, precision, prompt_token_ids, token_ids, prompt_tokens, completion_tokens,
            finish_reason, mean_logprob, logprobs, worker, tags, record_sha256, redrawn, signature
        )
        SELECT
            v.id, uuid_time(v.id), v.task_id, v.sample, v.prompt_index, v.draw, v.attempt, v.model, v.checkpoint::uuid, v.checkpoint_sha256,
            v.tokenizer_sha256, v.prompt, v.text, v.schema::jsonb, v.seed, v.seed_assigned, coalesce(p.params ->> 'rng', 'philox'), v.numerics,
            p.params, coalesce(p.params ->> 'precision', 'float32'), v.prompt_ids::int[], v.ids::int[], cardinality(v.prompt_ids::int[]),
            cardinality(v.ids::int[]), v.finish_reason, v.mean_logprob, v.logprobs::jsonb, v.worker, v.tags::jsonb, v.record_sha256, v.redrawn, v.signature
        FROM unnest(
            $1::uuid[], $2::uuid[], $3::int[], $4::int[], $5::int[], $6::int[], $7::text[], $8::text[], $9::text[], $10::text[], $11::text[],
            $12::text[], $13::text[], $14::bigint[], $15::bool[], $16::text[], $17::text[], $18::text[], $19::text[], $20::text[], $21::float8[],
            $22::text[], $23::uuid[], $24::text[], $25::text[], $26::int[], $27::text[]
        ) AS v (
            id, task_id, sample, prompt_index, draw, attempt, model, checkpoint, checkpoint_sha256, tokenizer_sha256, prompt, text, schema, seed,
            seed_assigned, numerics, params, prompt_ids, ids, finish_reason, mean_logprob, logprobs, worker, tags, record_sha256, redrawn, signature
        )
        CROSS JOIN LATERAL (SELECT v.params::jsonb AS params OFFSET 0) p
        """)

    /// What a task's texts have in common.
    private struct Context {
        var model: String
        var checkpoint: String?
        var seed: Int64
        var seedAssigned: Bool
        var tags: [UInt8]?
        var worker: UUIDValue?
    }

    private struct Row {
        var id: UUIDValue
        var attempt: Int
        var task: TaskID
        var record: GenerationRecord
        var context: Context
    }

    /// Files the texts of completions just recorded in this transaction.
    func insertGenerations(_ completions: [Completion]) throws(StoreError) {
        let withTexts = completions.filter { !$0.generations.isEmpty }
        guard !withTexts.isEmpty else { return }
        let contexts = try contexts(withTexts.map(\.task))
        var rows: [Row] = []
        for completion in withTexts {
            guard let context = contexts[completion.task] else { continue }
            for (id, record) in zip(completion.generationIDs, completion.generations) {
                rows.append(Row(id: id, attempt: completion.attempt, task: completion.task, record: record, context: context))
            }
        }
        try insert(rows)
    }

    private func contexts(_ tasks: [TaskID]) throws(StoreError) -> [TaskID: Context] {
        let rows = try connection.run(Self.contexts, [.uuids(tasks)])
        var found: [TaskID: Context] = [:]
        for row in rows.indices {
            let pinned = ResolvedOutline(of: rows.bytes(row, 1) ?? [])
            let wasDrawn = try rows.bool(row, 3)
            found[try rows.requireUUID(row, 0)] = Context(
                model: pinned.modelName ?? pinned.modelSHA256.map { "sha256:" + $0 } ?? "", checkpoint: pinned.checkpoint,
                seed: pinned.seed ?? rows.int(row, 2) ?? 0, seedAssigned: pinned.seedAssigned ?? wasDrawn, tags: rows.bytes(row, 4),
                worker: rows.uuid(row, 5))
        }
        return found
    }

    private func insert(_ rows: [Row]) throws(StoreError) {
        _ = try connection.run(
            Self.insert,
            [
                .uuids(rows.map(\.id)), .uuids(rows.map(\.task)), .int32s(rows.map(\.record.sample)), .int32s(rows.map(\.record.promptIndex)),
                .int32s(rows.map(\.record.draw)), .int32s(rows.map(\.attempt)), .texts(rows.map(\.context.model)),
                .texts(rows.map(\.context.checkpoint)), .texts(rows.map(\.record.checkpointSHA256)), .texts(rows.map(\.record.tokenizerSHA256)),
                .texts(rows.map(\.record.prompt)), .texts(rows.map(\.record.text)), .textBytes(rows.map(\.record.schema)),
                .ints(rows.map(\.context.seed)), .bools(rows.map(\.context.seedAssigned)), .texts(rows.map(\.record.numerics)),
                .textBytes(rows.map(\.record.params)), .texts(rows.map { Self.arrayText($0.record.promptTokenIDs) }),
                .texts(rows.map { Self.arrayText($0.record.tokenIDs) }), .texts(rows.map(\.record.finishReason.rawValue)),
                .doubles(rows.map(\.record.meanLogprob)), .textBytes(rows.map(\.record.logprobs)), .uuids(rows.map(\.context.worker)),
                .textBytes(rows.map(\.context.tags)), .texts(rows.map(\.record.recordSHA256)), .int32s(rows.map(\.record.redrawn)),
                .texts(rows.map(\.record.signature)),
            ])
    }

    /// An array inside an array must be rectangular in PostgreSQL; as text each row's may have its own length.
    private static func arrayText(_ ids: [Int32]) -> String { "{" + ids.map(String.init).joined(separator: ",") + "}" }
}
