import Foundation
import Kernels
import TestSupport
import Testing

@Suite struct AttentionTests {
    @Test("every variant attends to the definition's bits, whole or in chunks, with and without a window")
    func variantsAgree() {
        var numbers = Numbers(seed: 20)
        for index in 0..<24 {
            let window = index % 3 == 2 ? numbers.integer(1...90) : 0
            let made = AttentionCase(
                count: numbers.integer(1...330), heads: numbers.integer(1...3), headWidth: numbers.integer(1...72), window: window, numbers: &numbers)
            let expected = made.run(.plain, chunk: made.count)
            for set in InstructionSet.available {
                for chunk in [made.count, numbers.integer(1...70)] {
                    let got = made.run(set, threads: 1 + index % 3, chunk: chunk)
                    #expect(firstDifference(expected, got) == nil, "seed 20, case \(index), \(set), \(made.count) positions in chunks of \(chunk)")
                }
            }
        }
    }

    @Test("decoding one position at a time gives the bits of the prefill")
    func decodeEqualsPrefill() {
        var numbers = Numbers(seed: 21)
        let made = AttentionCase(count: 280, heads: 2, headWidth: 64, numbers: &numbers)
        for set in InstructionSet.available {
            #expect(firstDifference(made.run(set, threads: 2, chunk: 280), made.run(set, chunk: 1)) == nil, "\(set)")
        }
    }

    @Test("the definition is near attention in double precision")
    func nearDouble() {
        var numbers = Numbers(seed: 22)
        let (count, width) = (300, 24)
        let made = AttentionCase(count: count, heads: 1, headWidth: width, numbers: &numbers)
        let got = made.run(.plain, chunk: count)
        for row in [0, 1, 63, 64, 255, 256, 299] {
            var scores: [Double] = []
            for position in 0...row {
                var sum = 0.0
                for index in 0..<width { sum += Double(made.queries[row * width + index]) * Double(made.keys[position * width + index]) }
                scores.append(sum * 0.25)
            }
            let most = scores.max() ?? 0
            let weights = scores.map { exp($0 - most) }
            let total = weights.reduce(0, +)
            for index in 0..<width {
                var value = 0.0
                for position in 0...row { value += weights[position] * Double(made.values[position * width + index]) }
                #expect(abs(value / total - Double(got[row * width + index])) < 2e-6)
            }
        }
    }
}

@Suite struct TrainingAttentionTests {
    struct Case {
        let sequences: Int
        let length: Int
        let heads: Int
        let width: Int
        let window: Int
        let rows: [Float]
        let gradient: [Float]

        init(sequences: Int, length: Int, heads: Int, width: Int, window: Int = 0, numbers: inout Numbers) {
            self.sequences = sequences
            self.length = length
            self.heads = heads
            self.width = width
            self.window = window
            rows = numbers.uniform(sequences * length * heads * width * 3, scale: 1.5)
            gradient = numbers.uniform(sequences * length * heads * width)
        }

        /// The same rows with each head's query, key and value side by side.
        func headByHead(_ rows: [Float]) -> [Float] {
            var moved = rows
            for row in 0..<(rows.count / (3 * heads * width)) {
                for part in 0..<3 {
                    for head in 0..<heads {
                        for column in 0..<width {
                            moved[((row * heads + head) * 3 + part) * width + column] = rows[((row * 3 + part) * heads + head) * width + column]
                        }
                    }
                }
            }
            return moved
        }

        func run(_ set: InstructionSet, threads: Int = 1, isHeadByHead: Bool = false, dropout: DropoutMask? = nil)
            -> (out: [Float], gradients: [Float])
        {
            let rows = isHeadByHead ? headByHead(rows) : rows
            let distance = isHeadByHead ? width : heads * width
            let pool = ThreadPool(threads: threads, instructionSet: set)
            let channels = heads * width
            var out = [Float](repeating: .nan, count: sequences * length * channels)
            var statistics = [Float](
                repeating: .nan, count: TrainingAttention.statisticsCount(sequences: sequences, length: length, heads: heads))
            var gradients = [Float](repeating: .nan, count: rows.count)
            rows.withUnsafeBufferPointer { rows in
                out.withUnsafeMutableBufferPointer { out in
                    statistics.withUnsafeMutableBufferPointer { statistics in
                        gradients.withUnsafeMutableBufferPointer { gradients in
                            let base = rows.baseAddress!
                            let target = gradients.baseAddress!
                            let attention = TrainingAttention(
                                sequences: sequences, length: length, heads: heads, headWidth: width, scale: 0.25, window: window, queries: base,
                                keys: base + distance, values: base + 2 * distance, stride: 3 * channels,
                                headStride: isHeadByHead ? 3 * width : width, out: out.baseAddress!,
                                outStride: channels, statistics: statistics.baseAddress!)
                            attention.run(dropout: dropout, pool: pool)
                            attention.backward(
                                dOut: gradient, dOutStride: channels, dQueries: target, dKeys: target + distance, dValues: target + 2 * distance,
                                dStride: 3 * channels, dropout: dropout, pool: pool)
                        }
                    }
                }
            }
            return (out, gradients)
        }
    }

