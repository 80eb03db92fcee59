package import TaskProtocol

/// How an artifact stands, its age renewed where it is there: asked for each dataset and tokenizer that a task is pinned to, by digest or web
/// address; never waits for a transfer. (A model's files are named by its checkpoint's row for good, and were looked for when that was made.)
package typealias ArtifactLookup = @Sendable (_ artifact: String) -> ArtifactStanding

/// How a model is asked for: a name, `name@step`, a checkpoint's id, or `sha256:` and a checkpoint digest.
enum ModelReference: Hashable {
    case name(String)
    case step(name: String, step: Int)
    case checkpoint(UUIDValue)
    case digest(String)

    init(_ text: String) {
        if let id = UUIDValue(text) {
            self = .checkpoint(id)
        } else if text.hasPrefix("sha256:") {
            self = .digest(String(text.dropFirst(7)))
        } else if let at = text.lastIndex(of: "@"), let step = Int(text[text.index(after: at)...]), step >= 0 {
            self = .step(name: String(text[..<at]), step: step)
        } else {
            self = .name(text)
        }
    }

    /// The name in it, where there is one.
    var name: String? {
        switch self {
        case .name(let name), .step(let name, _): name
        case .checkpoint, .digest: nil
        }
    }
}

/// Pins tasks: turns every name in their parameters into digests, as they stand in this transaction.
///
/// One query for all models of a batch and one for all datasets, whatever its size.
struct ReferenceResolver {
    private var models: [ModelReference: ResolvedModel] = [:]
    private var existingNames: Set<String> = []
    private var datasets: [String: ResolvedDataset] = [:]
    private let texts: StoredTexts
    /// How many of the first tasks can be pinned together: those behind them would bring too much with them (``StoredTexts/fitting``).
    let fitting: Int
    private let artifacts: ArtifactLookup?

    private static let findModels = Statement(
        "find_models",
        """
        SELECT v.ord, c.id, c.sha256, c.uri, c.tokenizer_sha256, c.context_length, c.line_by_line, c.step, c.model
        FROM unnest($1::text[], $2::int[], $3::uuid[], $4::text[]) WITH ORDINALITY AS v (name, step, id, sha256, ord)
        CROSS JOIN LATERAL (
            (SELECT c.* FROM models m JOIN checkpoints c ON c.id = m.checkpoint_id WHERE m.name = v.name AND v.step IS NULL)
            UNION ALL
            (SELECT c.* FROM checkpoints c WHERE c.model = v.name AND c.step = v.step ORDER BY c.created_at DESC, c.id DESC LIMIT 1)
            UNION ALL
            (SELECT c.* FROM checkpoints c WHERE c.id = v.id)
            UNION ALL
            (SELECT c.* FROM checkpoints c WHERE c.sha256 = v.sha256 ORDER BY c.created_at DESC, c.id DESC LIMIT 1)
        ) c
        """)

    private static let findDatasets = Statement(
        "find_datasets", "SELECT name, sha256, line_by_line, tokenizer_sha256 FROM datasets WHERE name = ANY ($1::text[])")

    /// Looks up all that the given tasks name.
    init(_ connection: StoreConnection, _ parameters: [TaskParameters], artifacts: ArtifactLookup? = nil) throws(StoreError) {
        self.artifacts = artifacts
        var wanted = Set<ModelReference>()
        var wantedDatasets = Set<String>()
        var subjects: [VerifyParameters.Subject] = []
        var places: [Int] = []
        for (place, task) in parameters.enumerated() {
            switch task {
            case .generate(let generate): wanted.insert(ModelReference(generate.model))
            case .finetune(let finetune):
                if let model = finetune.model { wanted.insert(ModelReference(model)) }
                if case .name(let name)? = finetune.tokenizer { wanted.insert(ModelReference(name)) }
                for leaf in finetune.leaves { if case .name(let name) = leaf.dataset { wantedDatasets.insert(name) } }
                wanted.insert(.name(finetune.output))
            case .verify(let verify):
                subjects.append(verify.subject)
                places.append(place)
            }
        }
        texts = try StoredTexts(connection, subjects)
        fitting = texts.fitting < subjects.count ? places[texts.fitting] : parameters.count
        wanted.formUnion(texts.models)
        try findModels(connection, Array(wanted))
        try findDatasets(connection, wantedDatasets.sorted())
    }

    /// Looks up models alone, each as a task's `model` may spell it.
    init(_ connection: StoreConnection, models references: [String]) throws(StoreError) {
        artifacts = nil
        texts = try StoredTexts(connection, [])
        fitting = 0
        try findModels(connection, Array(Set(references.map(ModelReference.init))))
    }

    private mutating func findModels(_ connection: StoreConnection, _ wanted: [ModelReference]) throws(StoreError) {
        guard !wanted.isEmpty else { return }
        func step(_ reference: ModelReference) -> Int? { if case .step(_, let step) = reference { step } else { nil } }
        func id(_ reference: ModelReference) -> UUIDValue? { if case .checkpoint(let id) = reference { id } else { nil } }
        func digest(_ reference: ModelReference) -> String? { if case .digest(let digest) = reference { digest } else { nil } }
        let rows = try connection.run(
            Self.findModels, [.texts(wanted.map(\.name)), .int32s(wanted.map(step)), .uuids(wanted.map(id)), .texts(wanted.map(digest))])
        for row in rows.indices {
            let reference = wanted[Int(try rows.requireInt(row, 0)) - 1]
            models[reference] = ResolvedModel(
                name: reference.name ?? rows.string(row, 8), checkpoint: try rows.requireUUID(row, 1), sha256: try rows.requireString(row, 2),
                manifest: Self.digest(ofURI: try rows.requireString(row, 3)), tokenizerSHA256: rows.string(row, 4),
                contextLength: Int(try rows.requireInt(row, 5)), lineByLine: try rows.bool(row, 6), step: Int(try rows.requireInt(row, 7)))
        }
    }

