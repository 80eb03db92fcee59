package import Encodings

extension FinetuneParameters {
    private static let steps: ClosedRange<Int64> = 0...1_000_000_000

    /// Reads and checks the `params` of a finetune task.
    /// - Throws: the first fault, naming its member by path.
    package static func decode(_ params: Node, path: TaskPath) throws(ContractError) -> FinetuneParameters {
        let reader = MemberReader(path: path, prefix: "params.")
        var result = FinetuneParameters(base: .model(""), output: "", dataset: .text(""))
        var given = Set<FinetuneField>()
        try params.forEachMember { name, value throws(ContractError) in
            let text = name.stringValue ?? ""
            if value.isNull { return }
            guard let field = FinetuneField.byName[text] else { throw reader.unknown(text) }
            if field != .dataset && field != .crossTrain { try result.set(field, value, reader) }
            given.insert(field)
        }
        if given.contains(.model) && given.contains(.config) { throw reader.outOfRange("config", "and model exclude each other") }
        guard given.contains(.model) || given.contains(.config) else {
            throw ContractError(.invalidArgument, "model or config is required", field: reader.field("model"))
        }
        guard given.contains(.output) else { throw reader.missing("output") }
        if given.contains(.dataset) && given.contains(.crossTrain) { throw reader.outOfRange("cross_train", "and dataset exclude each other") }
        if let stages = params["cross_train"], given.contains(.crossTrain) {
            try result.setCrossTrain(stages, reader)
        } else if let dataset = params["dataset"], given.contains(.dataset) {
            try result.setDataset(dataset, reader)
        } else {
            throw reader.missing("dataset")
        }
        if let context = result.contextLength {
            let place = given.contains(.blockSize) ? "block_size" : "dataset.block_size"
            try result.checkBlockSize(context: context, field: reader.field(place))
        }
        try result.checkTogether(reader)
        return result
    }

    private mutating func set(_ field: FinetuneField, _ node: Node, _ reader: MemberReader) throws(ContractError) {
        let name = field.rawValue
        switch field {
        case .model: base = .model(try reader.modelReference(name, node))
        case .config: base = try Self.decodeConfig(node, reader)
        case .output: output = try reader.name(name, node)
        case .overwrite: overwrite = try reader.bool(name, node)
        case .tokenizer: tokenizer = try Self.decodeTokenizer(node, reader)
        case .lineByLine: lineByLine = try reader.bool(name, node)
        case .header: header = try reader.bool(name, node)
        case .blockSize: blockSize = try reader.int(name, node, in: 2...GenerateParameters.Limits.maxLength)
        case .dropout: dropout = try reader.real(name, node, .unitWithoutOne)
        case .seed: seed = try reader.integer(name, node, in: 0...GenerateParameters.Limits.seed)
        case .precision: precision = try reader.finetunePrecision(name, node)
        case .lora: lora = try Self.decodeLoRA(node, reader)
        case .freezeLayers: freezeLayers = try reader.bool(name, node)
        case .numLayersFreeze: numLayersFreeze = try reader.int(name, node, in: 0...10_000)
        case .gradientCheckpointing: gradientCheckpointing = try reader.bool(name, node)
        default: try setSchedule(field, node, reader)
        }
    }

    private mutating func setSchedule(_ field: FinetuneField, _ node: Node, _ reader: MemberReader) throws(ContractError) {
        let name = field.rawValue
        switch field {
        case .numSteps: numSteps = try reader.int(name, node, in: 1...Self.steps.upperBound)
        case .batchSize: batchSize = try reader.int(name, node, in: 1...65_536)
        case .learningRate: learningRate = try reader.real(name, node, .positive)
        case .weightDecay: weightDecay = try reader.real(name, node, .notNegative)
        case .adamEpsilon: adamEpsilon = try reader.real(name, node, .positive)
        case .warmupSteps: warmupSteps = try reader.int(name, node, in: Self.steps)
        case .maxGradNorm: maxGradNorm = try reader.real(name, node, .notNegative)
        case .gradientAccumulationSteps: gradientAccumulationSteps = try reader.int(name, node, in: 1...65_536)
        case .saveEvery: saveEvery = try reader.int(name, node, in: Self.steps)
        case .generateEvery: generateEvery = try reader.int(name, node, in: Self.steps)
        case .nGenerate: nGenerate = try reader.int(name, node, in: 1...Int64(GenerateParameters.Limits.texts))
        case .avgLossSmoothing: avgLossSmoothing = try reader.real(name, node, .unitWithoutZero)
        default: throw reader.unknown(name)
        }
    }

    private static func decodeConfig(_ node: Node, _ reader: MemberReader) throws(ContractError) -> Base {
        switch node.kind {
        case .map:
            guard case .object(let object) = JSONValue(node) else { return .config(JSONObject()) }
            return .config(object)
        case .string:
            let name = try reader.string("config", node)
            guard Names.configs.contains(name) else {
                throw reader.outOfRange("config", "must be one of \(Names.configs.joined(separator: ", ")), or an object with config.json's names")
            }
            return .namedConfig(name)
        default: throw reader.wrongType("config", node, expected: "a configuration's name or an object")
        }
    }

