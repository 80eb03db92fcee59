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
    private let rows: Int
    private var order: [Int32] = []

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

    /// The best id, the lowest on ties; nil where everything is banned.
    func best() -> Int32? {
        let index = ck_argmax(scores, count)
        return scores[index] == -.infinity ? nil : Int32(index)
    }

    /// Divides by the temperature, filters and weighs.
    /// - Returns: false where everything is banned.
    func weigh(_ plan: SamplingPlan, temperature: Float) -> Bool {
        let maximum = ck_divide_maximum(scores, count, temperature)
        guard maximum > -.infinity else { return false }
        if plan.topK > 0, plan.topK < count { keep(atLeast: ck_kth_largest(scores, count, plan.topK)) }
        ck_exponentials(scores, count, maximum, weights)
        if plan.topP < 1 {
            ck_top_p(scores, weights, count, maximum, plan.topP)
            dropBanned()
        }
        if plan.minP > 0 { keep(weightAtLeast: plan.minP) }
        if plan.typicalP < 1 { keepTypical(plan.typicalP, maximum: maximum) }
        return true
    }

    /// The exponential race over what is left (reproducibility, points 8 and 9).
    func race(_ key: ck_race_key) -> Int32 {
        withUnsafePointer(to: key) { key in
            isListed ? ck_race_candidates(key, ids, weights, count) : ck_race(key, weights, count)
        }
    }

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

    private func dropBanned() { compact { [scores] in scores[$0] > -.infinity } }

    private func keep(weightAtLeast bound: Float) { compact { [weights] in weights[$0] >= bound } }

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
    private func keepTypical(_ mass: Double, maximum: Float) {
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
        for index in order {
            reached += UInt64(weights[Int(index)] * 0x1p40)
            last = distance(index)
            if reached >= target { break }
        }
        compact { [weights] in weights[$0] > 0 && distance(Int32($0)) <= last }
    }
}