    private mutating func findDatasets(_ connection: StoreConnection, _ wanted: [String]) throws(StoreError) {
        guard !wanted.isEmpty else { return }
        let rows = try connection.run(Self.findDatasets, [.texts(wanted)])
        for row in rows.indices {
            let name = try rows.requireString(row, 0)
            datasets[name] = ResolvedDataset(
                name: name, sha256: try rows.requireString(row, 1), lineByLine: try rows.bool(row, 2), tokenizerSHA256: rows.string(row, 3))
        }
    }

    private static func digest(ofURI uri: String) -> String { uri.hasPrefix("sha256:") ? String(uri.dropFirst(7)) : uri }

    /// The pinned task, or what it names and is not there.
    func resolve(_ parameters: TaskParameters, seed: Int64?, seedAssigned: Bool) throws(ContractError) -> ResolvedTask {
        var resolved = ResolvedTask(parameters: parameters, seed: seed ?? 0, seedAssigned: seedAssigned)
        switch parameters {
        case .generate(let generate): resolved.model = try model(generate.model, field: "params.model")
        case .finetune(let finetune):
            if let base = finetune.model {
                let model = try model(base, field: "params.model")
                try finetune.checkBlockSize(context: model.contextLength, field: "params.block_size")
                resolved.model = model
            }
            let pinned = try pinnedDatasets(finetune)
            if finetune.hasParts { resolved.datasets = pinned } else { resolved.dataset = pinned.first }
            resolved.tokenizer = try tokenizer(finetune)
            let ownBase = resolved.model?.name == finetune.output
            if !finetune.overwrite, !ownBase, models[.name(finetune.output)] != nil {
                throw ContractError(.conflict, "a model of this name exists; set overwrite to true to replace it", field: "params.output")
            }
        case .verify(let verify):
            let found = try texts.proofs(of: verify.subject)
            resolved.texts = found.map(\.proof)
            resolved.model = model(of: found)
        }
        resolved.parameters = ResolvedTask.effective(parameters, model: resolved.model, datasets: resolved.dataset.map { [$0] } ?? resolved.datasets)
        return resolved
    }

    /// The checkpoint that texts were made with: the very one that was pinned for them, else another with its digest. Nil where it is gone:
    /// the verdict then says so.
    private func model(of texts: [StoredTexts.Text]) -> ResolvedModel? {
        for text in texts {
            if let pinned = text.checkpoint.flatMap({ models[.checkpoint($0)] }), pinned.sha256 == text.checkpointSHA256 { return pinned }
            if let equal = models[.digest(text.checkpointSHA256)] { return equal }
        }
        return nil
    }

    /// The model of a reference that was looked up.
    /// - Throws: `not_found` with the field that named it.
    func model(_ text: String, field: String) throws(ContractError) -> ResolvedModel {
        guard let model = models[ModelReference(text)] else { throw ContractError(.notFound, "there is no such model", field: field) }
        return model
    }

    /// Those that are named or addressed, in order.
    private func pinnedDatasets(_ finetune: FinetuneParameters) throws(ContractError) -> [ResolvedDataset] {
        var pinned: [ResolvedDataset] = []
        for leaf in finetune.leaves {
            switch leaf.dataset {
            case .name(let name):
                let field = finetune.hasParts ? "params.\(finetune.corpusName)" : "params.dataset.name"
                guard var dataset = datasets[name] else {
                    throw ContractError(.notFound, "there is no dataset of the name \(name)", field: field)
                }
                if let lineByLine = leaf.lineByLine { dataset.lineByLine = lineByLine }
                _ = try require(dataset.sha256, field: field)
                pinned.append(dataset)
            case .uri(let uri):
                let digest = try require(uri, field: finetune.hasParts ? "params.\(finetune.corpusName)" : "params.dataset.uri")
                pinned.append(ResolvedDataset(name: nil, sha256: digest, lineByLine: leaf.lineByLine ?? false))
            case .text, .texts, .merge, .crossTrain: continue
            }
        }
        return pinned
    }

    private func tokenizer(_ finetune: FinetuneParameters) throws(ContractError) -> ResolvedTokenizer? {
        switch finetune.tokenizer {
        case .name(let name):
            let model = try model(name, field: "params.tokenizer.name")
            return ResolvedTokenizer(name: name, sha256: model.manifest)
        case .uri(let uri):
            return ResolvedTokenizer(name: nil, sha256: try require(uri, field: "params.tokenizer.uri"))
        case .train, nil: return nil
        }
    }

    /// Pins nothing that is not there.
    /// - Parameter uri: a digest, with `sha256:` before it or without, or a web address.
    /// - Returns: the digest.
    private func require(_ uri: String, field: String) throws(ContractError) -> String {
        let isWeb = Names.isWebAddress(uri)
        let artifact = isWeb ? uri : Self.digest(ofURI: uri)
        switch artifacts?(artifact) ?? (isWeb ? .refused("this broker fetches nothing") : .present) {
        case .present: return artifact
        case .fetched(let sha256): return sha256
        case .fetching: throw ContractError(.busy, "it is being fetched: nothing was accepted, try again", field: field)
        case .refused(let reason): throw ContractError(.invalidArgument, reason, field: field)
        case .missing: throw ContractError(.notFound, "the artifact store does not hold this artifact with all its files", field: field)
        case .unreachable:
            throw ContractError(.unavailable, "the artifact store cannot be looked into: nothing was accepted, try again", field: field)
        }
    }
}
