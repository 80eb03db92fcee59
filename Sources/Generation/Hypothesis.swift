import LanguageModels
import Tokenizers

/// One beam of a search: a text on its way, with the sequence that caches it.
final class Hypothesis {
    var history: TokenHistory
    var sequence: SequenceID?
    /// The sum of the processed log-probabilities of its generated tokens.
    var score: Float = 0
    /// The same of the model's own.
    var logprobSum = 0.0
    var logprobs: [TokenLogprob] = []
    /// The generated text, kept only where a stop string may end it.
    var assembler: TextAssembler?

    /// An empty continuation of a prompt.
    init(prompt: [Int32], plan: SamplingPlan, vocabulary: Int, capacity: Int, stops: [String]) {
        history = TokenHistory(prompt: prompt, capacity: capacity, vocabulary: plan.repetitionPenalty == 1 ? nil : vocabulary)
        assembler = stops.isEmpty ? nil : TextAssembler(stops: stops)
    }

    /// Becomes the same text as another one, but for the sequence.
    func copy(_ other: Hypothesis) {
        history.copy(other.history)
        score = other.score
        logprobSum = other.logprobSum
        logprobs = other.logprobs
        assembler = other.assembler
    }

    /// Gives its sequence back.
    func release(_ session: InferenceSession) {
        if let sequence { session.release(sequence) }
        sequence = nil
    }

    /// What the next round feeds: the text's last token.
    var nextInput: Int32 { history.tokens[history.tokens.count - 1] }

    /// Takes the next token.
    func append(_ next: Continuation, top: [TokenLogprob.Candidate]?, bytes: ArraySlice<UInt8>) {
        history.append(next.token)
        score = next.score
        logprobSum += Double(next.logprob)
        if let top { logprobs.append(TokenLogprob(tokenID: next.token, logprob: next.logprob, top: top)) }
        assembler?.append(bytes)
    }

    /// Whether a token with these bytes would complete a stop string.
    func wouldStop(_ bytes: ArraySlice<UInt8>) -> Bool {
        guard var probe = assembler else { return false }
        probe.append(bytes)
        return probe.isStopped
    }
}

/// A text that a search has finished.
struct FinishedBeam {
    var tokens: [Int32]
    var logprobSum: Double
    var logprobs: [TokenLogprob]
    var reason: FinishReason
    /// Its score, the length penalty applied.
    var score: Float
}
