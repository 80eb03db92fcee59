import Encodings

extension GenerationRequest {
    /// The request that a proof record tells of: one prompt, its tokens as recorded, every parameter out of `params`
    /// (the other way round from ``effectiveParams(precision:)``). What is absent there has its default.
    /// - Throws: a parameter that this version does not know, or that has a wrong type.
    package init(record: ProofRecord) throws(RecordError) {
        self.init(prompts: [record.prompt], promptTokenIDs: [record.promptTokenIDs])
        guard let rng = RandomNumbers(rawValue: record.rng) else {
            throw RecordError(member: "rng", problem: "\"\(record.rng.prefix(40))\" is not known to this version")
        }
        parameters.rng = rng
        parameters.seed = record.seed
        identity = ProofIdentity(params: record.params, seedAssigned: record.seedAssigned)
        var schema = (isWanted: false, tokens: [String](), returned: [String]?.none, normalizes: true)
        let reader = RecordReader(members: record.params, prefix: "params.")
        for (name, value) in record.params where !value.isNull {
            switch name {
            case "schema": schema.isWanted = try reader.bool(name)
            case "schema_tokens": schema.tokens = try reader.strings(name)
            case "schema_return": schema.returned = try reader.strings(name)
            case "normalize_key": schema.normalizes = try reader.bool(name)
            case "n": n = Int(try reader.integer(name, 1...Int64(Self.mostTexts)))
            case "prepend_bos": prependBos = try reader.bool(name)
            // They shape how a text is delivered, not the text.
            case "stream", "return_token_ids": _ = try reader.bool(name)
            case "precision", "rng":
                let said = name == "rng" ? record.rng : record.precision
                guard try reader.string(name) == said else { throw RecordError(member: "params.\(name)", problem: "is not the record's own \(said)") }
            default:
                var isKnown = try parameters.set(name, reader)
                if !isKnown { isKnown = try text.set(name, reader) }
                guard isKnown else {
                    throw RecordError(member: "params.\(name.prefix(64))", problem: "is not known to this version")
                }
            }
        }
        if schema.isWanted { text.schema = Schema(tokens: schema.tokens, returned: schema.returned, normalizesKeys: schema.normalizes) }
    }
}

extension SamplingParameters {
    private static let lengths: ClosedRange<Int64> = 0...Int64(mostLength)

    /// Sets a parameter by its name in the contract.
    /// - Returns: false where it has no such parameter.
    fileprivate mutating func set(_ name: String, _ reader: RecordReader) throws(RecordError) -> Bool {
        switch name {
        case "temperature":
            let given = reader.members[name] ?? .null
            guard let list = given.arrayValue else {
                temperature = [try reader.real(name)]
                break
            }
            temperature = list.compactMap(\.doubleValue)
            guard temperature.count == list.count else { throw RecordError(member: "params.temperature", problem: "must be numbers") }
        case "do_sample": doSample = try reader.bool(name)
        case "top_k": topK = Int(try reader.integer(name, 0...Int64(Int32.max)))
        case "top_p": topP = try reader.real(name)
        case "min_p": minP = try reader.real(name)
        case "typical_p": typicalP = try reader.real(name)
        case "repetition_penalty": repetitionPenalty = try reader.real(name)
        case "no_repeat_ngram_size": noRepeatNgramSize = Int(try reader.integer(name, Self.lengths))
        case "min_length": minLength = Int(try reader.integer(name, Self.lengths))
        case "max_length": maxLength = Int(try reader.integer(name, Self.lengths))
        case "sliding_window": slidingWindow = try reader.bool(name)
        default: return try setRarer(name, reader)
        }
        return true
    }

    private mutating func setRarer(_ name: String, _ reader: RecordReader) throws(RecordError) -> Bool {
        switch name {
        case "num_beams": numBeams = Int(try reader.integer(name, 0...Int64(Self.mostBeams)))
        case "length_penalty": lengthPenalty = try reader.real(name)
        case "early_stopping":
            if reader.members[name]?.stringValue == "never" { earlyStopping = .never } else { earlyStopping = try reader.bool(name) ? .yes : .no }
        case "bad_words": badWords = try reader.strings(name)
        case "banned_tokens": bannedTokens = try reader.tokens(name)
        case "stop": stop = try reader.strings(name)
        case "truncate": truncate = try reader.string(name)
        case "batch_size": batchSize = Int(try reader.integer(name, 1...Int64(GenerationRequest.mostTexts)))
        case "logprobs": logprobs = Int(try reader.integer(name, 0...Int64(Self.mostLogprobs)))
        default: return false
        }
        return true
    }
}

extension TextOptions {
    fileprivate mutating func set(_ name: String, _ reader: RecordReader) throws(RecordError) -> Bool {
        switch name {
        case "lstrip": lstrip = try reader.bool(name)
        case "include_prefix": includePrefix = try reader.bool(name)
        case "skip_special_tokens": skipSpecialTokens = try reader.bool(name)
        case "clean_up_tokenization_spaces": cleanUpTokenizationSpaces = try reader.bool(name)
        case "nonempty_output": nonemptyOutput = try reader.bool(name)
        case "deduplicate": deduplicate = try reader.bool(name)
        default: return false
        }
        return true
    }
}
