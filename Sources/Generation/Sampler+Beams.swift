import CKernels
import Kernels
import LanguageModels

/// A way on from one beam.
struct Continuation {
    /// The beam that it continues.
    var beam: Int32
    var token: Int32
    /// The sum of the processed log-probabilities with this token's.
    var score: Float
    /// What decides the order: the score, or where tokens are drawn the score less the log of an exponential draw.
    var key: Double
    /// The token's log-probability in the model's own log-softmax.
    var logprob: Float
}

/// What a beam's row of logits gave.
struct BeamRow {
    /// Its continuations.
    var count = 0
    /// The best tokens of the model itself, where the request wants them.
    var top: [TokenLogprob.Candidate] = []
    var hasFault = false
}

extension Sampler {
    /// The best ways on from one beam, best first, ties to the lower id: in transformers' search the processors act on
    /// log-probabilities, whose sum a beam carries along.
    /// - Parameters:
    ///   - logits: the model's, left as they are.
    ///   - beam: its number in the search.
    ///   - sum: the score that it carries.
    ///   - out: room for `plan.continuations`.
    static func continuations(
        _ logits: UnsafePointer<Float>, rows: Int, plan: SamplingPlan, history: TokenHistory, place: Place, beam: Int, sum: Float,
        candidates: Candidates, into out: UnsafeMutablePointer<Continuation>
    ) -> BeamRow {
        let normaliser = ck_log_sum_exp(logits, rows)
        guard !ck_has_nan(logits, rows), normaliser.isFinite else { return BeamRow(hasFault: true) }
        candidates.load(logits, normaliser: normaliser)
        LogitsProcessors.apply(plan, history: history, to: candidates.scores)
        let count =
            plan.doSample
            ? draw(plan, history: history, place: place, beam: beam, sum: sum, candidates: candidates, into: out)
            : candidates.best(plan.continuations) { rank, token, score in
                let total = score + sum
                out[rank] = Continuation(beam: Int32(beam), token: token, score: total, key: Double(total), logprob: 0)
            }
        for index in 0..<count { out[index].logprob = logits[Int(out[index].token)] - normaliser }
        return BeamRow(count: count, top: plan.logprobs.map { best($0, of: logits, rows: rows, normaliser: normaliser) } ?? [])
    }

    /// Continuations drawn without replacement from all beams' together: those of p / q best, p being exp of the summed score.
    /// Within a row p is taken against the row's best; the logarithm of p / q is then comparable across rows.
    private static func draw(
        _ plan: SamplingPlan, history: TokenHistory, place: Place, beam: Int, sum: Float, candidates: Candidates,
        into out: UnsafeMutablePointer<Continuation>
    ) -> Int {
        guard candidates.weigh(plan, temperature: plan.temperature(history.generatedCount)) else { return 0 }
        let reference = Double(candidates.maximum) + Double(sum)
        return candidates.race(plan.continuations, key: key(plan, history: history, place: place), torch: place.torch) { rank, token, score, ratio in
            out[rank] = Continuation(
                beam: Int32(beam), token: token, score: score + sum, key: reference + Functions.log(Double(ratio)), logprob: 0)
        }
    }
}

extension Candidates {
    /// Hands over the best scores, best first, ties to the lower id.
    /// - Returns: how many there are, at most `most`.
    func best(_ most: Int, _ take: (_ rank: Int, _ token: Int32, _ score: Float) -> Void) -> Int {
        let bound = ck_kth_largest(scores, count, min(most, count))
        order.removeAll(keepingCapacity: true)
        for index in 0..<count where scores[index] >= bound && scores[index] > -.infinity { order.append(Int32(index)) }
        let scores = scores
        order.sort { (scores[Int($1)], $0) < (scores[Int($0)], $1) }
        let found = min(most, order.count)
        for rank in 0..<found { take(rank, id(Int(order[rank])), scores[Int(order[rank])]) }
        return found
    }

    /// Hands over the first finishers of the exponential race, with their quotients.
    /// - Returns: how many there are, at most `most`.
    func race(
        _ most: Int, key: ck_race_key, torch: UnsafePointer<ck_mt19937>?,
        _ take: (_ rank: Int, _ token: Int32, _ score: Float, _ ratio: Float) -> Void
    ) -> Int {
        if finishers.count < most { finishers = [ck_finisher](repeating: ck_finisher(), count: most) }
        let ids = isListed ? UnsafePointer(self.ids) : nil
        let found = finishers.withUnsafeMutableBufferPointer { buffer in
            withUnsafePointer(to: key) { key in
                torch.map { ck_torch_race_best($0, ids, weights, count, most, buffer.baseAddress) }
                    ?? ck_race_best(key, ids, weights, count, most, buffer.baseAddress)
            }
        }
        for rank in 0..<found {
            let place = Int(finishers[rank].place)
            take(rank, id(place), scores[place], finishers[rank].ratio)
        }
        return found
    }
}
