import CKernels
import Kernels
import TestSupport
import Testing

/// A random product: sizes around every block and tile border, either factor transposed, strides wider than the rows.
struct ProductProblem {
    var rows, inputs, columns: Int
    var left, right, bias, residual, start: [Float]
    var leftStrides, rightStrides: (Int, Int)
    var outStride: Int
    var hasBias, hasResidual, accumulates: Bool

    init(using generator: inout SeededGenerator) {
        func size(_ favourites: [Int], _ limit: Int) -> Int {
            Bool.random(using: &generator) ? favourites.randomElement(using: &generator) ?? 1 : Int.random(in: 1...limit, using: &generator)
        }
        rows = size([1, 5, 6, 7, 96, 97, 192, 193], 230)
        inputs = size([1, 15, 16, 255, 256, 257, 512, 513], 600)
        columns = size([1, 15, 16, 17, 63, 64, 65, 128, 129], 200)
        let (leftTransposed, rightTransposed) = (Bool.random(using: &generator), Bool.random(using: &generator))
        let slack = Int.random(in: 0...3, using: &generator)
        leftStrides = leftTransposed ? (1, rows + slack) : (inputs + slack, 1)
        rightStrides = rightTransposed ? (1, inputs + slack) : (columns + slack, 1)
        outStride = columns + slack
        (hasBias, hasResidual, accumulates) = (
            Bool.random(using: &generator), Bool.random(using: &generator), Bool.random(using: &generator)
        )
        func values(_ count: Int) -> [Float] { (0..<count).map { _ in Float.random(in: -1...1, using: &generator) } }
        left = values((leftTransposed ? inputs : rows) * (max(leftStrides.0, leftStrides.1)))
        right = values((rightTransposed ? columns : inputs) * (max(rightStrides.0, rightStrides.1)))
        bias = values(columns)
        residual = values(rows * outStride)
        start = values(rows * outStride)
    }

    /// The product of `set`, or what `multiply` makes of it.
    func run(
        _ set: InstructionSet, threads: Int, values: (Float) -> Float = { $0 },
        multiply: (ThreadPool, inout ck_product_args) -> Void = { ck_product($0.handle, &$1) }
    ) -> [UInt32] {
        let pool = ThreadPool(threads: threads, instructionSet: set)
        var out = start
        left.map(values).withUnsafeBufferPointer { left in
            right.map(values).withUnsafeBufferPointer { right in
                bias.withUnsafeBufferPointer { bias in
                    residual.withUnsafeBufferPointer { residual in
                        out.withUnsafeMutableBufferPointer { out in
                            var arguments = ck_product_args(
                                a: left.baseAddress, a_row: leftStrides.0, a_k: leftStrides.1, b: right.baseAddress,
                                b_k: rightStrides.1 == 1 ? rightStrides.0 : 1,
                                b_column: rightStrides.1 == 1 ? 1 : rightStrides.1, rows: rows, inputs: inputs, columns: columns,
                                bias: hasBias ? bias.baseAddress : nil, residual: hasResidual ? residual.baseAddress : nil, out: out.baseAddress,
                                out_stride: outStride, accumulate: accumulates)
                            multiply(pool, &arguments)
                        }
                    }
                }
            }
        }
        return out.map(\.bitPattern)
    }
}

@Suite("Training's products")
struct ProductTests {
    @Test("every instruction set and thread count gives the definition's bits and touches nothing beyond")
    func equalsDefinition() {
        for seed in 0..<60 as Range<UInt64> {
            var generator = SeededGenerator(seed: seed)
            let problem = ProductProblem(using: &generator)
            let expected = problem.run(.plain, threads: 1)
            for set in InstructionSet.available {
                for threads in [1, 2] { #expect(problem.run(set, threads: threads) == expected, "seed \(seed), \(set), \(threads) threads") }
            }
        }
    }

    @Test("a product is the packed kernel's, bit for bit")
    func equalsPacked() throws {
        var generator = SeededGenerator(seed: 99)
        let (rows, inputs, columns) = (37, 300, 70)
        let x = (0..<rows * inputs).map { _ in Float.random(in: -1...1, using: &generator) }
        let w = (0..<inputs * columns).map { _ in Float.random(in: -1...1, using: &generator) }
        let pool = ThreadPool(threads: 2)
        let packed = try PackedMatrix(inputs: inputs, outputs: columns)
        var (one, other) = ([Float](repeating: 0, count: rows * columns), [Float](repeating: 0, count: rows * columns))
        x.withUnsafeBufferPointer { x in
            w.withUnsafeBufferPointer { w in
                one.withUnsafeMutableBufferPointer { one in
                    other.withUnsafeMutableBufferPointer { other in
                        guard let x = x.baseAddress, let w = w.baseAddress, let one = one.baseAddress, let other = other.baseAddress else { return }
                        packed.pack(w, layout: .inputMajor, pool: pool)
                        Linear.apply(x: x, rows: rows, xStride: inputs, weights: packed, bias: nil, out: one, outStride: columns, pool: pool)
                        var arguments = ck_product_args(
                            a: x, a_row: inputs, a_k: 1, b: w, b_k: columns, b_column: 1, rows: rows, inputs: inputs, columns: columns, bias: nil,
                            residual: nil, out: other, out_stride: columns, accumulate: false)
                        ck_product(pool.handle, &arguments)
                    }
                }
            }
        }
        #expect(one.map(\.bitPattern) == other.map(\.bitPattern))
    }
}
