package import Encodings
package import Kernels
package import LanguageModels
package import Tokenizers

/// Proves or disproves what is claimed of texts, with one model.
///
///     let verifier = try Verifier(model: model, tokenizer: tokenizer, pool: pool)
///     let verdict = try verifier.verify(Claim(line))
///     verdict.isVerified          // true, false, or nil with a reason
///
/// The sampler, the processors, the rule that ends a text and the assembly of its text are those that generate: nothing is written
/// twice. Several verifications may be under way at a time, one step after another. Not Sendable: it lives on its pool's thread.
package final class Verifier {
    package let model: LanguageModel
    package let tokenizer: Tokenizer
    let pool: ThreadPool
    let table: TokenTable
    /// Scratch memory, one a thread.
    let candidates: [Candidates]
    /// Reads texts: a chunk of ``rows`` positions a step, with logits for each.
    let session: InferenceSession

    /// Positions that a step reads. It bounds the memory (their logits: 26 MB at 50,257 ids), whatever the text's length.
    static let rows = 128
    /// Verifications under way at a time.
    private static let mostTexts = 256

    /// - Parameter pool: with the instruction set that the model was packed for.
    /// - Throws: ``ModelError/tokenizerTooLarge(tokens:rows:)``.
    package init(model: LanguageModel, tokenizer: Tokenizer, pool: ThreadPool) throws(ModelError) {
        try model.check(tokenizerCount: tokenizer.vocabularySize)
        self.model = model
        self.tokenizer = tokenizer
        self.pool = pool
        table = TokenTable(tokenizer, rows: model.description.vocabularySize)
        candidates = (0..<pool.threadCount).map { _ in Candidates(rows: model.description.vocabularySize) }
        session = InferenceSession(
            model: model, pool: pool, maximumRows: Self.rows, maximumLogitRows: Self.rows, maximumSequences: Self.mostTexts)
    }

    /// Checks a claim to the end.
    /// - Parameters:
    ///   - method: nil: one pass where that proves it, else a replay.
    ///   - key: who must have signed the record.
    ///   - say: is told each step.
    /// - Throws: where the engine itself cannot go on; it says nothing about the claim.
    package func verify(
        _ claim: Claim, method: VerificationMethod? = nil, key: VerificationKey? = nil, say: @escaping (VerificationStep) -> Void = { _ in }
    ) throws(ModelError) -> Verdict {
        let verification = begin(claim, method: method, key: key, say: say)
        while true {
            if let verdict = verification.verdict { return verdict }
            try verification.step()
        }
    }

    /// Begins to check a claim; ``Verification/step()`` goes on.
    package func begin(
        _ claim: Claim, method: VerificationMethod? = nil, key: VerificationKey? = nil, say: @escaping (VerificationStep) -> Void = { _ in }
    ) -> Verification {
        Verification(self, claim, method: method, key: key, say: say)
    }

    /// What can be said of a claim where its model is not at hand.
    /// - Parameter message: why it is not.
    package static func verdict(
        _ claim: Claim, method: VerificationMethod?, key: VerificationKey? = nil, withoutModel message: String
    ) -> Verdict {
        var findings = Inspection(claim, key: key, precision: nil).findings
        findings.append(Finding(.weights, message))
        return Verdict(findings: findings, method: method ?? .forward)
    }
}
