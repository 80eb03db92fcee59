package import Encodings

extension GenerateParameters {
    /// Limits of the contract that span several parameters.
    package enum Limits {
        /// Texts that one task may make.
        package static let texts = 1024
        /// Texts × `max_length` × (1 + `logprobs`).
        package static let work = 4_194_304
        package static let maxLength: Int64 = 65_536
        package static let stopStrings = 16
        package static let logprobs: Int64 = 20
        /// The largest integer that every JSON reader keeps.
        package static let seed: Int64 = 1 << 53 - 1
    }

    /// Reads and checks the `params` of a generate task.
    /// - Throws: the first fault, naming its member by path.
    package static func decode(_ params: Node, path: TaskPath) throws(ContractError) -> GenerateParameters {
        let reader = MemberReader(path: path, prefix: "params.")
        var result = GenerateParameters(model: "")
        var hasPrompt = false
        try params.forEachMember { name, value throws(ContractError) in
            let text = name.stringValue ?? ""
            if value.isNull { return }
            guard let field = GenerateField.byName[text] else { throw reader.unknown(text) }
            if field == .prompt { hasPrompt = true }
            try result.set(field, value, reader)
        }
        guard !result.model.isEmpty else { throw reader.missing("model") }
        if hasPrompt && result.hasPromptList { throw reader.outOfRange("prompts", "and prompt exclude each other") }
        try result.checkTogether(reader)
        return result
    }

    private mutating func set(_ field: GenerateField, _ node: Node, _ reader: MemberReader) throws(ContractError) {
        let name = field.rawValue
        switch field {
        case .model: model = try reader.modelReference(name, node)
        case .prompt:
            let text = try reader.string(name, node)
            if !hasPromptList { prompts = [text] }
        case .prompts:
            prompts = try reader.strings(name, node, allowEmptyString: true)
            hasPromptList = true
            guard !prompts.isEmpty else { throw reader.outOfRange(name, "must hold at least one prompt") }
        case .n: n = try reader.int(name, node, in: 1...Int64(Limits.texts))
        case .minLength: minLength = try reader.int(name, node, in: 0...Limits.maxLength)
        case .maxLength: maxLength = try reader.int(name, node, in: 1...Limits.maxLength)
        case .temperature: try setTemperature(node, reader)
        case .doSample: doSample = try reader.bool(name, node)
        case .topK: topK = try reader.int(name, node, in: 0...Int64(Int32.max))
        case .topP: topP = try reader.real(name, node, .unit)
        case .minP: minP = try reader.real(name, node, .unit)
        case .typicalP: typicalP = try reader.real(name, node, .unitWithoutZero)
        case .repetitionPenalty: repetitionPenalty = try reader.real(name, node, .positive)
        case .noRepeatNgramSize: noRepeatNgramSize = try reader.int(name, node, in: 0...Limits.maxLength)
        case .numBeams: numBeams = try reader.int(name, node, in: 1...Int64(Limits.texts))
        case .lengthPenalty: lengthPenalty = try reader.real(name, node, .any)
        case .earlyStopping: earlyStopping = try reader.earlyStopping(name, node)
        case .badWords: badWords = try reader.strings(name, node, allowEmptyString: false)
        case .bannedTokens: bannedTokens = try reader.tokenIDs(name, node)
        case .stop: stop = try reader.strings(name, node, allowEmptyString: false, maximumCount: Limits.stopStrings)
        case .seed: seed = try reader.integer(name, node, in: 0...Limits.seed)
        case .rng: rng = try reader.word(name, node)
        case .precision: precision = try reader.word(name, node)
        default: try setOutputOption(field, node, reader)
        }
    }

