import Kernels
import TestSupport
import Testing

@Suite struct LinearTests {
    static func randomCase(_ numbers: inout Numbers, edges: Bool) -> LinearCase {
        let rows = numbers.integer(1...30)
        let inputs = numbers.integer(1...600)
        let outputs = numbers.integer(1...170)
        var made = LinearCase(
            rows: rows, inputs: inputs, outputs: outputs, x: edges ? numbers.edges(rows * inputs) : numbers.uniform(rows * inputs),
            weights: edges ? numbers.edges(inputs * outputs) : numbers.uniform(inputs * outputs))
        if numbers.integer(0...1) == 1 { made.bias = numbers.uniform(outputs) }
        if numbers.integer(0...1) == 1 { made.residual = numbers.uniform(rows * outputs) }
        if numbers.integer(0...2) == 1 { made.start = numbers.uniform(rows * outputs) }
        made.activation = Activation.allCases[numbers.integer(0...Activation.allCases.count - 1)]
        made.layout = numbers.integer(0...1) == 1 ? .inputMajor : .outputMajor
        return made
    }

    @Test("every variant multiplies to the definition's bits", arguments: [false, true])
    func variantsAgree(edges: Bool) throws {
        let seed: UInt64 = edges ? 11 : 10
        var numbers = Numbers(seed: seed)
        for index in 0..<60 {
            let made = Self.randomCase(&numbers, edges: edges)
            let expected = try made.run(.plain)
            for variant in variants {
                let got = try made.run(variant, threads: 1 + index % 3)
                let at = firstDifference(expected, got)
                #expect(at == nil, "seed \(seed), case \(index), \(variant), \(made.rows) x \(made.inputs) x \(made.outputs) at \(at ?? 0)")
            }
        }
    }

    @Test("a row's result is the same alone, in any batch and on any number of threads")
    func rowsAreIndependent() throws {
        var numbers = Numbers(seed: 12)
        let (inputs, outputs) = (520, 300)
        var made = LinearCase(
            rows: 64, inputs: inputs, outputs: outputs, x: numbers.uniform(64 * inputs), weights: numbers.uniform(inputs * outputs),
            bias: numbers.uniform(outputs), activation: .geluNew)
        let x = made.x
        for set in variants + [.plain] {
            made.rows = 64
            made.x = x
            let together = try made.run(set, threads: 2)
            for rows in [1, 2, 3, 5, 7, 8, 13, 63] {
                made.rows = rows
                for first in [0, 64 - rows] {
                    made.x = Array(x[first * inputs..<(first + rows) * inputs])
                    let got = try made.run(set, threads: rows % 3 + 1)
                    #expect(
                        firstDifference(got, Array(together[first * outputs..<(first + rows) * outputs])) == nil, "\(set), \(rows) rows from \(first)"
                    )
                }
            }
        }
    }

    @Test("the definition is near the product in double precision")
    func nearDouble() throws {
        var numbers = Numbers(seed: 13)
        let (rows, inputs, outputs) = (3, 3072, 20)
        let made = LinearCase(
            rows: rows, inputs: inputs, outputs: outputs, x: numbers.uniform(rows * inputs), weights: numbers.uniform(inputs * outputs))
        let got = try made.run(.plain)
        for row in 0..<rows {
            for column in 0..<outputs {
                var sum = 0.0
                for k in 0..<inputs { sum += Double(made.x[row * inputs + k]) * Double(made.weights[k * outputs + column]) }
                #expect(abs(Double(got[row * outputs + column]) - sum) < 1e-4)
            }
        }
    }

    @Test("a residual may be the output itself")
    func residualInPlace() throws {
        var numbers = Numbers(seed: 14)
        var made = LinearCase(rows: 9, inputs: 700, outputs: 50, x: numbers.uniform(9 * 700), weights: numbers.uniform(700 * 50))
        let residual = numbers.uniform(9 * 50)
        made.residual = residual
        let expected = try made.run(.plain)
        for set in InstructionSet.available {
            let pool = ThreadPool(threads: 2, instructionSet: set)
            let matrix = try PackedMatrix(inputs: 700, outputs: 50, instructionSet: set)
            matrix.pack(made.weights, layout: .inputMajor, pool: pool)
            var out = residual
            out.withUnsafeMutableBufferPointer { out in
                guard let base = out.baseAddress else { return }
                Linear.apply(x: made.x, rows: 9, xStride: 700, weights: matrix, residual: base, out: base, outStride: 50, pool: pool)
            }
            #expect(firstDifference(expected, out) == nil, "\(set)")
        }
    }

    @Test("weight gradients are the product of columns, in one piece or in chunks of 256 rows")
    func weightGradients() throws {
        var numbers = Numbers(seed: 15)
        let (rows, inputs, outputs) = (600, 37, 50)
        let x = numbers.uniform(rows * inputs)
        let dy = numbers.uniform(rows * outputs)
        var transposed = [Float](repeating: 0, count: rows * inputs)
        for row in 0..<rows { for column in 0..<inputs { transposed[column * rows + row] = x[row * inputs + column] } }
        let expected = try LinearCase(rows: inputs, inputs: rows, outputs: outputs, x: transposed, weights: dy).run(.plain)
        for set in InstructionSet.available {
            let pool = ThreadPool(threads: 2, instructionSet: set)
            let products = try LinearGradients(workspaceFloats: LinearGradients.workspaceFloats(rows: rows, inputs: inputs, outputs: outputs))
            var whole = [Float](repeating: .nan, count: inputs * outputs)
            var turned = whole
            var chunked = whole
            products.weightGradient(
                x: x, xStride: inputs, dy: dy, dyStride: outputs, rows: rows, inputs: inputs, outputs: outputs, gradient: &whole,
                layout: .inputMajor, accumulate: false, pool: pool)
            products.weightGradient(
                x: x, xStride: inputs, dy: dy, dyStride: outputs, rows: rows, inputs: inputs, outputs: outputs, gradient: &turned,
                layout: .outputMajor, accumulate: false, pool: pool)
            for (first, count) in [(0, 256), (256, 256), (512, 88)] {
                products.weightGradient(
                    x: Array(x[(first * inputs)...]), xStride: inputs, dy: Array(dy[(first * outputs)...]), dyStride: outputs, rows: count,
                    inputs: inputs, outputs: outputs, gradient: &chunked, layout: .inputMajor, accumulate: first > 0, pool: pool)
            }
            #expect(firstDifference(expected, whole) == nil, "\(set)")
            #expect(firstDifference(expected, chunked) == nil, "\(set), in chunks")
            let back = (0..<inputs * outputs).map { turned[$0 % outputs * inputs + $0 / outputs] }
            #expect(firstDifference(expected, back) == nil, "\(set), outputs first")
        }
    }
}
