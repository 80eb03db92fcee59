import Foundation
import Kernels
import TestSupport
import Testing

@Suite struct RowTests {
    /// Everything that works on rows, as one list of named results.
    static func results(_ set: InstructionSet, threads: Int, rows: Int, width: Int, seed: UInt64) -> [(name: String, values: [Float])] {
        var numbers = Numbers(seed: seed)
        let pool = ThreadPool(threads: threads, instructionSet: set)
        let count = rows * width
        let x = numbers.uniform(count, scale: 3)
        let dy = numbers.uniform(count)
        let gain = numbers.uniform(width)
        let bias = numbers.uniform(width)
        var made: [(name: String, values: [Float])] = []

        var out = [Float](repeating: .nan, count: count)
        var mean = [Float](repeating: .nan, count: rows)
        var rstd = mean
        Rows.layerNorm(
            x: x, rows: rows, width: width, xStride: width, gain: gain, bias: bias, epsilon: 1e-5, out: &out, outStride: width, meanOut: &mean,
            rstdOut: &rstd, pool: pool)
        made += [("layer norm", out), ("mean", mean), ("rstd", rstd)]

        for accumulate in [false, true] {
            var dx = numbers.uniform(count)
            var gainGradient = numbers.uniform(width)
            var biasGradient = numbers.uniform(width)
            RowGradients.layerNorm(
                x: x, dy: dy, rows: rows, width: width, xStride: width, dyStride: width, mean: mean, rstd: rstd, gain: gain, dx: &dx,
                dxStride: width, accumulateDX: accumulate, gainGradient: &gainGradient, biasGradient: &biasGradient,
                accumulateParameters: accumulate, pool: pool)
            made += [("norm dx", dx), ("gain gradient", gainGradient), ("bias gradient", biasGradient)]
            var sums = numbers.uniform(width)
            RowGradients.columnSums(dy, rows: rows, columns: width, stride: width, out: &sums, accumulate: accumulate, pool: pool)
            made.append(("column sums", sums))
        }
        for activation in Activation.allCases {
            Rows.activate(activation, x, out: &out, count: count, pool: pool)
            made.append(("\(activation)", out))
            RowGradients.activation(activation, x: x, dy: dy, dx: &out, count: count, pool: pool)
            made.append(("\(activation)'", out))
        }

        let labels = (0..<rows).map { $0 % 4 == 3 ? Int32(-1) : Int32(numbers.integer(0...width - 1)) }
        var losses = [Float](repeating: .nan, count: rows)
        var logits = x
        RowGradients.crossEntropy(
            logits: &logits, rows: rows, vocabulary: width, stride: width, labels: labels, scale: 0.125, losses: &losses, pool: pool)
        made += [("losses", losses), ("logit gradient", logits)]

        let ids = (0..<rows).map { _ in Int32(numbers.integer(0...4)) }
        var table = numbers.uniform(5 * width)
        Rows.embedding(tokens: table, ids: ids, positions: nil, places: nil, rows: rows, width: width, out: &out, outStride: width, pool: pool)
        made.append(("embedding", out))
        RowGradients.embedding(dy: dy, rows: rows, width: width, stride: width, ids: ids, gradient: &table, pool: pool)
        made.append(("embedding gradient", table))

        var weights = x
        var first = numbers.uniform(count, scale: 0.1)
        var second = numbers.uniform(count, scale: 0.1).map { $0 * $0 }
        let adamW = Optimizer.AdamW(learningRate: 1e-3, weightDecay: 0.05, correction1: 0.19, correction2: 0.002, gradientScale: 0.7)
        Optimizer.step(adamW, weights: &weights, gradient: dy, firstMoment: &first, secondMoment: &second, count: count, pool: pool)
        made += [("weights", weights), ("first moment", first), ("second moment", second)]
        made.append(("square sum", [Float(Optimizer.squareSum(x, count: count, pool: pool))]))

        var dropped = x
        RowGradients.dropout(&dropped, rows: rows, width: width, stride: width, rate: 0.3, seed: 5, step: 6, firstRow: 7, site: 8, pool: pool)
        made.append(("dropout", dropped))
        return made
    }

    @Test("every variant works on rows to the definition's bits")
    func variantsAgree() {
        var numbers = Numbers(seed: 30)
        for index in 0..<12 {
            let rows = numbers.integer(1...(index % 3 == 0 ? 530 : 20))
            let width = numbers.integer(1...300)
            let seed = UInt64(index) + 300
            let expected = Self.results(.plain, threads: 1, rows: rows, width: width, seed: seed)
            for variant in variants {
                let got = Self.results(variant, threads: 1 + index % 3, rows: rows, width: width, seed: seed)
                for (a, b) in zip(expected, got) {
                    let at = firstDifference(a.values, b.values)
                    #expect(at == nil, "seed \(seed), \(variant), \(a.name) of \(rows) x \(width) at \(at ?? 0)")
                }
            }
        }
    }