    private mutating func setOutputOption(_ field: GenerateField, _ node: Node, _ reader: MemberReader) throws(ContractError) {
        let name = field.rawValue
        switch field {
        case .prependBOS: prependBOS = try reader.bool(name, node)
        case .lstrip: lstrip = try reader.bool(name, node)
        case .includePrefix: includePrefix = try reader.bool(name, node)
        case .truncate:
            let text = try reader.string(name, node)
            guard !text.isEmpty else { throw reader.outOfRange(name, "must not be empty") }
            truncate = text
        case .nonemptyOutput: nonemptyOutput = try reader.bool(name, node)
        case .skipSpecialTokens: skipSpecialTokens = try reader.bool(name, node)
        case .cleanUpTokenizationSpaces: cleanUpTokenizationSpaces = try reader.bool(name, node)
        case .schema: schema = try reader.bool(name, node)
        case .schemaTokens: schemaTokens = try reader.strings(name, node, allowEmptyString: false)
        case .schemaReturn:
            schemaReturn = node.kind == .string ? [try reader.string(name, node)] : try reader.strings(name, node, allowEmptyString: false)
        case .normalizeKey: normalizeKey = try reader.bool(name, node)
        case .logprobs: logprobs = try reader.int(name, node, in: 0...Limits.logprobs)
        case .returnTokenIDs: returnTokenIDs = try reader.bool(name, node)
        case .stream: stream = try reader.bool(name, node)
        case .slidingWindow: slidingWindow = try reader.bool(name, node)
        case .deduplicate: deduplicate = try reader.bool(name, node)
        default: throw reader.unknown(name)
        }
    }

    private mutating func setTemperature(_ node: Node, _ reader: MemberReader) throws(ContractError) {
        guard node.kind == .array else {
            guard node.doubleValue != nil else { throw reader.wrongType("temperature", node, expected: "a number or a list of numbers") }
            temperature = [try reader.real("temperature", node, .positive)]
            return
        }
        guard (1...Int(Limits.maxLength)).contains(node.count) else {
            throw reader.outOfRange("temperature", "must be a number above 0 or a list of 1 to \(Limits.maxLength) of them")
        }
        var values: [Double] = []
        values.reserveCapacity(node.count)
        try node.forEachElement { element throws(ContractError) in
            values.append(try reader.real("temperature[\(values.count)]", element, .positive))
        }
        temperature = values
        hasTemperatureList = true
    }

    /// Checks what no parameter breaks alone.
    private func checkTogether(_ reader: MemberReader) throws(ContractError) {
        let maximum = Limits.texts
        guard textCount <= maximum else {
            throw reader.outOfRange("n", "times the number of prompts must be at most \(maximum), not \(textCount)")
        }
        if !doSample && numBeams == 1 && n > 1 {
            throw reader.outOfRange("n", "must be 1 where do_sample is false and num_beams is 1: without either all texts would be equal")
        }
        if numBeams > 1 && n > numBeams { throw reader.outOfRange("n", "must be at most num_beams (\(numBeams)), not \(n)") }
        if numBeams > 1 && stream { throw reader.outOfRange("stream", "and beams exclude each other") }
        let work = textCount * maxLength * (1 + (logprobs ?? 0))
        guard work <= Limits.work else {
            let formula = "texts (\(textCount)) × max_length (\(maxLength)) × (1 + logprobs)"
            throw ContractError(.tooLarge, "\(formula) is \(work), above \(Limits.work)", field: reader.field("max_length"))
        }
    }
}

extension MemberReader {
    func earlyStopping(_ name: String, _ node: Node) throws(ContractError) -> EarlyStopping {
        if let value = EarlyStopping(node) { return value }
        guard node.stringValue == nil else { throw outOfRange(name, "must be true, false or \"never\"") }
        throw wrongType(name, node, expected: "true, false or \"never\"")
    }

    /// A `model` parameter, checked for its form alone.
    func modelReference(_ name: String, _ node: Node) throws(ContractError) -> String {
        let text = try string(name, node)
        guard ModelReference(text) != nil else {
            throw outOfRange(name, "must be a model's name, name@step, a checkpoint's id or sha256: and 64 digits")
        }
        return text
    }

    func tokenIDs(_ name: String, _ node: Node) throws(ContractError) -> [Int32] {
        guard node.kind == .array else { throw wrongType(name, node, expected: "a list of token ids") }
        var values: [Int32] = []
        values.reserveCapacity(node.count)
        try node.forEachElement { element throws(ContractError) in
            values.append(Int32(try integer("\(name)[\(values.count)]", element, in: 0...Int64(Int32.max))))
        }
        return values
    }
}
