import CKernels

/// The scores of one position on their way to a draw: temperature, then top_k, top_p, min_p and typical_p, transformers'
/// order. One object a thread; its memory is made once.
///
/// Every sum that decides is an integer sum of ⌊p · 2⁴⁰⌋ with p = exp(z − maximum) (reproducibility, point 10), and equal
/// scores are ordered by id, the lower first. While nothing is filtered the candidates are all ids; the first filter
/// lists the survivors, always in ascending order of their ids.
final class Candidates {
    /// [V], or one score a survivor.
    let scores: UnsafeMutablePointer<Float>
    /// exp(score − maximum), unnormalised; the maximum is that of all candidates before any filter.
    let weights: UnsafeMutablePointer<Float>
    /// The survivors' ids where ``isListed``.
    let ids: UnsafeMutablePointer<Int32>
    private(set) var count: Int
    private(set) var isListed = false
    /// The best score after the temperature and before any filter.
    private(set) var maximum: Float = 0
    let rows: Int
    /// Scratch memory of the filters that sort.
    var order: [Int32] = []
    /// Finishers of a race for several places.
    var finishers: [ck_finisher] = []

    init(rows: Int) {
        self.rows = rows
        count = rows
        scores = .allocate(capacity: rows + 16)
        weights = .allocate(capacity: rows + 16)
        ids = .allocate(capacity: rows + 16)
    }

    deinit {
        scores.deallocate()
        weights.deallocate()
        ids.deallocate()
    }

    /// Begins with all of a position's logits.
    func load(_ logits: UnsafePointer<Float>) {
        scores.update(from: logits, count: rows)
        count = rows
        isListed = false
    }

    /// Begins with a position's log-probabilities: its logits less their `normaliser`.
    func load(_ logits: UnsafePointer<Float>, normaliser: Float) {
        for index in 0..<rows { scores[index] = logits[index] - normaliser }
        count = rows
        isListed = false
    }

    /// The id of an entry.
    func id(_ index: Int) -> Int32 { isListed ? ids[index] : Int32(index) }

    /// The best id, the lowest on ties; nil where everything is banned.
    func best() -> Int32? {
        let index = ck_argmax(scores, count)
        return scores[index] == -.infinity ? nil : Int32(index)
    }

    /// Divides by the temperature, filters and weighs.
    /// - Returns: false where everything is banned.
    func weigh(_ plan: SamplingPlan, temperature: Float) -> Bool {
        maximum = ck_divide_maximum(scores, count, temperature)
        guard maximum > -.infinity else { return false }
        let topK = max(plan.topK, plan.keepsAtLeast)
        if plan.topK > 0, topK < count { keep(atLeast: ck_kth_largest(scores, count, topK)) }
        ck_exponentials(scores, count, maximum, weights)
        if plan.topP < 1 { keepTopP(plan) }
        if plan.minP > 0 { keepMinP(plan) }
        if plan.typicalP < 1 { keepTypical(plan.typicalP, atLeast: plan.keepsAtLeast) }
        return true
    }

    private func keepTopP(_ plan: SamplingPlan) {
        let best = plan.keepsAtLeast > 1 ? bestEntries(plan.keepsAtLeast) : []
        if plan.rng == .torch {
            dropAsTorch(outside: plan.topP)
        } else {
            ck_top_p(scores, weights, count, maximum, plan.topP)
        }
        for entry in best { scores[entry.index] = entry.score }
        compact { [scores] in scores[$0] > -.infinity }
    }

    private func keepMinP(_ plan: SamplingPlan) {
        guard plan.keepsAtLeast > 1, let last = bestEntries(plan.keepsAtLeast).last else { return compact { [weights] in weights[$0] >= plan.minP } }
        compact { [scores, weights] in
            weights[$0] >= plan.minP || scores[$0] > last.score || (scores[$0] == last.score && $0 <= last.index)
        }
    }

    /// The best entries, best first, the lower id first on ties.
    private func bestEntries(_ most: Int) -> [(index: Int, score: Float)] {
        let bound = ck_kth_largest(scores, count, min(most, count))
        var found: [(index: Int, score: Float)] = []
        for index in 0..<count where scores[index] >= bound && scores[index] > -.infinity { found.append((index, scores[index])) }
        found.sort { ($1.score, $0.index) < ($0.score, $1.index) }
        return Array(found.prefix(most))
    }

    /// The exponential race over what is left (reproducibility, points 8 and 9).
    func race(_ key: ck_race_key) -> Int32 {
        withUnsafePointer(to: key) { key in
            isListed ? ck_race_candidates(key, ids, weights, count) : ck_race(key, weights, count)
        }
    }

    /// The same with torch's draws for a row.
    func race(_ row: UnsafePointer<ck_mt19937>) -> Int32 { ck_torch_race(row, isListed ? UnsafePointer(ids) : nil, weights, count) }

    /// Keeps scores not below the bound, before weighing.
    private func keep(atLeast bound: Float) {
        var kept = 0
        var index = 0
        let lanes = SIMD16<Float>(repeating: bound)
        while index + 16 <= count {
            let group = UnsafeRawPointer(scores + index).loadUnaligned(as: SIMD16<Float>.self)
            if any(group .>= lanes) { kept = list(index..<(index + 16), from: kept, atLeast: bound) }
            index += 16
        }
        kept = list(index..<count, from: kept, atLeast: bound)
        count = kept
        isListed = true
    }

    private func list(_ range: Range<Int>, from kept: Int, atLeast bound: Float) -> Int {
        var kept = kept
        for index in range where scores[index] >= bound && scores[index] > -.infinity {
            ids[kept] = Int32(index)
            scores[kept] = scores[index]
            kept += 1
        }
        return kept
    }

    /// Keeps the entries that hold, in order.
    private func compact(_ holds: (Int) -> Bool) {
        var kept = 0
        for index in 0..<count where holds(index) {
            ids[kept] = isListed ? ids[index] : Int32(index)
            scores[kept] = scores[index]
            weights[kept] = weights[index]
            kept += 1
        }
        count = kept
        isListed = true
    }

    /// Locally typical sampling (Meister et al. 2023). With t = maximum − z and weights w: −log p − H = t − Σwt / Σw, so the
    /// distance is |t − Σwt / Σw|, where Σwt is an exact integer sum of w · ⌊t · 2²⁴⌋. Entries are taken by ascending distance,
    /// then id, until their weight reaches ⌊typical_p · Σw⌋; entries as far as the last one stay.
    private func keepTypical(_ mass: Double, atLeast most: Int) {
        let maximum = maximum
        var total: UInt64 = 0
        var moment: UInt128 = 0
        for index in 0..<count where weights[index] > 0 {
            let weight = UInt64(weights[index] * 0x1p40)
            total += weight
            moment += UInt128(weight) * UInt128(Double(maximum - scores[index]) * 0x1p24)
        }
        let mean = Double(moment) / Double(total) * 0x1p-24
        func distance(_ index: Int32) -> Double { abs(Double(maximum - scores[Int(index)]) - mean) }
        order.removeAll(keepingCapacity: true)
        for index in 0..<count where weights[index] > 0 { order.append(Int32(index)) }
        order.sort { (distance($0), $0) < (distance($1), $1) }
        let target = UInt64(mass * Double(total))
        var reached: UInt64 = 0
        var last = 0.0
        for (rank, index) in order.enumerated() {
            reached += UInt64(weights[Int(index)] * 0x1p40)
            last = distance(index)
            if reached >= target, rank + 1 >= most { break }
        }
        compact { [weights] in weights[$0] > 0 && distance(Int32($0)) <= last }
    }
}
