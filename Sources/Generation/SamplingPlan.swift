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
    let beams: Int
    let lengthPenalty: Double
    let earlyStopping: EarlyStopping
    /// Tokens that no filter may go below: a beam needs continuations that do not end it.
    let keepsAtLeast: Int
    let seed: UInt64
    let rng: RandomNumbers
    let logprobs: Int?

    /// - Throws: ``GenerationError/invalidParameter(field:reason:)`` naming the contract's field.
    init(_ parameters: SamplingParameters, tokenizer: Tokenizer?, description: ModelDescription) throws(GenerationError) {
        try parameters.check(rows: description.vocabularySize)
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
        beams = parameters.numBeams
        lengthPenalty = parameters.lengthPenalty
        earlyStopping = parameters.earlyStopping
        keepsAtLeast = beams > 1 ? endTokens.count + 1 : 1
        seed = parameters.seed
        rng = parameters.rng
        logprobs = parameters.logprobs
    }

    /// The divisor of the j-th generated token's scores.
    func temperature(_ generated: Int) -> Float { temperatures[generated % temperatures.count] }

    /// Continuations that a search looks at in each round: enough that as many as beams do not end.
    var continuations: Int { max(2, endTokens.count + 1) * beams }

    /// Whether samples of a prompt share one stream of random numbers and so are drawn as a batch.
    var drawsInBatches: Bool { doSample && rng == .torch }
}

extension SamplingParameters {
    /// - Parameter rows: the model's vocabulary.
    /// - Throws: ``GenerationError/invalidParameter(field:reason:)`` naming the contract's field.
    func check(rows: Int) throws(GenerationError) {
        func require(_ holds: Bool, _ field: String, _ reason: String) throws(GenerationError) {
            guard holds else { throw .invalidParameter(field: field, reason: reason) }
        }
        try require(!temperature.isEmpty, "temperature", "the list is empty")
        try require(temperature.allSatisfy { $0.isFinite && Float($0) > 0 && Float($0).isFinite }, "temperature", "must be above 0")
        try require(topK >= 0, "top_k", "must be at least 0")
        try require((0...1).contains(topP), "top_p", "must be in 0 ... 1")
        try require((0...1).contains(minP), "min_p", "must be in 0 ... 1")
        try require(typicalP > 0 && typicalP <= 1, "typical_p", "must be above 0 and at most 1")
        try require(repetitionPenalty.isFinite && Float(repetitionPenalty) > 0, "repetition_penalty", "must be above 0")
        let lengths = 0...Self.mostLength
        try require(lengths.contains(noRepeatNgramSize), "no_repeat_ngram_size", "must be in 0 ... \(Self.mostLength)")
        try require(lengths.contains(minLength ?? 0), "min_length", "must be in 0 ... \(Self.mostLength)")
        try require(maxLength > 0 && maxLength <= Self.mostLength, "max_length", "must be in 1 ... \(Self.mostLength)")
        try require(seed <= Self.mostSeed, "seed", "must be in 0 ... \(Self.mostSeed), which every reader of JSON keeps")
        try require(bannedTokens.allSatisfy { $0 >= 0 && $0 < rows }, "banned_tokens", "an id is outside the model's vocabulary of \(rows)")
        try require(stop.allSatisfy { !$0.isEmpty }, "stop", "a string is empty")
        try require(truncate?.isEmpty != true, "truncate", "the string is empty")
        try require(badWords.allSatisfy { !$0.isEmpty }, "bad_words", "a string is empty")
        try require((0...Self.mostLogprobs).contains(logprobs ?? 0), "logprobs", "must be in 0 ... \(Self.mostLogprobs)")
        try require((1...Self.mostBeams).contains(numBeams), "num_beams", "must be in 1 ... \(Self.mostBeams)")
        try require(Float(lengthPenalty).isFinite, "length_penalty", "must be finite in single precision")
    }

    /// Beams at most, as in the contract.
    static let mostBeams = 1024
    /// The contract's bound of `max_length`, `min_length` and `no_repeat_ngram_size`, in tokens.
    static let mostLength = 65_536
    /// Alternatives a token at most, as in the contract.
    static let mostLogprobs = 20
    /// The largest seed of the contract: 2^53 - 1.
    package static let mostSeed: UInt64 = 1 << 53 - 1
}