    private static func decodeTokenizer(_ node: Node, _ reader: MemberReader) throws(ContractError) -> Tokenizer {
        guard node.kind == .map else { throw reader.wrongType("tokenizer", node, expected: "an object") }
        var found: [Tokenizer] = []
        try node.forEachMember { name, value throws(ContractError) in
            let text = name.stringValue ?? ""
            if value.isNull { return }
            guard ["name", "uri", "train"].contains(text) else { throw reader.unknown("tokenizer.\(text)") }
            switch text {
            case "name": found.append(.name(try reader.name("tokenizer.name", value)))
            case "uri": found.append(.uri(try reader.uri("tokenizer.uri", value)))
            default: found.append(try decodeTokenizerTraining(value, reader))
            }
        }
        guard found.count == 1 else { throw reader.outOfRange("tokenizer", "must have exactly one of name, uri and train") }
        return found[0]
    }

    private static func decodeTokenizerTraining(_ node: Node, _ reader: MemberReader) throws(ContractError) -> Tokenizer {
        guard node.kind == .map else { throw reader.wrongType("tokenizer.train", node, expected: "an object") }
        var vocabularySize = 1000
        var minimumFrequency = 2
        try node.forEachMember { name, value throws(ContractError) in
            let text = name.stringValue ?? ""
            if value.isNull { return }
            guard ["vocab_size", "min_frequency"].contains(text) else { throw reader.unknown("tokenizer.train.\(text)") }
            // 256 bytes and the end token are in every vocabulary.
            if text == "vocab_size" { vocabularySize = try reader.int("tokenizer.train.vocab_size", value, in: 257...1_000_000) }
            if text == "min_frequency" { minimumFrequency = try reader.int("tokenizer.train.min_frequency", value, in: 0...Int64(Int32.max)) }
        }
        return .train(vocabularySize: vocabularySize, minimumFrequency: minimumFrequency)
    }

    private mutating func checkTogether(_ reader: MemberReader) throws(ContractError) {
        // From scratch there is no base model whose tokenizer could be meant: the contract's own numbers for `train` apply.
        if tokenizer == nil, model == nil { tokenizer = .train(vocabularySize: 1000, minimumFrequency: 2) }
        guard warmupSteps <= numSteps else { throw reader.outOfRange("warmup_steps", "must be at most num_steps (\(numSteps)), not \(warmupSteps)") }
        if lora != nil {
            guard model != nil else { throw reader.outOfRange("lora", "stands beside a base model: name one with model") }
            guard !freezeLayers else { throw reader.outOfRange("freeze_layers", "has no meaning with lora, which leaves the whole base as it is") }
        }
        if case .crossTrain(let stages) = dataset {
            guard stages.count < Int.bitWidth, numSteps >> (stages.count - 1) > 0 else {
                throw reader.outOfRange("num_steps", "is \(numSteps), which halved for each of \(stages.count) datasets leaves the last one no step")
            }
        }
    }
}

extension MemberReader {
    /// A name of the contract's pattern.
    func name(_ name: String, _ node: Node) throws(ContractError) -> String {
        let text = try string(name, node)
        guard Names.isName(text) else {
            throw outOfRange(name, "must match [A-Za-z0-9][A-Za-z0-9._-]{0,99} and be no UUID")
        }
        return text
    }

    /// A dataset's `uri`: a digest, or a web address, which the broker fetches where the operator allows it, and nobody else.
    func datasetURI(_ name: String, _ node: Node) throws(ContractError) -> String {
        let text = try string(name, node)
        guard Names.isWebAddress(text) else { return try uri(name, node) }
        guard text.utf8.count <= 2048, text.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F }) else {
            throw outOfRange(name, "must be a web address of at most 2048 characters, without blanks")
        }
        return text
    }

    /// A `uri`: a digest. Paths, `file:` and foreign addresses never make a worker read anything.
    func uri(_ name: String, _ node: Node) throws(ContractError) -> String {
        guard let digits = Names.digest(try string(name, node)) else {
            throw outOfRange(name, "must be sha256: and 64 hexadecimal digits; paths and other addresses are refused")
        }
        return "sha256:" + digits
    }

    /// A value that may stand inside the dataset or beside it, but not in both places.
    func once<Value>(_ name: String, _ earlier: Value?, _ value: Value) throws(ContractError) -> Value {
        guard earlier == nil else { throw outOfRange(name, "is given twice, within dataset and beside it") }
        return value
    }

    func finetunePrecision(_ name: String, _ node: Node) throws(ContractError) -> Precision {
        let precision: Precision = try word(name, node)
        guard precision != .int8 else { throw outOfRange(name, "must be one of \"float32\", \"bfloat16\"") }
        return precision
    }
}
