/// The processors that act on scores whether or not tokens are drawn, in transformers' order: repetition_penalty,
/// no_repeat_ngram_size, bad_words, min_length, banned tokens. A banned score is −∞.
///
/// Source: transformers' generation/logits_process.py, versions 4.36 and 5.23 (engine handbook, 3).
enum LogitsProcessors {
    /// Applies the active ones in place.
    static func apply(_ plan: SamplingPlan, history: TokenHistory, to scores: UnsafeMutablePointer<Float>) {
        if plan.repetitionPenalty != 1 { penaliseRepetition(plan.repetitionPenalty, history.distinct, scores) }
        history.tokens.withUnsafeBufferPointer { tokens in
            if plan.noRepeatNgramSize > 0 { banRepeatedNgrams(plan.noRepeatNgramSize, tokens, scores) }
            for word in plan.bannedWords { banWord(word, tokens, scores) }
            if tokens.count < plan.minLength { ban(plan.endTokens, scores) }
        }
        ban(plan.bannedTokens, scores)
    }

    /// Once for each id of the text, prompt and bos included: negative scores are multiplied, others divided.
    private static func penaliseRepetition(_ penalty: Float, _ distinct: [Int32], _ scores: UnsafeMutablePointer<Float>) {
        for token in distinct {
            let score = scores[Int(token)]
            scores[Int(token)] = score < 0 ? score * penalty : score / penalty
        }
    }

    /// Bans each token that once followed the last n − 1 tokens.
    private static func banRepeatedNgrams(_ n: Int, _ tokens: UnsafeBufferPointer<Int32>, _ scores: UnsafeMutablePointer<Float>) {
        guard tokens.count >= n else { return }
        let suffix = tokens.count - (n - 1)
        for start in 0...(tokens.count - n) {
            var matches = true
            for offset in 0..<(n - 1) where tokens[start + offset] != tokens[suffix + offset] {
                matches = false
                break
            }
            if matches { scores[Int(tokens[start + n - 1])] = -.infinity }
        }
    }

    /// Bans a word's last token where the text ends with the others.
    private static func banWord(_ word: [Int32], _ tokens: UnsafeBufferPointer<Int32>, _ scores: UnsafeMutablePointer<Float>) {
        let head = word.count - 1
        guard tokens.count >= head else { return }
        for offset in 0..<head where tokens[tokens.count - head + offset] != word[offset] { return }
        scores[Int(word[head])] = -.infinity
    }

    private static func ban(_ ids: [Int32], _ scores: UnsafeMutablePointer<Float>) {
        for id in ids { scores[Int(id)] = -.infinity }
    }
}
