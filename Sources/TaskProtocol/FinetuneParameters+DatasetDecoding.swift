import Encodings

extension FinetuneParameters {
    /// Where a map stands that names a dataset, which decides what may stand in it.
    private enum Place {
        /// `dataset` itself.
        case whole
        /// An entry of `cross_train`.
        case stage
        /// An entry of a `merge`.
        case merged
    }

    /// Datasets in a merge or in `cross_train`.
    private static let partLimit = 100

    /// Reads `dataset`.
    mutating func setDataset(_ node: Node, _ reader: MemberReader) throws(ContractError) {
        var blockSize: Int?
        let part = try Self.decodePart(node, "dataset", .whole, &blockSize, reader)
        dataset = part.dataset
        if let value = part.lineByLine { lineByLine = try reader.once("dataset.line_by_line", lineByLine, value) }
        if let value = part.header { header = try reader.once("dataset.header", header, value) }
        if let value = blockSize { self.blockSize = try reader.once("dataset.block_size", self.blockSize, value) }
    }

    /// Reads `cross_train`.
    mutating func setCrossTrain(_ node: Node, _ reader: MemberReader) throws(ContractError) {
        dataset = .crossTrain(try Self.decodeParts(node, "cross_train", .stage, reader))
    }

    private static func decodeParts(_ node: Node, _ path: String, _ place: Place, _ reader: MemberReader) throws(ContractError) -> [Part] {
        guard node.kind == .array else { throw reader.wrongType(path, node, expected: "a list of datasets") }
        guard (1...partLimit).contains(node.count) else { throw reader.outOfRange(path, "must hold 1 to \(partLimit) datasets") }
        var parts: [Part] = []
        var blockSize: Int?
        try node.forEachElement { element throws(ContractError) in
            parts.append(try decodePart(element, "\(path)[\(parts.count)]", place, &blockSize, reader))
        }
        return parts
    }

    private static func decodePart(
        _ node: Node, _ path: String, _ place: Place, _ blockSize: inout Int?, _ reader: MemberReader
    ) throws(ContractError) -> Part {
        guard node.kind == .map else { throw reader.wrongType(path, node, expected: "an object") }
        var found: [Dataset] = []
        var part = Part(.text(""))
        var equalize: Bool?
        try node.forEachMember { name, value throws(ContractError) in
            let text = name.stringValue ?? ""
            let member = "\(path).\(text)"
            if value.isNull { return }
            switch text {
            case "name": found.append(.name(try reader.name(member, value)))
            case "uri": found.append(.uri(try reader.datasetURI(member, value)))
            case "text": found.append(.text(try reader.string(member, value)))
            case "texts": found.append(.texts(try reader.strings(member, value, allowEmptyString: true)))
            case "merge" where place != .merged: found.append(.merge(try decodeParts(value, member, .merged, reader), equalize: true))
            case "equalize" where place != .merged: equalize = try reader.bool(member, value)
            case "line_by_line": part.lineByLine = try reader.bool(member, value)
            case "header": part.header = try reader.bool(member, value)
            case "block_size" where place == .whole: blockSize = try reader.int(member, value, in: 2...GenerateParameters.Limits.maxLength)
            default: throw reader.unknown(member)
            }
        }
        guard found.count == 1 else {
            let kinds = place == .merged ? "name, uri, text and texts" : "name, uri, text, texts and merge"
            throw reader.outOfRange(path, "must have exactly one of \(kinds)")
        }
        part.dataset = found[0]
        if case .texts(let texts) = found[0], texts.isEmpty { throw reader.outOfRange("\(path).texts", "must hold at least one text") }
        if let equalize {
            guard case .merge(let parts, _) = found[0] else { throw reader.outOfRange("\(path).equalize", "has a meaning only with merge") }
            part.dataset = .merge(parts, equalize: equalize)
        }
        return part
    }

    /// Reads `lora`.
    static func decodeLoRA(_ node: Node, _ reader: MemberReader) throws(ContractError) -> LoRA {
        guard node.kind == .map else { throw reader.wrongType("lora", node, expected: "an object") }
        var lora = LoRA()
        try node.forEachMember { name, value throws(ContractError) in
            let text = name.stringValue ?? ""
            let member = "lora.\(text)"
            if value.isNull { return }
            switch text {
            case "rank": lora.rank = try reader.int(member, value, in: 1...4096)
            case "alpha":
                lora.alpha = try reader.real(member, value, .positive)
                guard lora.alpha <= 1e6 else { throw reader.outOfRange(member, "must be at most 1,000,000") }
            case "dropout": lora.dropout = try reader.real(member, value, .unitWithoutOne)
            case "targets":
                let targets = try reader.strings(member, value, allowEmptyString: false, maximumCount: 100)
                guard !targets.isEmpty, Set(targets).count == targets.count else {
                    throw reader.outOfRange(member, "must be different names, at least one")
                }
                lora.targets = targets
            default: throw reader.unknown(member)
            }
        }
        return lora
    }
}
