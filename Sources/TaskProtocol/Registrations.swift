import Encodings

/// Reads the maps of `register`: a model or a dataset whose files stand in the artifact store already.
struct Registrations {
    let root: Node
    let reader: MemberReader

    func operation() throws(ContractError) -> Operation {
        switch (root["model"], root["dataset"]) {
        case (let model?, nil): .registerModel(try registration(ofModel: model))
        case (nil, let dataset?): .registerDataset(try registration(ofDataset: dataset))
        case (nil, nil): throw ContractError(.badRequest, "model or dataset is required", field: "model")
        default: throw ContractError(.invalidArgument, "model and dataset exclude each other", field: "dataset")
        }
    }

    private static let modelNames: Set<String> = [
        "name", "sha256", "checkpoint_sha256", "tokenizer_sha256", "architecture", "parameters", "context_length", "bytes", "line_by_line", "config",
    ]
    private static let datasetNames: Set<String> = ["name", "sha256", "bytes", "tokens", "block_size", "line_by_line", "tokenizer_sha256"]

    private func registration(ofModel node: Node) throws(ContractError) -> ModelRegistration {
        let map = try ChangeMap(node, "model", known: Self.modelNames, reader)
        return ModelRegistration(
            name: try map.require("name", reader.name),
            checkpointID: UUIDValue(hi: 0, lo: 0),
            manifest: try map.require("sha256", reader.digest),
            sha256: try map.require("checkpoint_sha256", reader.digest),
            tokenizerSHA256: try map.optional("tokenizer_sha256", reader.digest),
            architecture: try map.require("architecture", reader.string),
            parameters: try map.require("parameters", reader.count),
            contextLength: Int(try map.require("context_length", reader.count)),
            bytes: try map.require("bytes", reader.count),
            lineByLine: try map.optional("line_by_line", reader.bool) ?? false,
            config: try map.optional("config", reader.object) ?? Array("{}".utf8))
    }

    private func registration(ofDataset node: Node) throws(ContractError) -> DatasetRegistration {
        let map = try ChangeMap(node, "dataset", known: Self.datasetNames, reader)
        return DatasetRegistration(
            name: try map.require("name", reader.name),
            manifest: try map.require("sha256", reader.digest),
            bytes: try map.require("bytes", reader.count),
            tokens: try map.optional("tokens", reader.count),
            blockSize: try map.optional("block_size", reader.count).map { Int($0) },
            lineByLine: try map.optional("line_by_line", reader.bool) ?? false,
            tokenizerSHA256: try map.optional("tokenizer_sha256", reader.digest))
    }
}

extension MemberReader {
    /// A digest's 64 digits, with or without `sha256:` before them.
    func digest(_ name: String, _ node: Node) throws(ContractError) -> String {
        let text = try string(name, node)
        let digits = text.hasPrefix("sha256:") ? String(text.dropFirst(7)) : text
        guard Names.isDigest(digits) else { throw outOfRange(name, "must be 64 lower-case hexadecimal digits") }
        return digits
    }

    /// An integer that every JSON reader keeps: 0 to 2^53 - 1.
    func count(_ name: String, _ node: Node) throws(ContractError) -> Int64 {
        try integer(name, node, in: 0...(1 << 53 - 1))
    }

    fileprivate func object(_ name: String, _ node: Node) throws(ContractError) -> [UInt8] {
        guard node.kind == .map else { throw wrongType(name, node, expected: "a map") }
        return node.canonical
    }
}
