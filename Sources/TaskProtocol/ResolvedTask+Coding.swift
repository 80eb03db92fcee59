package import Encodings

extension ResolvedTask {
    /// The parameters with everything filled in that the pinned model and dataset decide: after this no worker's opinion matters.
    ///
    /// - `prepend_bos` as the model's `line_by_line` says, `max_length` capped at the context (unless it slides), `block_size` the context,
    ///   each dataset's `line_by_line` as registered.
    /// - Parameter datasets: those that are named or addressed, in order.
    package static func effective(_ parameters: TaskParameters, model: ResolvedModel?, datasets: [ResolvedDataset]) -> TaskParameters {
        switch parameters {
        case .generate(let generate):
            return .generate(model.map { generate.settled(contextLength: $0.contextLength, lineByLine: $0.lineByLine) } ?? generate)
        case .finetune(var finetune):
            finetune.settleTexts(datasets)
            finetune.blockSize = finetune.blockSize ?? model?.contextLength
            return .finetune(finetune)
        case .verify: return parameters
        }
    }

    /// Writes the map that a worker is given, names in canonical order, absent ones left out.
    package func write(to writer: inout some PayloadWriter) {
        writer.beginMap(4 + [dataset != nil, !datasets.isEmpty, model != nil, !texts.isEmpty, tokenizer != nil].count { $0 })
        if let dataset {
            writer.key("dataset")
            dataset.write(to: &writer)
        }
        if !datasets.isEmpty {
            writer.key("datasets")
            writer.beginArray(datasets.count)
            for dataset in datasets { dataset.write(to: &writer) }
            writer.endArray()
        }
        writer.member("kind", kind.rawValue)
        if let model {
            writer.key("model")
            model.write(to: &writer)
        }
        writer.key("params")
        parameters.write(to: &writer)
        writer.member("seed", seed)
        writer.member("seed_assigned", seedAssigned)
        if !texts.isEmpty {
            writer.key("texts")
            writer.beginArray(texts.count)
            for text in texts {
                writer.beginMap(2)
                writer.member("generation", text.generation.description)
                writer.member("proof", json: text.proof)
                writer.endMap()
            }
            writer.endArray()
        }
        if let tokenizer {
            writer.key("tokenizer")
            writer.beginMap(tokenizer.name == nil ? 1 : 2)
            if let name = tokenizer.name { writer.member("name", name) }
            writer.member("sha256", tokenizer.sha256)
            writer.endMap()
        }
        writer.endMap()
    }

    /// Canonical JSON of the map that a worker is given.
    package var json: [UInt8] { JSONWriter.text { write(to: &$0) } }

    /// Reads what ``json`` wrote, also after PostgreSQL's `jsonb` has put its members in another order.
    /// - Throws: a fault of the map, as `bad_request` or what the parameters' own check finds.
    package static func decode(_ json: [UInt8]) throws(ContractError) -> ResolvedTask {
        let root = try ContractError.parse(json: json).root
        guard let kind = root["kind"]?.stringValue.flatMap(TaskKind.init(rawValue:)) else { throw ContractError.unknownKind(path: .stored) }
        guard let params = root["params"], let seed = root["seed"]?.integerValue else { throw broken("params") }
        return ResolvedTask(
            parameters: try TaskParameters.decode(kind: kind, params: params, path: .stored),
            seed: seed,
            seedAssigned: root["seed_assigned"]?.boolValue ?? false,
            model: try root["model"].map { node throws(ContractError) in try ResolvedModel(node) },
            dataset: try root["dataset"].map { node throws(ContractError) in try ResolvedDataset(node) },
            datasets: try decodeDatasets(root["datasets"]),
            tokenizer: try root["tokenizer"].map { node throws(ContractError) in
                guard let sha256 = node["sha256"]?.stringValue else { throw broken("tokenizer") }
                return ResolvedTokenizer(name: node["name"]?.stringValue, sha256: sha256)
            },
            texts: try decodeTexts(root["texts"]))
    }

    private static func decodeTexts(_ node: Node?) throws(ContractError) -> [ResolvedText] {
        var texts: [ResolvedText] = []
        try node?.forEachElement { element throws(ContractError) in
            guard let id = element["generation"]?.stringValue.flatMap(UUIDValue.init(_:)), let proof = element["proof"] else { throw broken("texts") }
            texts.append(ResolvedText(generation: id, proof: JSONValue(proof).canonical))
        }
        return texts
    }

    private static func decodeDatasets(_ node: Node?) throws(ContractError) -> [ResolvedDataset] {
        var datasets: [ResolvedDataset] = []
        try node?.forEachElement { element throws(ContractError) in datasets.append(try ResolvedDataset(element)) }
        return datasets
    }

    fileprivate static func broken(_ member: String) -> ContractError {
        ContractError(.badRequest, "a resolved task is broken", field: member)
    }
}

extension ResolvedModel {
    /// Canonical JSON of the map that stands under `model` in a resolved task.
    package var json: [UInt8] { JSONWriter.text { write(to: &$0) } }

    /// Reads what ``json`` wrote.
    /// - Throws: `bad_request` where it is no such map.
    package static func decode(_ json: [UInt8]) throws(ContractError) -> ResolvedModel { try ResolvedModel(ContractError.parse(json: json).root) }

    fileprivate func write(to writer: inout some PayloadWriter) {
        writer.beginMap(5 + [name != nil, step != nil, tokenizerSHA256 != nil].count { $0 })
        writer.member("checkpoint", checkpoint.description)
        writer.member("context_length", contextLength)
        writer.member("line_by_line", lineByLine)
        writer.member("manifest", manifest)
        if let name { writer.member("name", name) }
        writer.member("sha256", sha256)
        if let step { writer.member("step", step) }
        if let tokenizerSHA256 { writer.member("tokenizer_sha256", tokenizerSHA256) }
        writer.endMap()
    }

    fileprivate init(_ node: Node) throws(ContractError) {
        guard let checkpoint = node["checkpoint"]?.stringValue.flatMap(UUIDValue.init(_:)), let sha256 = node["sha256"]?.stringValue,
            let manifest = node["manifest"]?.stringValue, let context = node["context_length"]?.integerValue
        else { throw ResolvedTask.broken("model") }
        self.init(
            name: node["name"]?.stringValue, checkpoint: checkpoint, sha256: sha256, manifest: manifest,
            tokenizerSHA256: node["tokenizer_sha256"]?.stringValue, contextLength: Int(context), lineByLine: node["line_by_line"]?.boolValue ?? false,
            step: node["step"]?.integerValue.map { Int($0) })
    }
}

extension ResolvedDataset {
    fileprivate func write(to writer: inout some PayloadWriter) {
        writer.beginMap(2 + [name != nil, tokenizerSHA256 != nil].count { $0 })
        writer.member("line_by_line", lineByLine)
        if let name { writer.member("name", name) }
        writer.member("sha256", sha256)
        if let tokenizerSHA256 { writer.member("tokenizer_sha256", tokenizerSHA256) }
        writer.endMap()
    }

    fileprivate init(_ node: Node) throws(ContractError) {
        guard let sha256 = node["sha256"]?.stringValue else { throw ResolvedTask.broken("dataset") }
        self.init(
            name: node["name"]?.stringValue, sha256: sha256, lineByLine: node["line_by_line"]?.boolValue ?? false,
            tokenizerSHA256: node["tokenizer_sha256"]?.stringValue)
    }
}
