import LanguageModels
import Tokenizers

/// ``SamplingParameters`` checked and made ready for the per-token path: ids instead of strings, float32 instead of
/// double.
struct SamplingPlan: Sendable {
    let doSample: Bool
    let temperatures: [Float]
    let topK: Int
    let topP: Double
    let minP: Float
    let typicalP: Double
    let repetitionPenalty: Float
    let noRepeatNgramSize: Int
    /// End tokens are banned while the text is shorter; 0 bans nothing.
    let minLength: Int
    let bannedWords: [[Int32]]
    let bannedTokens: [Int32]
    let endTokens: [Int32]
    let seed: UInt64
    let logprobs: Int?

    /// - Throws: ``GenerationError/invalidParameter(field:reason:)`` naming the contract's field.
    init(_ parameters: SamplingParameters, tokenizer: Tokenizer?, description: ModelDescription) throws(GenerationError) {
        try Self.check(parameters, rows: description.vocabularySize)
        doSample = parameters.doSample
        temperatures = parameters.temperature.map { Float($0) }
        topK = parameters.topK
        topP = parameters.topP
        minP = Float(parameters.minP)
        typicalP = parameters.typicalP
        repetitionPenalty = Float(parameters.repetitionPenalty)
        noRepeatNgramSize = parameters.noRepeatNgramSize
        minLength = parameters.minLength ?? 0
        let end = description.eosIDs
        endTokens = parameters.ignoresEndToken ? [] : end
        bannedWords = parameters.badWords.map { tokenizer?.encode($0) ?? [] }.filter { word in
            !word.isEmpty && !(word.count == 1 && end.contains(word[0])) && word.allSatisfy { $0 < description.vocabularySize }
        }
        bannedTokens = parameters.bannedTokens
        seed = parameters.seed
        logprobs = parameters.logprobs
    }

    /// The divisor of the j-th generated token's scores.
    func temperature(_ generated: Int) -> Float { temperatures[generated % temperatures.count] }

    private static func check(_ parameters: SamplingParameters, rows: Int) throws(GenerationError) {
        func require(_ holds: Bool, _ field: String, _ reason: String) throws(GenerationError) {
            guard holds else { throw .invalidParameter(field: field, reason: reason) }
        }
        try require(!parameters.temperature.isEmpty, "temperature", "the list is empty")
        try require(parameters.temperature.allSatisfy { $0.isFinite && Float($0) > 0 && Float($0).isFinite }, "temperature", "must be above 0")
        try require(parameters.topK >= 0, "top_k", "must be at least 0")
        try require((0...1).contains(parameters.topP), "top_p", "must be in 0 ... 1")
        try require((0...1).contains(parameters.minP), "min_p", "must be in 0 ... 1")
        try require(parameters.typicalP > 0 && parameters.typicalP <= 1, "typical_p", "must be above 0 and at most 1")
        try require(
            parameters.repetitionPenalty.isFinite && Float(parameters.repetitionPenalty) > 0, "repetition_penalty", "must be above 0")
        try require(parameters.noRepeatNgramSize >= 0, "no_repeat_ngram_size", "must be at least 0")
        try require((parameters.minLength ?? 0) >= 0, "min_length", "must be at least 0")
        try require(parameters.maxLength > 0, "max_length", "must be above 0")
        try require(
            parameters.bannedTokens.allSatisfy { $0 >= 0 && $0 < rows }, "banned_tokens", "an id is outside the model's vocabulary of \(rows)")
        try require(parameters.stop.allSatisfy { !$0.isEmpty }, "stop", "a string is empty")
        try require(parameters.truncate?.isEmpty != true, "truncate", "the string is empty")
        try require(parameters.badWords.allSatisfy { !$0.isEmpty }, "bad_words", "a string is empty")
        try require((0...20).contains(parameters.logprobs ?? 0), "logprobs", "must be in 0 ... 20")
    }
}
