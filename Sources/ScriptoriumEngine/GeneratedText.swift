internal import Generation

/// One finished text.
public struct GeneratedText: Sendable, Equatable {
    /// Why a text ended.
    public enum FinishReason: String, Sendable {
        /// With an end token.
        case eos
        /// At the greatest length.
        case length
        /// Before a `stop` string.
        case stop
    }

    /// A generated token with its log-probability under the model itself, before any option acts.
    public struct Token: Sendable, Equatable {
        /// The token.
        public let id: Int32
        /// Its log-probability.
        public let logprob: Float
        /// The likeliest tokens at its place, best first.
        public let alternatives: [Alternative]
    }

    /// A token that could have come.
    public struct Alternative: Sendable, Equatable {
        /// The token.
        public let id: Int32
        /// Its log-probability.
        public let logprob: Float
    }

    /// Sample k of prompt i is i·n + k.
    public let sample: Int
    /// Which prompt it continues.
    public let promptIndex: Int
    /// The seed that it came from: that of the options, or the one that was drawn.
    public let seed: UInt64
    /// The text.
    public let text: String
    /// The prompt's tokens, a leading bos among them.
    public let promptTokens: [Int32]
    /// The generated tokens, the end token among them.
    public let tokens: [Int32]
    /// Why it ended.
    public let finishReason: FinishReason
    /// The mean of the tokens' log-probabilities.
    public let meanLogprob: Double
    /// The tokens with their log-probabilities, where ``GenerateOptions/logprobs`` asks for them.
    public let logprobs: [Token]?
    /// JSON of the parts, where ``GenerateOptions/schema`` asks for them.
    public let schemaJSON: String?
    /// How often the text was drawn again, where it was (``GenerateOptions/nonemptyOutput``, ``GenerateOptions/deduplicate``).
    public let redrawn: Int?
    /// What a search gave the text.
    public let beamScore: Float?
    /// The proof record in canonical JSON: everything that determined the text, and its tokens (docs/reproducibility.md).
    public let record: String

    init(_ sample: GeneratedSample, seed: UInt64) {
        self.sample = sample.sample
        promptIndex = sample.promptIndex
        redrawn = sample.redrawn
        self.seed = seed
        text = sample.text
        promptTokens = sample.promptTokenIDs
        tokens = sample.tokenIDs
        finishReason = FinishReason(rawValue: sample.finishReason.rawValue) ?? .length
        meanLogprob = sample.meanLogprob
        logprobs = sample.logprobs?.map { token in
            Token(
                id: token.tokenID, logprob: token.logprob, alternatives: token.top.map { Alternative(id: $0.tokenID, logprob: $0.logprob) })
        }
        schemaJSON = sample.schema.map { String(decoding: $0, as: UTF8.self) }
        beamScore = sample.beamScore
        record = String(decoding: sample.record, as: UTF8.self)
    }
}

/// One token of a text that is being generated.
public struct StreamedToken: Sendable, Equatable {
    /// Which text: sample k of prompt i is i·n + k.
    public let sample: Int
    /// 0, or the number of the redraw: a higher one begins the text anew.
    public let draw: Int
    /// Counts the text's generated tokens from 0.
    public let index: Int
    /// The token.
    public let id: Int32
    /// What became certain of the text with it.
    public let text: String

    init(_ piece: TokenPiece) { (sample, draw, index, id, text) = (piece.sample, piece.draw, piece.index, piece.tokenID, piece.text) }
}

/// How likely a model finds a text.
public struct TextScore: Sendable, Equatable {
    /// The text's tokens.
    public let tokens: [Int32]
    /// Token i + 1's log-probability given tokens 0 … i.
    public let logprobs: [Float]
    /// exp of minus their mean; nil for a single token.
    public let perplexity: Double?

    /// The text's log-probability, given its first token.
    public var sum: Double { logprobs.reduce(0) { $0 + Double($1) } }

    init(tokens: [Int32], _ score: Scorer.Score) {
        (self.tokens, logprobs, perplexity) = (tokens, score.logprobs, score.perplexity)
    }
}