    @Test("LayerNorm is near its formula in double precision")
    func layerNormNearDouble() {
        var numbers = Numbers(seed: 31)
        let width = 100
        let x = numbers.uniform(width, scale: 4).map { $0 + 10 }
        var out = [Float](repeating: 0, count: width)
        let pool = ThreadPool(threads: 1, instructionSet: .plain)
        let ones = [Float](repeating: 1, count: width)
        Rows.layerNorm(x: x, rows: 1, width: width, xStride: width, gain: ones, bias: ones, epsilon: 1e-5, out: &out, outStride: width, pool: pool)
        let mean = x.reduce(0.0) { $0 + Double($1) } / Double(width)
        let variance = x.reduce(0.0) { $0 + (Double($1) - mean) * (Double($1) - mean) } / Double(width)
        for index in 0..<width {
            #expect(abs(Double(out[index]) - ((Double(x[index]) - mean) / (variance + 1e-5).squareRoot() + 1)) < 3e-6)
        }
    }

    @Test("LayerNorm's gradients are those of finite differences")
    func layerNormGradient() {
        var numbers = Numbers(seed: 32)
        let (rows, width) = (3, 9)
        let (x, dy, gain) = (numbers.uniform(rows * width), numbers.uniform(rows * width), numbers.uniform(width))
        func loss(_ x: [Double], _ gain: [Double]) -> Double {
            (0..<rows).reduce(0.0) { total, row in
                let part = Array(x[row * width..<(row + 1) * width])
                let mean = part.reduce(0, +) / Double(width)
                let rstd = 1 / (part.reduce(0.0) { $0 + ($1 - mean) * ($1 - mean) } / Double(width) + 1e-5).squareRoot()
                return total + (0..<width).reduce(0.0) { $0 + (part[$1] - mean) * rstd * gain[$1] * Double(dy[row * width + $1]) }
            }
        }
        let pool = ThreadPool(threads: 1, instructionSet: .plain)
        var (out, mean, rstd) = (x, [Float](repeating: 0, count: rows), [Float](repeating: 0, count: rows))
        Rows.layerNorm(
            x: x, rows: rows, width: width, xStride: width, gain: gain, bias: gain, epsilon: 1e-5, out: &out, outStride: width, meanOut: &mean,
            rstdOut: &rstd, pool: pool)
        var (dx, gainGradient, biasGradient) = (x, gain, gain)
        RowGradients.layerNorm(
            x: x, dy: dy, rows: rows, width: width, xStride: width, dyStride: width, mean: mean, rstd: rstd, gain: gain, dx: &dx, dxStride: width,
            accumulateDX: false, gainGradient: &gainGradient, biasGradient: &biasGradient, accumulateParameters: false, pool: pool)
        let (wide, wideGain) = (x.map(Double.init), gain.map(Double.init))
        for index in wide.indices {
            var (up, down) = (wide, wide)
            up[index] += 1e-5
            down[index] -= 1e-5
            #expect(abs((loss(up, wideGain) - loss(down, wideGain)) / 2e-5 - Double(dx[index])) < 2e-4)
        }
        for index in wideGain.indices {
            var (up, down) = (wideGain, wideGain)
            up[index] += 1e-5
            down[index] -= 1e-5
            #expect(abs((loss(wide, up) - loss(wide, down)) / 2e-5 - Double(gainGradient[index])) < 2e-4)
        }
    }

