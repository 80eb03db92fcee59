internal import TaskProtocol

/// What a running task leaves behind: progress, logged steps, checkpoints. All of it under its lease.
extension StoreSession {
    private static let progress = Statement(
        "progress",
        """
        INSERT INTO task_progress (task, progress)
        SELECT v.task, v.progress::jsonb
        FROM unnest($1::uuid[], $2::uuid[], $3::text[]) AS v (task, lease, progress)
        WHERE EXISTS (SELECT FROM hot WHERE hot.task = v.task AND hot.lease = v.lease)
        ORDER BY v.task
        ON CONFLICT (task) DO UPDATE SET progress = excluded.progress
        """)

    func updateProgress(_ updates: [ProgressUpdate]) throws(StoreError) {
        // One statement cannot touch a row twice: the last of a task's updates counts.
        let last = Dictionary(updates.map { ($0.task, $0) }, uniquingKeysWith: { _, newer in newer }).values.sorted { $0.task < $1.task }
        _ = try connection.run(
            Self.progress, [.uuids(last.map(\.task)), .uuids(last.map(\.lease)), .textBytes(last.map { Optional($0.progress) })])
    }

    /// Only what earlier attempts logged: of this one a broker that was left may still write old steps after newer ones.
    private static let discardSteps = Statement(
        "discard_steps",
        """
        DELETE FROM training_steps
        WHERE task_id = $1::uuid AND step > $2::int AND at < (SELECT started_at FROM hot WHERE task = $1::uuid)
        """)
    private static let addSteps = Statement(
        "add_steps",
        """
        INSERT INTO training_steps (task_id, step, loss, average_loss, learning_rate, grad_norm, tokens_per_second)
        SELECT $1::uuid, v.* FROM unnest($2::int[], $3::float8[], $4::float8[], $5::float8[], $6::float8[], $7::float8[]) AS v
        ON CONFLICT (task_id, step) DO UPDATE SET
            loss = excluded.loss, average_loss = excluded.average_loss, learning_rate = excluded.learning_rate, grad_norm = excluded.grad_norm,
            tokens_per_second = excluded.tokens_per_second, at = now()
        """)

    func addTrainingSteps(_ updates: [TrainingStepsUpdate]) throws(StoreError) {
        try connection.transaction { () throws(StoreError) in
            let locked = try lock(updates.map { ($0.task, $0.lease) })
            for update in updates where locked[update.task]?.lease == update.lease {
                if let step = update.discardAfter { _ = try connection.run(Self.discardSteps, [.uuid(update.task), .int32(step)]) }
                let steps = Dictionary(update.steps.map { ($0.step, $0) }, uniquingKeysWith: { _, newer in newer }).values
                    .sorted { $0.step < $1.step }
                guard !steps.isEmpty else { continue }
                _ = try connection.run(
                    Self.addSteps,
                    [
                        .uuid(update.task), .int32s(steps.map(\.step)), .doubles(steps.map(\.loss)), .doubles(steps.map(\.averageLoss)),
                        .doubles(steps.map(\.learningRate)), .doubles(steps.map(\.gradientNorm)), .doubles(steps.map(\.tokensPerSecond)),
                    ])
            }
        }
    }

    private static let insertCheckpoint = Statement(
        "insert_checkpoint",
        """
        INSERT INTO checkpoints (
            id, model, step, parent_id, task_id, uri, sha256, bytes, config, loss, average_loss, created_at, tokenizer_sha256, architecture,
            parameters, context_length, line_by_line
        )
        SELECT
            $1::uuid, t.params ->> 'output', $3::int,
            (coalesce(t.resolved, (SELECT r.resolved FROM resolutions r WHERE r.task = t.id))::jsonb #>> '{model,checkpoint}')::uuid,
            t.id, 'sha256:' || $4::text, $5::text, $6::bigint, $7::text::jsonb, $8::float8, $9::float8, now(), $10::text, $11::text,
            $12::bigint, $13::int, $14::bool
        FROM task t
        WHERE t.id = $2::uuid
        ON CONFLICT (id) DO NOTHING
        """)

    func commitCheckpoints(_ commits: [CheckpointCommit]) throws(StoreError) -> [SettlementReply] {
        try connection.transaction { () throws(StoreError) in
            let locked = try lock(commits.map { ($0.task, $0.lease) })
            let live = commits.filter { locked[$0.task]?.lease == $0.lease }
            for commit in live {
                guard let record = commit.record else { continue }
                _ = try connection.run(
                    Self.insertCheckpoint,
                    [
                        .uuid(commit.id), .uuid(commit.task), .int32(record.step), .text(record.manifest), .text(record.sha256),
                        .int(record.bytes), .bytes(record.config), .double(record.loss), .double(record.averageLoss),
                        .text(record.tokenizerSHA256), .text(record.architecture), .int(record.parameters), .int32(record.contextLength),
                        .bool(record.lineByLine),
                    ])
            }
            try saveResume(live.compactMap { commit in commit.resume.map { (task: commit.task, lease: commit.lease, resume: $0) } })
            return commits.map { commit in
                SettlementReply(settlement: locked[commit.task]?.lease == commit.lease ? .recorded(.running, nil) : .stale)
            }
        }
    }
}
