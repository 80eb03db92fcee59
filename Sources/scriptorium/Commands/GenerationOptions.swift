import ArgumentParser
import Encodings

/// The contract's parameters of a generate as flags of the same names, for `generate` and `submit generate` alike. What is
/// not given keeps the contract's default, which help names in parentheses.
struct GenerationOptions: ParsableArguments {
    @Option(name: [.customLong("n"), .customShort("n")], help: "Texts a prompt (1).")
    var n: Int?

    @Option(help: "Tokens before which the text does not end.")
    var minLength: Int?

    @Option(help: "Tokens in all, prompt included (256).")
    var maxLength: Int?

    @Option(help: "A number above 0, or several with commas: the j-th token uses entry j (0.7).")
    var temperature: String?

    @Flag(inversion: .prefixedNo, help: "Draw tokens (the default), or take the likeliest.")
    var doSample: Bool?

    @Option(help: "Keep the k likeliest tokens (0: all).")
    var topK: Int?

    @Option(help: "Keep the likeliest tokens of this probability together (1: all).")
    var topP: Double?

    @Option(help: "Keep tokens at least this likely against the likeliest (0: all).")
    var minP: Double?

    @Option(help: "Keep typical tokens of this probability together (1: all).")
    var typicalP: Double?

    @Option(help: "Above 1: tokens that occurred become less likely (1).")
    var repetitionPenalty: Double?

    @Option(help: "No run of so many tokens occurs twice (0: off).")
    var noRepeatNgramSize: Int?

    @Option(help: "Search with so many beams; --n of the best are returned (1: no search).")
    var numBeams: Int?

    @Option(parsing: .unconditional, help: "Beams: above 0 favours long texts, below 0 short ones (1).")
    var lengthPenalty: Double?

    @Option(help: "Beams: true, false or never (false).")
    var earlyStopping: String?

    @Option(help: ArgumentHelp("Text that is never generated; repeatable.", valueName: "text"))
    var badWords: [String] = []

    @Option(help: ArgumentHelp("Token that is never generated; repeatable.", valueName: "id"))
    var bannedTokens: [Int] = []

    @Option(help: ArgumentHelp("Text at which generation ends; repeatable.", valueName: "text"))
    var stop: [String] = []

    @Option(help: "Cut the text before this one.")
    var truncate: String?

    @Option(help: "0 … 2^53-1; eight digits are drawn where absent.")
    var seed: Int?

    @Option(help: "philox, or torch to replay seeds of torch-based tools on a CPU (philox).")
    var rng: String?

    @Flag(inversion: .prefixedNo, help: "Begin with the beginning-of-text token (as the model was trained).")
    var prependBos: Bool?

    @Flag(inversion: .prefixedNo, help: "Remove white space before the text.")
    var lstrip: Bool?

    @Flag(inversion: .prefixedNo, help: "Keep the prompt in the text.")
    var includePrefix: Bool?

    @Flag(inversion: .prefixedNo, help: "Draw empty texts again.")
    var nonemptyOutput: Bool?

    @Flag(inversion: .prefixedNo, help: "Leave special tokens such as <|endoftext|> out of the text.")
    var skipSpecialTokens: Bool?

    @Flag(inversion: .prefixedNo, help: "Remove spaces before punctuation, as transformers 4 did.")
    var cleanUpTokenizationSpaces: Bool?

    @Flag(inversion: .prefixedNo, help: "Draw texts again that occurred.")
    var deduplicate: Bool?

    @Flag(inversion: .prefixedNo, help: "Go on beyond the context: when it is full, its last half stays.")
    var slidingWindow: Bool?

    @Flag(inversion: .prefixedNo, help: "Cut the text into parts at markers.")
    var schema: Bool?

    @Option(help: ArgumentHelp("A marker such as <|title|>; repeatable (as the model's config says).", valueName: "text"))
    var schemaTokens: [String] = []

    @Option(help: ArgumentHelp("A part to return; repeatable (all).", valueName: "key"))
    var schemaReturn: [String] = []

    @Flag(inversion: .prefixedNo, help: "Keys of parts are the letters and digits of their markers.")
    var normalizeKey: Bool?

    @Option(help: "Log-probabilities of so many alternatives a token (0 … 20).")
    var logprobs: Int?

    @Option(help: "float32, bfloat16 or int8: what the model's matrices are rounded to (float32).")
    var precision: String?

    /// What was given, under the contract's names.
    func parameters() throws -> JSONObject {
        var result = JSONObject()
        result.set("n", n)
        result.set("min_length", minLength)
        result.set("max_length", maxLength)
        result["temperature"] = try temperatures()
        result.set("do_sample", doSample)
        result.set("top_k", topK)
        try result.set("top_p", number: topP)
        try result.set("min_p", number: minP)
        try result.set("typical_p", number: typicalP)
        try result.set("repetition_penalty", number: repetitionPenalty)
        result.set("no_repeat_ngram_size", noRepeatNgramSize)
        result.set("num_beams", numBeams)
        try result.set("length_penalty", number: lengthPenalty)
        result["early_stopping"] = try stopping()
        result.set("bad_words", badWords)
        result.set("banned_tokens", bannedTokens)
        result.set("stop", stop)
        result.set("truncate", truncate)
        result.set("seed", seed)
        result.set("rng", rng)
        setOutput(&result)
        return result
    }

    private func setOutput(_ result: inout JSONObject) {
        result.set("prepend_bos", prependBos)
        result.set("lstrip", lstrip)
        result.set("include_prefix", includePrefix)
        result.set("nonempty_output", nonemptyOutput)
        result.set("skip_special_tokens", skipSpecialTokens)
        result.set("clean_up_tokenization_spaces", cleanUpTokenizationSpaces)
        result.set("deduplicate", deduplicate)
        result.set("sliding_window", slidingWindow)
        result.set("schema", schema)
        result.set("schema_tokens", schemaTokens)
        result.set("schema_return", schemaReturn)
        result.set("normalize_key", normalizeKey)
        result.set("logprobs", logprobs)
        result.set("precision", precision)
    }

    private func temperatures() throws -> JSONValue? {
        guard let temperature else { return nil }
        let values = temperature.split(separator: ",", omittingEmptySubsequences: false).map { part in
            Double(part).flatMap { $0.isFinite ? $0 : nil }
        }
        guard values.allSatisfy({ $0 != nil }) else {
            throw CommandFailure.usage("--temperature: \(temperature) is not a number or several with commas")
        }
        let numbers = values.compactMap { $0.map { JSONValue.real($0) } }
        return numbers.count == 1 ? numbers[0] : .array(numbers)
    }

    private func stopping() throws -> JSONValue? {
        switch earlyStopping {
        case nil: nil
        case "true"?: .bool(true)
        case "false"?: .bool(false)
        case "never"?: "never"
        case let other?: throw CommandFailure.usage("--early-stopping is true, false or never, not \(other)")
        }
    }
}
