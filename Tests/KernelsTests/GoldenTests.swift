import Kernels
import TestSupport
import Testing

/// Bits of every path, committed. Inputs come from SplitMix64, so they never change either.
@Suite struct GoldenTests {
    @Test("matrix products keep their bits")
    func linear() throws {
        for activation in Activation.allCases {
            var numbers = Numbers(seed: 50)
            let made = LinearCase(
                rows: 7, inputs: 600, outputs: 100, x: numbers.uniform(7 * 600), weights: numbers.uniform(600 * 100), bias: numbers.uniform(100),
                residual: numbers.uniform(700), activation: activation)
            for set in InstructionSet.available { Golden.expect(bitsHash(try made.run(set)), "linear \(activation)") }
        }
    }

    @Test("products with narrow weights keep their bits", arguments: [WeightPrecision.bfloat16, .int8])
    func narrowLinear(precision: WeightPrecision) throws {
        var numbers = Numbers(seed: 55)
        let made = LinearCase(
            rows: 7, inputs: 603, outputs: 100, x: numbers.uniform(7 * 603), weights: numbers.uniform(603 * 100), bias: numbers.uniform(100),
            residual: numbers.uniform(700), activation: .geluNew, precision: precision)
        for set in InstructionSet.available { Golden.expect(bitsHash(try made.run(set)), "linear \(precision)") }
    }

    @Test("attention keeps its bits")
    func attention() {
        var numbers = Numbers(seed: 51)
        let made = AttentionCase(count: 300, heads: 2, headWidth: 40, numbers: &numbers)
        let training = TrainingAttentionTests.Case(sequences: 1, length: 280, heads: 1, width: 40, numbers: &numbers)
        for set in InstructionSet.available {
            Golden.expect(bitsHash(made.run(set, chunk: 300)), "attention")
            Golden.expect(bitsHash(made.run(set, chunk: 300, isNarrow: true)), "attention bfloat16")
            Golden.expect(bitsHash(training.run(set).gradients), "attention backward")
        }
    }

    @Test("operations on rows keep their bits")
    func rows() {
        for set in InstructionSet.available {
            for (index, result) in RowTests.results(set, threads: 1, rows: 300, width: 75, seed: 52).enumerated() {
                Golden.expect(bitsHash(result.values), "\(index) \(result.name)")
            }
        }
    }

    @Test("normal numbers keep their bits, have their moments, and do not depend on where they start")
    func normal() {
        var out = [Float](repeating: 0, count: 100_000)
        Philox.fillNormal(seed: 53, stream: 2, deviation: 0.02, into: &out, count: out.count)
        Golden.expect(bitsHash(out), "normal")
        let mean = out.reduce(0.0) { $0 + Double($1) } / 1e5
        let deviation = (out.reduce(0.0) { $0 + Double($1) * Double($1) } / 1e5).squareRoot()
        #expect(abs(mean) < 3e-4 && abs(deviation / 0.02 - 1) < 0.01)
        var part = [Float](repeating: 0, count: 33)
        Philox.fillNormal(seed: 53, stream: 2, first: 501, deviation: 0.02, into: &part, count: 33)
        #expect(part == Array(out[501..<534]))
    }

    @Test("draws keep their tokens")
    func race() {
        var numbers = Numbers(seed: 54)
        let p = numbers.uniform(5000, scale: 6).map { Functions.exp($0 - 6) }
        let tokens = (0..<200).map { Float(Sampling.race(.init(seed: 99, position: $0, sample: $0 % 3), weights: p, count: p.count) ?? -1) }
        Golden.expect(bitsHash(tokens), "race")
    }
}
