package import Encodings
package import Kernels
package import LanguageModels

extension GenerationRequest {
    /// Fills in what the model decides, as a task's parameters are settled when it is pinned: a record then needs no more of the model
    /// than its digest covers.
    package mutating func settle(_ description: ModelDescription) {
        prependBos = prependBos ?? description.lineByLine
        parameters.maxLength = parameters.maximumLength(context: description.contextLength)
    }

    /// Every effective parameter of a request that no task submitted, under the names and with the members that a task's proof
    /// record has. What stands beside them there (prompts, seed) or is the service's alone (the model's name) is not in it.
    /// - Parameter precision: that of the model that runs it.
    package func effectiveParams(precision: WeightPrecision) -> JSONObject {
        var params = textParams
        let numbers = parameters.temperature.map { JSONValue.real($0) }
        params["temperature"] = numbers.count == 1 ? numbers[0] : .array(numbers)
        params["do_sample"] = .bool(parameters.doSample)
        params["top_k"] = .integer(Int64(parameters.topK))
        params["top_p"] = .real(parameters.topP)
        params["min_p"] = .real(parameters.minP)
        params["typical_p"] = .real(parameters.typicalP)
        params["repetition_penalty"] = .real(parameters.repetitionPenalty)
        params["no_repeat_ngram_size"] = .integer(Int64(parameters.noRepeatNgramSize))
        params["min_length"] = parameters.minLength.map { .integer(Int64($0)) }
        params["max_length"] = .integer(Int64(parameters.maxLength))
        params["num_beams"] = .integer(Int64(parameters.numBeams))
        params["length_penalty"] = .real(parameters.lengthPenalty)
        params["early_stopping"] = parameters.earlyStopping == .never ? "never" : .bool(parameters.earlyStopping == .yes)
        params["bad_words"] = .array(parameters.badWords.map { .string($0) })
        params["banned_tokens"] = .array(parameters.bannedTokens.map { .integer(Int64($0)) })
        params["stop"] = .array(parameters.stop.map { .string($0) })
        params["truncate"] = parameters.truncate.map { .string($0) }
        params["rng"] = .string(parameters.rng.rawValue)
        params["n"] = parameters.rng == .torch ? .integer(Int64(n)) : nil
        params["batch_size"] = parameters.batchSize.map { .integer(Int64($0)) }
        params["logprobs"] = parameters.logprobs.map { .integer(Int64($0)) }
        params["sliding_window"] = .bool(parameters.slidingWindow)
        params["precision"] = .string(precision.rawValue)
        return params
    }

    private var textParams: JSONObject {
        var params: JSONObject = [
            "lstrip": .bool(text.lstrip), "include_prefix": .bool(text.includePrefix), "nonempty_output": .bool(text.nonemptyOutput),
            "skip_special_tokens": .bool(text.skipSpecialTokens), "clean_up_tokenization_spaces": .bool(text.cleanUpTokenizationSpaces),
            "deduplicate": .bool(text.deduplicate), "schema": .bool(text.schema != nil), "normalize_key": .bool(text.schema?.normalizesKeys ?? true),
            "stream": .bool(stream), "return_token_ids": false,
        ]
        params["prepend_bos"] = prependBos.map { .bool($0) }
        params["schema_tokens"] = text.schema.map { .array($0.tokens.map { .string($0) }) }
        params["schema_return"] = text.schema?.returned.map { .array($0.map { .string($0) }) }
        return params
    }
}

extension GeneratedSample {
    /// The sample as one line of `generate --json`: the proof record's members, its digest and the text, with the signature, the schema's
    /// parts and the log-probabilities where the request asked for them, in canonical JSON; equal runs give equal bytes.
    package var jsonLine: [UInt8] {
        guard var members = (try? JSONValue.parse(record))?.objectValue else { return record }
        members["record_sha256"] = .string(recordSHA256)
        members["text"] = .string(text)
        members["signature"] = signature.map { .string($0) }
        members["schema"] = schema.flatMap { try? JSONValue.parse($0) }
        members["logprobs"] = logprobs?.json
        return JSONValue.object(members).canonical
    }
}
