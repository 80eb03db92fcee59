internal import Generation

/// What shapes generated texts: the names, meanings and defaults of a `generate` task (docs/protocol.md). What a task asks for with
/// `return_token_ids` is always in ``GeneratedText/tokens``.
public struct GenerateOptions: Sendable, Equatable {
    /// When a search with beams ends.
    public enum EarlyStopping: Sendable, Equatable {
        /// When the best running beam, judged at its present length, is no better than the worst finished text.
        case no
        /// As soon as there are as many finished texts as beams.
        case yes
        /// As ``no``, but judged at the greatest length where longer texts score better.
        case never
    }

    /// Where random numbers come from.
    public enum RandomNumbers: Sendable, Equatable {
        /// Counted ones: a sample is the same text whatever ``GenerateOptions/n`` is.
        case philox
        /// torch's, to replay seeds of torch-based tools on a CPU.
        case torch
    }

    /// Texts of the prompt.
    public var n: Int
    /// Equal seeds give equal texts: 0 … 2^53-1. Nil: each call draws eight digits, which ``GeneratedText/seed`` tells.
    public var seed: UInt64?
    /// Tokens of a text, prompt included; capped at the context without ``slidingWindow``.
    public var maxLength: Int
    /// The end token is banned while the text has fewer tokens.
    public var minLength: Int?
    /// Divides the scores; the j-th generated token uses entry j modulo the count.
    public var temperature: [Double]
    /// False: the likeliest token each time.
    public var doSample = true
    /// Keeps the k likeliest tokens; 0: all.
    public var topK: Int
    /// Keeps the likeliest tokens of this probability together; 1: all.
    public var topP: Double
    /// Drops tokens less likely than this share of the likeliest; 0: none.
    public var minP = 0.0
    /// Keeps locally typical tokens of this probability together; 1: all.
    public var typicalP = 1.0
    /// Above 1: tokens that occurred become less likely.
    public var repetitionPenalty = 1.0
    /// No run of so many tokens occurs twice; 0: off.
    public var noRepeatNgramSize = 0
    /// Beams of a search; 1: none.
    public var numBeams = 1
    /// The power of the length that a beam's score is divided by.
    public var lengthPenalty = 1.0
    /// When a search ends.
    public var earlyStopping = EarlyStopping.no
    /// Texts that are never generated.
    public var badWords: [String] = []
    /// Tokens that are never generated.
    public var bannedTokens: [Int32] = []
    /// The text ends before the first of these that occurs.
    public var stop: [String] = []
    /// One more such text, by its older name.
    public var truncate: String?
    /// Where random numbers come from.
    public var rng = RandomNumbers.philox
    /// With torch's random numbers: texts of a prompt that are drawn together, a divisor of ``n``; nil: all of them.
    public var batchSize: Int?
    /// A beginning-of-text token stands before the prompt; nil: as the model was trained.
    public var prependBOS: Bool?
    /// Leading white space goes.
    public var lstrip = true
    /// The prompt is part of the text.
    public var includePrefix = true
    /// Empty texts are drawn again.
    public var nonemptyOutput = true
    /// Equal texts are drawn again.
    public var deduplicate = false
    /// Tokens such as `<|endoftext|>` leave no trace.
    public var skipSpecialTokens = true
    /// Removes the spaces before punctuation that transformers 4 removed.
    public var cleanUpTokenizationSpaces = false
    /// Goes on beyond the context: when it is full, its last half stays.
    public var slidingWindow = false
    /// Cuts texts at markers into parts: ``GeneratedText/schemaJSON``.
    public var schema = false
    /// The markers, such as `<|title|>`; nil: those that the model's config names, with its ``schemaReturn``.
    public var schemaTokens: [String]?
    /// The keys of the parts to keep; a single one gives its bare text, nil or none: all.
    public var schemaReturn: [String]?
    /// A part's key is its marker's letters and digits; else the marker as it stands.
    public var normalizeKey = true
    /// Log-probabilities of so many alternatives a token (0 … 20); nil: none.
    public var logprobs: Int?

    /// - Parameter temperature: above 0.
    public init(n: Int = 1, seed: UInt64? = nil, maxLength: Int = 256, temperature: Double = 0.7, topK: Int = 0, topP: Double = 1) {
        (self.n, self.seed, self.maxLength) = (n, seed, maxLength)
        (self.temperature, self.topK, self.topP) = ([temperature], topK, topP)
    }

    /// - Parameter seed: ``seed``, or the one that was drawn.
    func sampling(seed: UInt64) -> SamplingParameters {
        var result = SamplingParameters()
        (result.seed, result.maxLength, result.minLength) = (seed, maxLength, minLength)
        (result.temperature, result.doSample, result.topK, result.topP) = (temperature, doSample, topK, topP)
        (result.minP, result.typicalP) = (minP, typicalP)
        (result.repetitionPenalty, result.noRepeatNgramSize) = (repetitionPenalty, noRepeatNgramSize)
        (result.numBeams, result.lengthPenalty) = (numBeams, lengthPenalty)
        switch earlyStopping {
        case .no: result.earlyStopping = .no
        case .yes: result.earlyStopping = .yes
        case .never: result.earlyStopping = .never
        }
        (result.badWords, result.bannedTokens, result.stop, result.truncate) = (badWords, bannedTokens, stop, truncate)
        (result.rng, result.batchSize) = (rng == .torch ? .torch : .philox, batchSize)
        (result.slidingWindow, result.logprobs) = (slidingWindow, logprobs)
        return result
    }

    /// - Parameter config: the markers of the model's config.
    func textOptions(_ config: Schema?) -> TextOptions {
        var result = TextOptions()
        (result.lstrip, result.includePrefix, result.skipSpecialTokens) = (lstrip, includePrefix, skipSpecialTokens)
        (result.nonemptyOutput, result.deduplicate) = (nonemptyOutput, deduplicate)
        result.cleanUpTokenizationSpaces = cleanUpTokenizationSpaces
        if schema {
            let own = schemaTokens == nil ? config : nil
            result.schema = Schema(
                tokens: schemaTokens ?? own?.tokens ?? [], returned: schemaReturn ?? own?.returned, normalizesKeys: normalizeKey)
        }
        return result
    }
}
