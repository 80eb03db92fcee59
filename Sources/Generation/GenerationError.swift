package import LanguageModels

/// Why a request was refused or ended. The description never holds prompt text.
package enum GenerationError: Error, Sendable, Equatable, CustomStringConvertible {
    /// Prompt `promptIndex` has at least as many tokens as the limit allows: the context or `max_length`.
    case promptTooLong(promptIndex: Int, tokens: Int, limit: Int, isContext: Bool)
    /// A parameter the engine cannot follow; `field` is its name in the contract.
    case invalidParameter(field: String, reason: String)
    /// The model's description names no token to begin an empty text with.
    case noBeginning
    /// Everything is banned at this position of the text.
    case everythingBanned(sample: Int, position: Int)
    /// The model gave a logit that is not a number (or is infinite) at this position of the text.
    case notANumber(sample: Int, position: Int)
    /// The key-value pages of one text, or of one search with beams, do not fit into what the scheduler may use.
    case tooLarge(neededBytes: Int, allowedBytes: Int)
    /// The engine refused the step.
    case model(ModelError)

    package var description: String {
        switch self {
        case .promptTooLong(let index, let tokens, let limit, true):
            "prompt \(index) has \(tokens) tokens and the model's context \(limit): shorten the prompt"
        case .promptTooLong(let index, let tokens, let limit, false):
            "prompt \(index) has \(tokens) tokens and max_length is \(limit): raise max_length or shorten the prompt"
        case .invalidParameter(let field, let reason): "\(field): \(reason)"
        case .noBeginning: "the prompt is empty and the model has no bos_token_id to begin with: give a prompt"
        case .everythingBanned(let sample, let position):
            "sample \(sample): no token is left to choose at position \(position): relax bad_words, banned_tokens or no_repeat_ngram_size"
        case .notANumber(let sample, let position):
            "sample \(sample): the model's logits at position \(position) are not numbers: its weights are damaged"
        case .tooLarge(let needed, let allowed):
            "one text, or one search with beams, needs \(needed) bytes of key-value pages and \(allowed) are allowed: lower max_length or num_beams, or give the worker more memory"
        case .model(let error): error.description
        }
    }

    /// The contract's field at fault, where there is one.
    package var field: String? {
        switch self {
        case .promptTooLong: "prompt"
        case .invalidParameter(let field, _): field
        case .noBeginning: "prompt"
        case .tooLarge: "max_length"
        default: nil
        }
    }
}
