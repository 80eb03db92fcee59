package import Encodings

extension GenerateParameters {
    /// Writes every effective value under its name, names in canonical order, without those that are absent.
    /// - Parameter prompts: whether model, prompts, `n` and seed are written too. A stored text's own `params` leave them out: they stand
    ///   beside it, and a text must not depend on how many others were asked for with it. With torch's random numbers it does, so there
    ///   `n` stays.
    package func write(to writer: inout some PayloadWriter, includingPrompts prompts: Bool = true) {
        let absent = [minLength == nil, prependBOS == nil, truncate == nil, schemaTokens == nil, schemaReturn == nil, logprobs == nil]
        let hasCount = prompts || rng == .torch
        let present = 34 - absent.count { $0 } + (hasCount ? 1 : 0) + (prompts ? 2 + (seed == nil ? 0 : 1) : 0)
        writer.beginMap(present)
        writer.member("bad_words", badWords)
        writer.member("banned_tokens", bannedTokens)
        writer.member("clean_up_tokenization_spaces", cleanUpTokenizationSpaces)
        writer.member("deduplicate", deduplicate)
        writer.member("do_sample", doSample)
        writeEarlyStopping(to: &writer)
        writer.member("include_prefix", includePrefix)
        writer.member("length_penalty", lengthPenalty)
        if let logprobs { writer.member("logprobs", logprobs) }
        writer.member("lstrip", lstrip)
        writer.member("max_length", maxLength)
        if let minLength { writer.member("min_length", minLength) }
        writer.member("min_p", minP)
        if prompts { writer.member("model", model) }
        if hasCount { writer.member("n", n) }
        writer.member("no_repeat_ngram_size", noRepeatNgramSize)
        writer.member("nonempty_output", nonemptyOutput)
        writer.member("normalize_key", normalizeKey)
        writer.member("num_beams", numBeams)
        writer.member("precision", precision.rawValue)
        if let prependBOS { writer.member("prepend_bos", prependBOS) }
        if prompts { writePrompts(to: &writer) }
        writer.member("repetition_penalty", repetitionPenalty)
        writer.member("return_token_ids", returnTokenIDs)
        writer.member("rng", rng.rawValue)
        writer.member("schema", schema)
        if let schemaReturn { writer.member("schema_return", schemaReturn) }
        if let schemaTokens { writer.member("schema_tokens", schemaTokens) }
        if prompts, let seed { writer.member("seed", seed) }
        writer.member("skip_special_tokens", skipSpecialTokens)
        writer.member("sliding_window", slidingWindow)
        writer.member("stop", stop)
        writer.member("stream", stream)
        writeTemperature(to: &writer)
        writer.member("top_k", topK)
        writer.member("top_p", topP)
        if let truncate { writer.member("truncate", truncate) }
        writer.member("typical_p", typicalP)
        writer.endMap()
    }

    private func writePrompts(to writer: inout some PayloadWriter) {
        if hasPromptList { writer.member("prompts", prompts) } else { writer.member("prompt", prompts.first ?? "") }
    }

    private func writeEarlyStopping(to writer: inout some PayloadWriter) {
        switch earlyStopping {
        case .no: writer.member("early_stopping", false)
        case .yes: writer.member("early_stopping", true)
        case .never: writer.member("early_stopping", "never")
        }
    }

    private func writeTemperature(to writer: inout some PayloadWriter) {
        guard hasTemperatureList else { return writer.member("temperature", temperature.first) }
        writer.key("temperature")
        writer.beginArray(temperature.count)
        for value in temperature { writer.double(value) }
        writer.endArray()
    }

    /// Canonical JSON of every effective value.
    package var effectiveJSON: [UInt8] { JSONWriter.text { write(to: &$0) } }

    /// Canonical JSON of every effective value but model, prompts, seed and (without torch's random numbers) `n`: what
    /// `generations.params` holds.
    package var recordJSON: [UInt8] { JSONWriter.text { write(to: &$0, includingPrompts: false) } }
}
