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
    /// What one task may be given: it travels in one message.
    private static let byteLimit = 32 << 20

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

    init(_ connection: StoreConnection, _ subjects: [VerifyParameters.Subject]) throws(StoreError) {
        guard !subjects.isEmpty else { return }
        func generation(_ subject: VerifyParameters.Subject) -> UUIDValue? { if case .generation(let id) = subject { id } else { nil } }
        func task(_ subject: VerifyParameters.Subject) -> TaskID? { if case .task(let id) = subject { id } else { nil } }
        let rows = try connection.run(
            Self.find,
            [
                .uuids(subjects.map(generation)), .uuids(subjects.map(task)),
                .uuids(subjects.map { task($0).map { UUIDValue.firstText(ofTaskFrom: $0.milliseconds) } }),
            ])
        var places: [TaskID: Int64] = [:]
        for row in rows.indices {
            let place = try rows.requireInt(row, 0)
            let text = Text(
                proof: ResolvedText(generation: try rows.requireUUID(row, 1), proof: try rows.requireBytes(row, 4)),
                checkpoint: rows.uuid(row, 2), checkpointSHA256: try rows.requireString(row, 3))
            switch subjects[Int(place) - 1] {
            case .generation(let id): generations[id] = [text]
            // Two tasks of a batch may name the same one.
            case .task(let id) where places[id, default: place] == place:
                places[id] = place
                tasks[id, default: []].append(text)
            case .task: break
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
        guard let found else {
            throw ContractError(.notFound, field == "params.task" ? "no text of such a task is stored" : "there is no such text", field: field)
        }
        let bytes = found.reduce(0) { $0 + $1.proof.proof.count }
        guard bytes <= Self.byteLimit else {
            throw ContractError(.tooLarge, "its proofs have \(bytes) bytes, above \(Self.byteLimit): verify its texts one by one", field: field)
        }
        return found
    }
}
