/// What a step of the scheduler has to tell.
///
/// The events of one request come in this order: tokens (where it streams) and samples, the samples in ascending
/// order, then exactly one of `finished`, `failed` or `cancelled`, after which nothing more comes.
package enum GenerationEvent: Sendable {
    /// One token of a streaming request.
    case token(RequestID, TokenPiece)
    /// One text is settled.
    case sample(RequestID, GeneratedSample)
    /// Every sample has been handed over.
    case finished(RequestID)
    /// The request ended for a reason of its own; its batch mates go on.
    case failed(RequestID, GenerationError)
    /// The request ended because ``BatchScheduler/cancel(_:)`` asked for it.
    case cancelled(RequestID)
}

/// One token as it is streamed.
package struct TokenPiece: Sendable, Equatable {
    /// i·n + k.
    package var sample: Int
    /// 0, or the number of the redraw.
    package var draw: Int
    /// Counts the sample's generated tokens from 0.
    package var index: Int
    package var tokenID: Int32
    /// What became certain of the text with this token: it may be empty, while bytes or a possible stop string are
    /// held back. The pieces of a draw, put together behind the prompt, are its text before clean-up.
    package var text: String
}

/// Why a text ended.
package enum FinishReason: String, Sendable, Equatable {
    case eos, length, stop
}

/// One finished text with what is recorded of it.
package struct GeneratedSample: Sendable, Equatable {
    /// i·n + k.
    package var sample: Int
    package var promptIndex: Int
    /// 0, or the number of the redraw that was kept.
    package var draw: Int
    /// The text as it is returned.
    package var text: String
    package var prompt: String
    /// The prompt's tokens, a leading bos among them.
    package var promptTokenIDs: [Int32]
    /// The generated tokens, the end token and those behind a stop string among them.
    package var tokenIDs: [Int32]
    package var finishReason: FinishReason
    /// The mean of the generated tokens' log-probabilities in the model's own log-softmax.
    package var meanLogprob: Double
    /// One entry a generated token, where the request asked for them.
    package var logprobs: [TokenLogprob]?
    /// The parts of the text in canonical JSON, where the request asked for a schema.
    package var schema: [UInt8]?
    /// How often the text was drawn again, where it was.
    package var redrawn: Int?
    /// What its search gave it: the processed log-probability over generated length to the power of the length penalty.
    package var beamScore: Float?
    /// The proof record in canonical JSON.
    package var record: [UInt8]
    /// The digest of ``record``.
    package var recordSHA256: String
    /// Who vouches for ``record``, where somebody does.
    package var signature: String?
    /// A replay's: it was ended at the first token that is not the expected one, and has no text.
    var isCut = false

    init(
        sample: Int, promptIndex: Int, draw: Int, text: String, prompt: String, promptTokenIDs: [Int32], tokenIDs: [Int32],
        finishReason: FinishReason, meanLogprob: Double
    ) {
        (self.sample, self.promptIndex, self.draw) = (sample, promptIndex, draw)
        (self.text, self.prompt) = (text, prompt)
        (self.promptTokenIDs, self.tokenIDs) = (promptTokenIDs, tokenIDs)
        (self.finishReason, self.meanLogprob) = (finishReason, meanLogprob)
        record = []
        recordSHA256 = ""
    }
}

/// The model's own log-probability of a token, before processors and temperature.
package struct TokenLogprob: Sendable, Equatable {
    package var tokenID: Int32
    package var logprob: Float
    /// The best tokens at this position, best first, lowest id first on ties.
    package var top: [Candidate]

    /// A token with its log-probability.
    package struct Candidate: Sendable, Equatable {
        package var tokenID: Int32
        package var logprob: Float
    }
}
