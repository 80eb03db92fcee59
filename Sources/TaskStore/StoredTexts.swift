internal import TaskProtocol

/// The stored texts that verify tasks name, with their proofs, as they stand in this transaction.
///
/// They go with the pinned task: a worker has no database, and every attempt must judge the same rows. Nothing is asked where no task of
/// a batch is a verify.
struct StoredTexts {
    /// One row of `generations`.
    struct Text {
        var proof: ResolvedText
        /// The checkpoint that was pinned for it; nil where that was not kept.
        var checkpoint: CheckpointID?
        var checkpointSHA256: String
    }

    private var generations: [UUIDValue: [Text]] = [:]
    private var tasks: [TaskID: [Text]] = [:]
    /// Subjects whose proofs are more than one task may be given, and about how much they are.
    private var oversized: [VerifyParameters.Subject: Int] = [:]
    /// How many of the first subjects can be pinned together; those behind them were not read.
    private(set) var fitting: Int
    /// What one task may be given: it travels in one message.
    private static let byteLimit = 32 << 20
    /// What is pinned in one transaction: each task keeps the proofs that it is to judge.
    private static let batchLimit = 64 << 20

    /// About the bytes of the proofs that a subject names, without reading them.
    private static let measure = Statement(
        "measure_proofs",
        """
        SELECT v.ord, sum(
            octet_length(g.text) + octet_length(g.prompt) + 8 * (cardinality(g.token_ids) + cardinality(g.prompt_token_ids))
                + coalesce(octet_length(g.logprobs::text), 0) + coalesce(octet_length(g.schema::text), 0) + octet_length(g.params::text) + 1000
        )::bigint
        FROM unnest($1::uuid[], $2::uuid[], $3::uuid[]) WITH ORDINALITY AS v (generation, task, since, ord)
        CROSS JOIN LATERAL (
            (SELECT * FROM generations WHERE generations.id = v.generation)
            UNION ALL
            (SELECT * FROM generations WHERE generations.task_id = v.task AND generations.id >= v.since)
        ) g
        GROUP BY v.ord
        """)

    /// A row is named by its id, or by its task: as the index on tasks is one a month, months before the task itself are left out.
    private static let find = Statement(
        "find_proofs",
        """
        SELECT v.ord, (g.stored).id, (g.stored).checkpoint_id, (g.stored).checkpoint_sha256, convert_to(proof(g.stored)::text, 'UTF8')
        FROM unnest($1::uuid[], $2::uuid[], $3::uuid[]) WITH ORDINALITY AS v (generation, task, since, ord)
        CROSS JOIN LATERAL (
            (SELECT g AS stored FROM generations g WHERE g.id = v.generation)
            UNION ALL
            (SELECT g AS stored FROM generations g WHERE g.task_id = v.task AND g.id >= v.since)
        ) g
        ORDER BY v.ord, (g.stored).sample
        """)

    /// - Parameter subjects: of a batch's tasks, in their order; one may come several times.
    init(_ connection: StoreConnection, _ subjects: [VerifyParameters.Subject]) throws(StoreError) {
        fitting = subjects.count
        guard !subjects.isEmpty else { return }
        let sizes = try Self.sizes(of: Array(Set(subjects)), connection)
        oversized = sizes.filter { $0.value > Self.byteLimit }
        var total = 0
        for (place, subject) in subjects.enumerated() where oversized[subject] == nil {
            total += sizes[subject] ?? 0
            guard total > Self.batchLimit else { continue }
            fitting = place
            break
        }
        try read(Array(Set(subjects[..<fitting].filter { oversized[$0] == nil })), connection)
    }

    private static func parameters(_ subjects: [VerifyParameters.Subject]) -> [StatementParameter] {
        func generation(_ subject: VerifyParameters.Subject) -> UUIDValue? { if case .generation(let id) = subject { id } else { nil } }
        func task(_ subject: VerifyParameters.Subject) -> TaskID? { if case .task(let id) = subject { id } else { nil } }
        return [
            .uuids(subjects.map(generation)), .uuids(subjects.map(task)),
            .uuids(subjects.map { task($0).map { UUIDValue.firstText(ofTaskFrom: $0.milliseconds) } }),
        ]
    }

    private static func sizes(
        of subjects: [VerifyParameters.Subject], _ connection: StoreConnection
    ) throws(StoreError) -> [VerifyParameters.Subject: Int] {
        let rows = try connection.run(measure, parameters(subjects))
        var sizes: [VerifyParameters.Subject: Int] = [:]
        for row in rows.indices { sizes[subjects[Int(try rows.requireInt(row, 0)) - 1]] = Int(try rows.requireInt(row, 1)) }
        return sizes
    }

    /// - Parameter subjects: each once.
    private mutating func read(_ subjects: [VerifyParameters.Subject], _ connection: StoreConnection) throws(StoreError) {
        guard !subjects.isEmpty else { return }
        let rows = try connection.run(Self.find, Self.parameters(subjects))
        for row in rows.indices {
            let text = Text(
                proof: ResolvedText(generation: try rows.requireUUID(row, 1), proof: try rows.requireBytes(row, 4)),
                checkpoint: rows.uuid(row, 2), checkpointSHA256: try rows.requireString(row, 3))
            switch subjects[Int(try rows.requireInt(row, 0)) - 1] {
            case .generation(let id): generations[id] = [text]
            case .task(let id): tasks[id, default: []].append(text)
            }
        }
    }

    /// The models that the texts were made with.
    var models: Set<ModelReference> {
        var found = Set<ModelReference>()
        for text in [generations.values, tasks.values].joined().joined() {
            if let checkpoint = text.checkpoint { found.insert(.checkpoint(checkpoint)) }
            found.insert(.digest(text.checkpointSHA256))
        }
        return found
    }

    /// The texts that a verify is to prove, in the order of their samples.
    func proofs(of subject: VerifyParameters.Subject) throws(ContractError) -> [Text] {
        let (found, field): ([Text]?, String) =
            switch subject {
            case .generation(let id): (generations[id], "params.generation")
            case .task(let id): (tasks[id], "params.task")
            }
        if let bytes = oversized[subject] {
            throw ContractError(
                .tooLarge, "its proofs have about \(bytes) bytes, above \(Self.byteLimit): verify its texts one by one", field: field)
        }
        guard let found else {
            throw ContractError(.notFound, field == "params.task" ? "no text of such a task is stored" : "there is no such text", field: field)
        }
        return found
    }
}