    @Test("activations' gradients are those of finite differences")
    func activationGradients() {
        let x = stride(from: Float(-6), through: 6, by: 0.37).map { $0 }
        let ones = [Float](repeating: 1, count: x.count)
        let pool = ThreadPool(threads: 1, instructionSet: .plain)
        var got = x
        let tanh = Foundation.tanh as (Double) -> Double
        let formulas: [(Activation, (Double) -> Double)] = [
            (.linear, { $0 }), (.geluNew, { 0.5 * $0 * (1 + tanh((2 / Double.pi).squareRoot() * ($0 + 0.044715 * $0 * $0 * $0))) }),
            (.gelu, { 0.5 * $0 * (1 + erf($0 / 2.0.squareRoot())) }), (.relu, { max($0, 0) }), (.silu, { $0 / (1 + exp(-$0)) }),
            (.quickGelu, { $0 / (1 + exp(-1.702 * $0)) }), (.tanh, tanh),
        ]
        for (activation, formula) in formulas {
            Rows.activate(activation, x, out: &got, count: x.count, pool: pool)
            for index in x.indices { #expect(abs(Double(got[index]) - formula(Double(x[index]))) < 1e-6, "\(activation) of \(x[index])") }
            RowGradients.activation(activation, x: x, dy: ones, dx: &got, count: x.count, pool: pool)
            for index in x.indices {
                let at = Double(x[index])
                #expect(abs(Double(got[index]) - (formula(at + 1e-6) - formula(at - 1e-6)) / 2e-6) < 2e-6, "\(activation)' of \(at)")
            }
        }
    }

    @Test("AdamW is near its formula in double precision")
    func adamW() {
        var numbers = Numbers(seed: 33)
        let count = 50
        let (p, g, m) = (numbers.uniform(count), numbers.uniform(count), numbers.uniform(count, scale: 0.1))
        let v = numbers.uniform(count, scale: 0.1).map { abs($0) }
        var (weights, first, second) = (p, m, v)
        let pool = ThreadPool(threads: 1, instructionSet: .plain)
        let adamW = Optimizer.AdamW(learningRate: 0.01, weightDecay: 0.1, correction1: 0.271, correction2: 0.002997, gradientScale: 0.5)
        Optimizer.step(adamW, weights: &weights, gradient: g, firstMoment: &first, secondMoment: &second, count: count, pool: pool)
        for i in 0..<count {
            let gradient = Double(g[i]) * 0.5
            let newM = 0.9 * Double(m[i]) + 0.1 * gradient
            let newV = 0.999 * Double(v[i]) + 0.001 * gradient * gradient
            let expected = Double(p[i]) * (1 - 0.001) - 0.01 * (newM / 0.271) / ((newV / 0.002997).squareRoot() + 1e-8)
            #expect(abs(Double(weights[i]) - expected) < 1e-6)
        }
    }

    @Test("cross-entropy's losses and gradients follow the softmax; a row without label counts nothing")
    func crossEntropy() {
        var numbers = Numbers(seed: 34)
        let (rows, vocabulary) = (3, 77)
        let z = numbers.uniform(rows * vocabulary, scale: 5)
        var (logits, losses) = (z, [Float](repeating: 9, count: rows))
        let pool = ThreadPool(threads: 1, instructionSet: .plain)
        RowGradients.crossEntropy(
            logits: &logits, rows: rows, vocabulary: vocabulary, stride: vocabulary, labels: [5, -100, 76], scale: 0.5, losses: &losses, pool: pool)
        for (row, label) in [(0, 5), (2, 76)] {
            let part = z[row * vocabulary..<(row + 1) * vocabulary].map(Double.init)
            let sum = part.reduce(0.0) { $0 + exp($1) }
            #expect(abs(Double(losses[row]) - (log(sum) - part[label])) < 2e-6)
            for index in 0..<vocabulary {
                let expected = (exp(part[index]) / sum - (index == label ? 1 : 0)) * 0.5
                #expect(abs(Double(logits[row * vocabulary + index]) - expected) < 1e-6)
            }
        }
        #expect(losses[1] == 0)
        #expect(logits[vocabulary..<2 * vocabulary].allSatisfy { $0 == 0 })
    }

    @Test("gradient norms over blocks agree on every variant and with double precision")
    func squareSum() {
        var numbers = Numbers(seed: 35)
        let x = numbers.uniform(200_003)
        let expected = x.reduce(0.0) { $0 + Double($1) * Double($1) }
        let plain = Optimizer.squareSum(x, count: x.count, pool: ThreadPool(threads: 1, instructionSet: .plain))
        #expect(abs(plain / expected - 1) < 1e-5)
        for variant in variants {
            #expect(Optimizer.squareSum(x, count: x.count, pool: ThreadPool(threads: 2, instructionSet: variant)) == plain)
        }
    }

    @Test("maximum, argmax and NaN detection")
    func reductions() {
        var numbers = Numbers(seed: 36)
        for count in [1, 15, 16, 17, 63, 64, 65, 1000] {
            var x = numbers.uniform(count)
            #expect(Rows.maximum(x, count: count) == x.max())
            #expect(Rows.argmax(x, count: count) == x.firstIndex(of: x.max() ?? 0))
            #expect(!Rows.hasNaN(x, count: count))
            let sum = x.reduce(0.0) { $0 + exp(Double($1)) }
            #expect(abs(Double(Rows.logSumExp(x, count: count)) - log(sum)) < 2e-6)
            x[count - 1] = .nan
            #expect(Rows.hasNaN(x, count: count))
        }
        #expect(Rows.argmax([1, 3, 3, 2], count: 4) == 1)
    }
}
