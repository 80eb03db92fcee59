package import Encodings

extension GenerationRequest {
    /// Every effective parameter of a request that no task submitted, under the contract's names, for its proof record.
    /// What the engine alone does not know (the model's name, a queue's members) is not in it.
    package var effectiveParams: JSONObject {
        func optional(_ value: Int?) -> JSONValue { value.map { .integer(Int64($0)) } ?? .null }
        func strings(_ values: [String]) -> JSONValue { .array(values.map { .string($0) }) }
        let temperatures = parameters.temperature.map { JSONValue.real($0) }
        return [
            "prompts": strings(prompts), "n": .integer(Int64(n)), "min_length": optional(parameters.minLength),
            "max_length": .integer(Int64(parameters.maxLength)), "temperature": temperatures.count == 1 ? temperatures[0] : .array(temperatures),
            "do_sample": .bool(parameters.doSample), "top_k": .integer(Int64(parameters.topK)), "top_p": .real(parameters.topP),
            "min_p": .real(parameters.minP), "typical_p": .real(parameters.typicalP), "repetition_penalty": .real(parameters.repetitionPenalty),
            "no_repeat_ngram_size": .integer(Int64(parameters.noRepeatNgramSize)), "bad_words": strings(parameters.badWords),
            "banned_tokens": .array(parameters.bannedTokens.map { .integer(Int64($0)) }), "stop": strings(parameters.stop),
            "truncate": parameters.truncate.map { .string($0) } ?? .null, "seed": .integer(Int64(parameters.seed)), "rng": "philox",
            "precision": "float32", "prepend_bos": prependBos.map { .bool($0) } ?? .null, "lstrip": .bool(text.lstrip),
            "include_prefix": .bool(text.includePrefix), "nonempty_output": .bool(text.nonemptyOutput),
            "skip_special_tokens": .bool(text.skipSpecialTokens), "clean_up_tokenization_spaces": .bool(text.cleanUpTokenizationSpaces),
            "deduplicate": .bool(text.deduplicate), "logprobs": optional(parameters.logprobs),
        ]
    }
}

extension GeneratedSample {
    /// The sample as one line of `generate --json`: the proof record's members, its digest and the text, in canonical
    /// JSON; equal runs give equal bytes.
    package var jsonLine: [UInt8] {
        guard var members = (try? JSONValue.parse(record))?.objectValue else { return record }
        members["record_sha256"] = .string(recordSHA256)
        members["text"] = .string(text)
        return JSONValue.object(members).canonical
    }
}