    @Test("every variant trains attention to the definition's bits")
    func variantsAgree() {
        var numbers = Numbers(seed: 23)
        for index in 0..<10 {
            let made = Case(
                sequences: numbers.integer(1...2), length: numbers.integer(1...300), heads: numbers.integer(1...2), width: numbers.integer(1...50),
                window: index % 2 == 0 ? 0 : numbers.integer(1...80), numbers: &numbers)
            let mask = index % 3 == 0 ? nil : DropoutMask(rate: 0.3, seed: 9, step: UInt32(index), firstRow: 5, site: 0x2000_0013)
            let expected = made.run(.plain, dropout: mask)
            for variant in variants {
                let got = made.run(variant, threads: 1 + index % 3, dropout: mask)
                #expect(firstDifference(expected.out, got.out) == nil, "seed 23, case \(index), \(variant), forward")
                #expect(firstDifference(expected.gradients, got.gradients) == nil, "seed 23, case \(index), \(variant), backward")
            }
        }
    }

    @Test("queries, keys and values head by head give the bits of part by part")
    func headOrders() {
        var numbers = Numbers(seed: 26)
        let made = Case(sequences: 2, length: 90, heads: 3, width: 20, numbers: &numbers)
        for set in InstructionSet.available {
            let (parts, heads) = (made.run(set), made.run(set, isHeadByHead: true))
            #expect(firstDifference(parts.out, heads.out) == nil, "\(set)")
            #expect(firstDifference(made.headByHead(parts.gradients), heads.gradients) == nil, "\(set)")
        }
    }

    @Test("training's forward pass has inference's bits")
    func forwardEqualsInference() {
        var numbers = Numbers(seed: 24)
        var inference = AttentionCase(count: 270, heads: 2, headWidth: 20, numbers: &numbers)
        let made = Case(sequences: 1, length: 270, heads: 2, width: 20, numbers: &numbers)
        let channels = 40
        func part(_ which: Int) -> [Float] {
            (0..<270).flatMap { row in made.rows[(row * 3 + which) * channels..<(row * 3 + which + 1) * channels] }
        }
        (inference.queries, inference.keys, inference.values) = (part(0), part(1), part(2))
        for set in InstructionSet.available {
            #expect(firstDifference(made.run(set).out, inference.run(set, chunk: 50)) == nil, "\(set)")
        }
    }

    @Test("the gradients are those of finite differences in double precision, weights dropped or not", arguments: [0, 0.4])
    func finiteDifferences(rate: Double) {
        var numbers = Numbers(seed: 25)
        let (length, width) = (7, 5)
        let made = Case(sequences: 1, length: length, heads: 1, width: width, numbers: &numbers)
        let mask = DropoutMask(rate: rate, seed: 77, step: 3, firstRow: 2, site: 0x2000_0003)
        let got = made.run(.plain, dropout: rate > 0 ? mask : nil).gradients
        /// What a weight is multiplied by.
        func kept(_ row: Int, _ position: Int) -> Double {
            let words = Philox.block(seed: 77, counter: SIMD4(UInt32(position / 4), 3, UInt32(2 + row), 0x2000_0003))
            return Double(words[position % 4]) >= (rate * 0x1p32).rounded(.down) ? 1 / (1 - rate) : 0
        }
        func loss(_ rows: [Double]) -> Double {
            var total = 0.0
            for i in 0..<length {
                let scores = (0...i).map { j in
                    (0..<width).reduce(0.0) { $0 + rows[i * 3 * width + $1] * rows[(j * 3 + 1) * width + $1] } * 0.25
                }
                let weights = scores.map { exp($0) }
                let sum = weights.reduce(0, +)
                for c in 0..<width {
                    let value = (0...i).reduce(0.0) { $0 + weights[$1] / sum * kept(i, $1) * rows[($1 * 3 + 2) * width + c] }
                    total += value * Double(made.gradient[i * width + c])
                }
            }
            return total
        }
        let rows = made.rows.map(Double.init)
        for index in rows.indices {
            var (up, down) = (rows, rows)
            up[index] += 1e-5
            down[index] -= 1e-5
            let expected = (loss(up) - loss(down)) / 2e-5
            #expect(abs(expected - Double(got[index])) < 1e-5, "element \(index)")
        }
    }
}
