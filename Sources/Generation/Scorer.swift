import CKernels
package import Kernels
package import LanguageModels

/// Reads a text and says how likely the model finds it.
///
///     let score = try Scorer(model: model, pool: pool).score([464, 3280, 318])
///     score.logprobs      // of tokens 1 and 2, given what stands before them
///
/// One pass in chunks of 64 positions, so memory does not grow with the text.
package final class Scorer {
    private static let chunk = 64
    private let session: InferenceSession

    /// - Parameter pool: with the instruction set that the model was packed for.
    package init(model: LanguageModel, pool: ThreadPool) {
        session = InferenceSession(
            model: model, pool: pool, maximumRows: Self.chunk, maximumLogitRows: Self.chunk, maximumSequences: 1)
    }

    /// A text's likelihood.
    package struct Score: Sendable, Equatable {
        /// Token i + 1's log-probability given tokens 0 … i; one less than the text has tokens.
        package var logprobs: [Float]
        /// What the model expects behind the text, `vocabularySize` logits.
        package var lastLogits: [Float]
        /// The logits behind the first token.
        package var firstLogits: [Float]

        /// The text's log-probability, given its first token.
        package var sum: Double { logprobs.reduce(0) { $0 + Double($1) } }

        /// exp(−mean log-probability); nil for a single token, which has none.
        package var perplexity: Double? { logprobs.isEmpty ? nil : Functions.exp(-sum / Double(logprobs.count)) }
    }

    /// - Parameter tokens: 1 ... context of them.
    /// - Throws: ``ModelError/contextExceeded(tokens:context:)``, ``ModelError/unknownToken(_:rows:)`` or
    ///   ``ModelError/notANumber(position:)``.
    package func score(_ tokens: [Int32]) throws(ModelError) -> Score {
        let context = session.model.description.contextLength
        guard (1...context).contains(tokens.count) else { throw .contextExceeded(tokens: tokens.count, context: context) }
        let sequence = try session.makeSequence()
        defer { session.release(sequence) }
        var score = Score(logprobs: [], lastLogits: [], firstLogits: [])
        score.logprobs.reserveCapacity(tokens.count - 1)
        for start in stride(from: 0, to: tokens.count, by: Self.chunk) {
            let end = min(start + Self.chunk, tokens.count)
            session.begin()
            try session.append(tokens[start..<end], to: sequence, logits: .all)
            session.run()
            for position in start..<end { try read(position, row: position - start, tokens: tokens, into: &score) }
        }
        return score
    }

    private func read(_ position: Int, row: Int, tokens: [Int32], into score: inout Score) throws(ModelError) {
        let count = session.model.description.vocabularySize
        let logits = session.logits(row)
        let normaliser = ck_log_sum_exp(logits, count)
        guard normaliser.isFinite, !ck_has_nan(logits, count) else { throw .notANumber(position: position) }
        if position == 0 { score.firstLogits = Array(UnsafeBufferPointer(start: logits, count: count)) }
        guard position + 1 < tokens.count else {
            score.lastLogits = Array(UnsafeBufferPointer(start: logits, count: count))
            return
        }
        score.logprobs.append(logits[Int(tokens[position + 1])] - normaliser)
    }
}
