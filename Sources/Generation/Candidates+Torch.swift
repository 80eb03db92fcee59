import CKernels

/// How torch-based tools filter, where it decides otherwise than our exact sums.
extension Candidates {
    /// Shares of the best score's weight below which scores may go all at once, to keep the sort short.
    private static let tails: [Float] = [0x1p-5, 0x1p-9, 0x1p-13, 0x1p-18]

    /// top_p as transformers computes it: scores in ascending order (equal ones: the higher id first) lose while the sum of
    /// their probabilities, taken in double and rounded to float32, is at most float32(1 − top_p); the best always stays.
    /// What loses becomes −∞ in place.
    func dropAsTorch(outside topP: Double) {
        let threshold = Float(1 - topP)
        var total = 0.0
        for index in 0..<count { total += Double(weights[index]) }
        var sum = dropTail(threshold, total: total)
        let scores = scores
        order.sort { (scores[Int($0)], $1) < (scores[Int($1)], $0) }
        for index in order.dropLast() {
            sum += Double(Float(Double(weights[Int(index)]) / total))
            guard Float(sum) <= threshold else { return }
            scores[Int(index)] = -.infinity
        }
    }

    /// Drops the longest tail that goes as a whole, and lists the others in ``order``.
    /// - Returns: the tail's probability.
    private func dropTail(_ threshold: Float, total: Double) -> Double {
        order.removeAll(keepingCapacity: true)
        for bound in Self.tails {
            var sum = 0.0
            for index in 0..<count where weights[index] < bound { sum += Double(Float(Double(weights[index]) / total)) }
            guard Float(sum) <= threshold else { continue }
            for index in 0..<count {
                if weights[index] < bound { scores[index] = -.infinity } else { order.append(Int32(index)) }
            }
            return sum
        }
        for index in 0..<count where scores[index] > -.infinity { order.append(Int32(index)) }
        return 0
    }
}
