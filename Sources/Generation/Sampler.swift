import CKernels
import Kernels
package import LanguageModels

/// Chooses one token from one row of logits.
package enum Sampler {
    /// What became of a row.
    struct Choice {
        var token: Int32 = -1
        /// The chosen token's log-probability in the model's own log-softmax.
        var logprob: Float = 0
        var top: [TokenLogprob.Candidate] = []
        var fault = Fault.none
    }

    /// Why nothing could be chosen.
    enum Fault { case none, notANumber, everythingBanned }

    /// The draw's place in the stream of random numbers.
    struct Place {
        var sample: UInt32
        var draw: UInt32
        /// torch's generator at the row's first draw, where its numbers are wanted.
        var torch: UnsafePointer<ck_mt19937>?
    }

    /// - Parameters:
    ///   - logits: the model's, left as they are.
    ///   - candidates: scratch memory of the calling thread.
    static func choose(
        _ logits: UnsafePointer<Float>, rows: Int, plan: SamplingPlan, history: TokenHistory, place: Place, candidates: Candidates
    ) -> Choice {
        let normaliser = ck_log_sum_exp(logits, rows)
        guard !ck_has_nan(logits, rows), normaliser.isFinite else { return Choice(fault: .notANumber) }
        candidates.load(logits)
        LogitsProcessors.apply(plan, history: history, to: candidates.scores)
        guard let token = draw(plan, history: history, place: place, candidates: candidates) else { return Choice(fault: .everythingBanned) }
        let top = plan.logprobs.map { best($0, of: logits, rows: rows, normaliser: normaliser) } ?? []
        return Choice(token: token, logprob: logits[Int(token)] - normaliser, top: top)
    }

    private static func draw(_ plan: SamplingPlan, history: TokenHistory, place: Place, candidates: Candidates) -> Int32? {
        guard plan.doSample else { return candidates.best() }
        guard candidates.weigh(plan, temperature: plan.temperature(history.generatedCount)) else { return nil }
        let token = place.torch.map { candidates.race($0) } ?? candidates.race(key(plan, history: history, place: place))
        return token < 0 ? nil : token
    }

    static func key(_ plan: SamplingPlan, history: TokenHistory, place: Place) -> ck_race_key {
        ck_race_key(
            seed: plan.seed, position: UInt32(history.tokens.count), sample: place.sample, purpose_and_draw: Philox.word(.sampling, draw: place.draw))
    }

    /// The best tokens of the model itself, best first, lowest id first on ties.
    static func best(_ count: Int, of logits: UnsafePointer<Float>, rows: Int, normaliser: Float) -> [TokenLogprob.Candidate] {
        guard count > 0 else { return [] }
        let bound = ck_kth_largest(logits, rows, min(count, rows))
        var found: [TokenLogprob.Candidate] = []
        for id in 0..<rows where logits[id] >= bound { found.append(.init(tokenID: Int32(id), logprob: logits[id])) }
        found.sort { ($1.logprob, $0.tokenID) < ($0.logprob, $1.tokenID) }
        return found.prefix(count).map { .init(tokenID: $0.tokenID, logprob: $0.logprob - normaliser) }
    }

    /// The distribution that a token would be drawn from, for tests and for proofs' surprisal.
    /// - Parameter previous: the text before it.
    package static func distribution(
        logits: [Float], previous: [Int32], parameters: SamplingParameters, description: ModelDescription
    ) throws(GenerationError) -> [Double] {
        let plan = try SamplingPlan(parameters, tokenizer: nil, description: description)
        let candidates = Candidates(rows: logits.count)
        logits.withUnsafeBufferPointer { candidates.load($0.baseAddress!) }
        let history = TokenHistory(prompt: previous, capacity: previous.count, vocabulary: logits.count)
        LogitsProcessors.apply(plan, history: history, to: candidates.scores)
        var result = [Double](repeating: 0, count: logits.count)
        guard candidates.weigh(plan, temperature: plan.temperature(0)) else { return result }
        var total = 0.0
        for index in 0..<candidates.count { total += Double(candidates.weights[index]) }
        for index in 0..<candidates.count {
            result[candidates.isListed ? Int(candidates.ids[index]) : index] = Double(candidates.weights[index]) / total
        }
        return result
    }
}
