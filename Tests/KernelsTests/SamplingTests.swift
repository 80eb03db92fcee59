import CKernels
import Foundation
import Kernels
import TestSupport
import Testing

@Suite struct SamplingTests {
    /// The race as reproducibility.md 9 words it, without any bound.
    static func race(seed: UInt64, position: UInt32, sample: UInt32, p: [Float]) -> Int32? {
        var best: (score: Float, id: Int)?
        for id in p.indices where p[id] > 0 {
            let words = Philox.block(seed: seed, counter: SIMD4(UInt32(id / 4), position, sample, 0))
            let score = p[id] / -Functions.log1p(-Philox.uniform(words[id % 4]))
            if best == nil || score > best?.score ?? 0 { best = (score, id) }
        }
        return best.map { Int32($0.id) }
    }

    @Test("the race with its bound picks what the race without it picks, on every variant, dense or listed")
    func raceAgrees() {
        var numbers = Numbers(seed: 60)
        for index in 0..<60 {
            let count = numbers.integer(1...1500)
            let spread = Float(index % 12)
            var p = numbers.uniform(count, scale: spread).map { Functions.exp($0 - spread) }
            for id in p.indices where index % 3 == 1 && id % 5 != 0 { p[id] = 0 }
            let expected = Self.race(seed: UInt64(index), position: 7, sample: 2, p: p) ?? -1
            var key = ck_race_key(seed: UInt64(index), position: 7, sample: 2, purpose_and_draw: 0)
            let ids = p.indices.filter { p[$0] > 0 }.map(Int32.init)
            for set in InstructionSet.available {
                guard let table = ck_kernels_of(Int32(InstructionSet.allCases.firstIndex(of: set) ?? 0)) else { continue }
                #expect(ck_isa_of(table) == Int32(InstructionSet.allCases.firstIndex(of: set) ?? 0))
                #expect(table.pointee.race(&key, p, count) == expected, "case \(index), \(set)")
                #expect(table.pointee.race_candidates(&key, ids, ids.map { p[Int($0)] }, ids.count) == expected, "case \(index), \(set), listed")
            }
        }
        #expect(Sampling.race(.init(seed: 1, position: 0, sample: 0), weights: [0, 0, 0], count: 3) == nil)
    }

    @Test("draws follow the probabilities")
    func raceDistribution() {
        let p: [Float] = [0.5, 1, 0.25, 0, 0.25]
        var counts = [Int](repeating: 0, count: 5)
        for position in 0..<40_000 {
            counts[Int(Sampling.race(.init(seed: 3, position: position, sample: 0), weights: p, count: 5) ?? 3)] += 1
        }
        for id in 0..<5 { #expect(abs(Double(counts[id]) - Double(p[id]) / 2 * 40_000) < 500, "\(counts)") }
    }

    @Test("the k-th largest is that of a sorted list")
    func kthLargest() {
        var numbers = Numbers(seed: 61)
        for index in 0..<60 {
            let count = numbers.integer(1...9000)
            var z = numbers.uniform(count, scale: 10)
            if index % 3 == 0 { z = z.map { ($0 * 2).rounded() } }
            if index % 4 == 0 { z[count / 2] = -.infinity }
            let sorted = z.sorted(by: >)
            for k in [1, 2, min(50, count), numbers.integer(1...count), count, count + 5] {
                #expect(Sampling.kthLargest(z, count: count, k: k) == sorted[min(k, count) - 1], "case \(index), k \(k) of \(count)")
            }
        }
    }

    @Test("top_p keeps what a sorted list keeps, ties by id, and always the best")
    func topP() {
        var numbers = Numbers(seed: 62)
        for index in 0..<80 {
            let count = numbers.integer(1...700)
            var z = numbers.uniform(count, scale: Float(index % 9))
            if index % 2 == 0 { z = z.map { ($0 * 4).rounded() / 4 } }
            if index % 5 == 0 { for id in stride(from: 0, to: count - 1, by: 3) { z[id] = -.infinity } }
            let maximum = z.max() ?? 0
            var p = z
            Sampling.exponentials(z, count: count, maximum: maximum, into: &p)
            for topP in [0, 0.3, 0.9, 0.999, 1.0] {
                let weights = p.map { UInt64(Double($0) * 0x1p40) }
                let threshold = UInt64((1 - topP) * Double(weights.reduce(0, +)))
                let ascending = (0..<count).sorted { z[$0] != z[$1] ? z[$0] < z[$1] : $0 > $1 }
                var expected = z
                var sum: UInt64 = 0
                for id in ascending.dropLast() {
                    sum += weights[id]
                    guard sum <= threshold else { break }
                    expected[id] = -.infinity
                }
                var got = z
                let kept = Sampling.topP(&got, weights: p, count: count, maximum: maximum, topP: topP)
                #expect(got == expected, "case \(index), top_p \(topP)")
                #expect(kept == expected.count { $0 > -.infinity })
            }
        }
    }

    @Test("integer weights are exact on every variant")
    func fixedWeights() {
        var numbers = Numbers(seed: 63)
        let p = numbers.uniform(1003).map { abs($0) } + [0, 1, .leastNonzeroMagnitude, 0x1p-40, 0x1p-41]
        var w = [UInt64](repeating: 0, count: p.count)
        let total = Sampling.fixedWeights(p, count: p.count, into: &w)
        #expect(total == w.reduce(0, +) && total == Sampling.fixedWeights(p, count: p.count))
        #expect(w == p.map { UInt64(Double($0) * 0x1p40) })
    }
}
