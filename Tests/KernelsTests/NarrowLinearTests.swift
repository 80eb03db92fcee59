import CKernels
import Kernels
import TestSupport
import Testing

@Suite("Products with bfloat16 and int8 weights")
struct NarrowLinearTests {
    static let precisions: [WeightPrecision] = [.bfloat16, .int8]

    /// One way of multiplying: an instruction set and one of its variants.
    private struct Variant: CustomStringConvertible {
        let set: InstructionSet
        let index: Int
        let kernels: UnsafePointer<ck_narrow_kernels>
        var description: String { "\(set) \(index)" }
    }

    /// Every variant that this machine runs: the definition first.
    private static func variants(_ precision: WeightPrecision) -> [Variant] {
        var list: [Variant] = []
        for set in InstructionSet.available {
            withUnsafeTemporaryAllocation(of: UnsafePointer<ck_narrow_kernels>?.self, capacity: 2) { found in
                found.initialize(repeating: nil)
                ck_narrow_variants(set.kernels.map { ck_isa_of(UnsafePointer($0)) } ?? 0, precision.code, found.baseAddress)
                for (index, kernels) in found.enumerated() { if let kernels { list.append(Variant(set: set, index: index, kernels: kernels)) } }
            }
        }
        return list
    }

    /// As LinearCase.run, with one variant.
    private func run(_ made: LinearCase, _ variant: Variant, threads: Int = 1) throws -> [Float] {
        let pool = ThreadPool(threads: threads, instructionSet: variant.set)
        let matrix = try PackedMatrix(inputs: made.inputs, outputs: made.outputs, precision: made.precision, instructionSet: variant.set)
        matrix.pack(made.weights, layout: made.layout, pool: pool)
        let prepared = AlignedFloats(made.precision.preparedFloats(rows: made.rows, inputs: made.inputs))
        var out = [Float](repeating: .nan, count: made.rows * made.outputs)
        made.x.withUnsafeBufferPointer { x in
            out.withUnsafeMutableBufferPointer { out in
                withOptionalPointer(made.bias) { bias in
                    withOptionalPointer(made.residual) { residual in
                        var arguments = ck_linear_args(
                            x: x.baseAddress, rows: made.rows, x_stride: made.inputs, panels: matrix.panels, inputs: made.inputs,
                            outputs: made.outputs, bias: bias, activation: made.activation.rawValue, residual: residual, out: out.baseAddress,
                            out_stride: made.outputs, accumulate: false, precision: made.precision.code, prepared: prepared.pointer)
                        ck_linear_with(pool.handle, variant.kernels, &arguments)
                    }
                }
            }
        }
        return out
    }

    @Test("every variant multiplies to the definition's bits", arguments: precisions, [false, true])
    func variantsAgree(precision: WeightPrecision, edges: Bool) throws {
        let variants = Self.variants(precision)
        print("\(precision) products tested: \(variants)")
        let seed: UInt64 = edges ? 61 : 60
        var numbers = Numbers(seed: seed)
        for index in 0..<60 {
            var made = LinearTests.randomCase(&numbers, edges: edges)
            (made.precision, made.start) = (precision, nil)
            if index % 5 == 0 { made.x.replaceSubrange(0..<made.inputs, with: repeatElement(0, count: made.inputs)) }
            // Exponents that put products and sums about 2⁻¹²⁶, where bfloat16 products flush denormals.
            if index % 3 == 0 { (made.x, made.weights) = (made.x.map { $0 * 0x1p-63 }, made.weights.map { $0 * 0x1p-63 }) }
            let expected = try run(made, variants[0])
            for variant in variants {
                let at = firstDifference(expected, try run(made, variant, threads: 1 + index % 3))
                #expect(at == nil, "seed \(seed), case \(index), \(variant), \(made.rows) x \(made.inputs) x \(made.outputs) at \(at ?? 0)")
            }
        }
    }

    @Test("a row's result is the same alone, in any batch and on any number of threads", arguments: precisions)
    func rowsAreIndependent(precision: WeightPrecision) throws {
        var numbers = Numbers(seed: 62)
        let (inputs, outputs) = (519, 300)
        var made = LinearCase(
            rows: 130, inputs: inputs, outputs: outputs, x: numbers.uniform(130 * inputs), weights: numbers.uniform(inputs * outputs),
            bias: numbers.uniform(outputs), activation: .geluNew, precision: precision)
        let x = made.x
        for set in InstructionSet.available {
            (made.rows, made.x) = (130, x)
            let together = try made.run(set, threads: 2)
            for rows in [1, 2, 3, 4, 5, 6, 7, 8, 13, 97, 129] {
                for first in [0, 130 - rows] {
                    (made.rows, made.x) = (rows, Array(x[first * inputs..<(first + rows) * inputs]))
                    let got = try made.run(set, threads: rows % 3 + 1)
                    let at = firstDifference(got, Array(together[first * outputs..<(first + rows) * outputs]))
                    #expect(at == nil, "\(set), \(rows) rows from \(first)")
                }
            }
        }
    }

    // MARK: int8, against its words in Swift

    /// Scale and whole numbers of a run, as reproducibility.md 3 says.
    private static func quantised(_ values: [Float]) -> (scale: Float, numbers: [Int]) {
        let largest = values.map(\.magnitude).max() ?? 0
        let scale = largest / 127 == 0 ? 1 : largest / 127
        return (scale, values.map { Int(max(-127, min(127, ($0 / scale).rounded(.toNearestOrEven)))) })
    }

    private static func int8Product(_ made: LinearCase) -> [Float] {
        var out: [Float] = []
        for row in 0..<made.rows {
            let x = quantised(Array(made.x[row * made.inputs..<(row + 1) * made.inputs]))
            for column in 0..<made.outputs {
                var sum: Float = 0
                for begin in stride(from: 0, to: made.inputs, by: 128) {
                    let group = begin..<min(begin + 128, made.inputs)
                    let w = quantised(group.map { made.weights[$0 * made.outputs + column] })
                    let dot = group.reduce(0) { $0 + x.numbers[$1] * w.numbers[$1 - begin] }
                    sum.addProduct(Float(dot), w.scale)
                }
                out.append(sum * x.scale)
            }
        }
        return out
    }

    @Test("int8 is what its definition says, written out in Swift")
    func int8Definition() throws {
        var numbers = Numbers(seed: 63)
        for inputs in [1, 2, 3, 4, 5, 127, 128, 129, 255, 256, 257, 385, 700] {
            var made = LinearCase(
                rows: 3, inputs: inputs, outputs: 21, x: numbers.edges(3 * inputs).map { abs($0) > 4 ? 3 : $0 },
                weights: numbers.uniform(inputs * 21), precision: .int8)
            // A row of zeros, and one so small that its scale is denormal or nothing.
            made.x.replaceSubrange(inputs..<2 * inputs, with: repeatElement(0, count: inputs))
            for k in 0..<inputs { made.x[2 * inputs + k] *= 0x1p-142 }
            for variant in Self.variants(.int8) {
                #expect(firstDifference(Self.int8Product(made), try run(made, variant)) == nil, "\(variant), \(inputs) inputs")
            }
        }
    }

    /// Signs of rows and weights such that sums of two, of four and of a group are as large as they can be, or cancel.
    @Test("sums at the ends of int8 are exact: nothing saturates", arguments: [1, 2, 3, 4, 8], [128, 3072])
    func extremes(period: Int, inputs: Int) throws {
        for sign in [Float(1), -1] {
            let made = LinearCase(
                rows: 9, inputs: inputs, outputs: 70, x: (0..<9 * inputs).map { ($0 % inputs) / period % 2 == 0 ? 1 : -1 },
                weights: (0..<inputs * 70).map { sign * (($0 / 70) / period % 2 == 0 ? 1 : -1) }, precision: .int8)
            // Each product is 127·127 times both scales, 1/127 each.
            let scale = Float(1) / 127
            var sum: Float = 0
            for _ in 0..<inputs / 128 { sum.addProduct(sign * 127 * 127 * 128, scale) }
            for variant in Self.variants(.int8) {
                #expect(try run(made, variant).allSatisfy { $0 == sum * scale }, "\(variant), period \(period), sign \(sign)")
            }
        }
    }

    @Test("a number that is not finite shows in its row or column, and nowhere else", arguments: precisions, [Float.nan, .infinity, -.infinity])
    func notFinite(precision: WeightPrecision, value: Float) throws {
        var numbers = Numbers(seed: 64)
        var made = LinearCase(
            rows: 5, inputs: 130, outputs: 40, x: numbers.uniform(5 * 130), weights: numbers.uniform(130 * 40), precision: precision)
        made.x[2 * 130 + 129] = value
        made.weights[7] = value
        for variant in Self.variants(precision) {
            let out = try run(made, variant)
            for index in out.indices {
                #expect(out[index].isFinite != (index / 40 == 2 || index % 40 == 7), "\(variant) at \(index)")
            }
        }
    }

    // MARK: bfloat16

    private static func rounded(_ x: Float) -> Float { Float(bitPattern: (x.bitPattern + 0x7fff + (x.bitPattern >> 16 & 1)) & 0xffff_0000) }

    @Test("bfloat16 weights make the bits of a training product with bfloat16 operands")
    func equalsTraining() throws {
        var numbers = Numbers(seed: 65)
        for inputs in [1, 2, 3, 31, 255, 256, 257, 513, 767] {
            let made = LinearCase(
                rows: 5, inputs: inputs, outputs: 33, x: numbers.edges(5 * inputs), weights: numbers.edges(inputs * 33), precision: .bfloat16)
            var expected = [Float](repeating: 0, count: 5 * 33)
            let pool = ThreadPool(threads: 1, instructionSet: .plain)
            let workspace = AlignedFloats(ck_bfloat16_product_floats(5, inputs))
            made.x.withUnsafeBufferPointer { x in
                made.weights.withUnsafeBufferPointer { weights in
                    expected.withUnsafeMutableBufferPointer { out in
                        var arguments = ck_product_args(
                            a: x.baseAddress, a_row: inputs, a_k: 1, b: weights.baseAddress, b_k: 33, b_column: 1, rows: 5, inputs: inputs,
                            columns: 33, bias: nil, residual: nil, out: out.baseAddress, out_stride: 33, accumulate: false)
                        ck_bfloat16_product(pool.handle, &arguments, workspace.pointer)
                    }
                }
            }
            for variant in Self.variants(.bfloat16) {
                #expect(firstDifference(expected, try run(made, variant)) == nil, "\(variant), \(inputs) inputs")
            }
        }
    }

    @Test("denormals are flushed as x86 judges them: 2⁻¹²⁶ − 2⁻¹⁵⁰ goes, 2⁻¹²⁶ − 2⁻¹⁵¹ stays")
    func denormals() throws {
        // Even and odd factors, and their sum, odd first.
        let pairs: [(x: [Float], w: [Float], sum: Float)] = [
            ([-0x1p-75, 0x1p-63], [0x1p-75, 0x1p-63], 0), ([-0x1p-76, 0x1p-63], [0x1p-75, 0x1p-63], 0x1p-126),
            ([0x1p-76, -0x1p-63], [0x1p-75, 0x1p-63], -0x1p-126), ([0x1p-127, 0], [0x1p100, 0], 0), ([1, 0x1p-100], [1, 0x1p-40], 1),
        ]
        for (x, w, sum) in pairs {
            let made = LinearCase(rows: 1, inputs: 2, outputs: 1, x: x, weights: w, precision: .bfloat16)
            for variant in Self.variants(.bfloat16) { #expect(try run(made, variant) == [sum], "\(variant)") }
            // Biases and residuals keep theirs.
            var biased = made
            (biased.bias, biased.residual) = ([0x1p-140], [0x1p-149])
            for variant in Self.variants(.bfloat16) { #expect(try run(biased, variant) == [sum + 0x1p-140 + 0x1p-149], "\(variant)") }
        }
    }

    // MARK: Columns

    @Test("a column read back is what its precision made of it", arguments: WeightPrecision.allCases)
    func columns(precision: WeightPrecision) throws {
        var numbers = Numbers(seed: 66)
        for (inputs, outputs) in [(1, 1), (131, 70), (256, 64), (300, 129)] {
            let weights = numbers.uniform(inputs * outputs)
            for set in InstructionSet.available {
                let matrix = try PackedMatrix(inputs: inputs, outputs: outputs, precision: precision, instructionSet: set)
                matrix.pack(weights, layout: .outputMajor, pool: ThreadPool(threads: 1, instructionSet: set))
                let kernels = UnsafePointer<ck_kernels>(try #require(set.kernels))
                for column in [0, outputs / 2, outputs - 1] {
                    var found = [Float](repeating: .nan, count: inputs)
                    ck_read_column(kernels, precision.code, matrix.panels, inputs, outputs, column, &found)
                    let stored = Array(weights[column * inputs..<(column + 1) * inputs])
                    let expected: [Float] =
                        switch precision {
                        case .float32: stored
                        case .bfloat16: stored.map(Self.rounded)
                        case .int8:
                            stride(from: 0, to: inputs, by: 128).flatMap { begin in
                                let group = Self.quantised(Array(stored[begin..<min(begin + 128, inputs)]))
                                return group.numbers.map { Float($0) * group.scale }
                            }
                        }
                    #expect(firstDifference(expected, found) == nil, "\(set), column \(column) of \(inputs) x \(outputs)")
                }
            }
        }
    }

    @Test("narrow keys and values are the wide ones of numbers rounded before", arguments: [(1, 16, 5), (3, 40, 300), (2, 20, 130)])
    func narrowAttention(heads: Int, width: Int, count: Int) {
        var numbers = Numbers(seed: 67)
        for window in [0, 33] {
            let made = AttentionCase(count: count, heads: heads, headWidth: width, window: window, numbers: &numbers)
            var before = made
            (before.keys, before.values) = (made.keys.map(Self.rounded), made.values.map(Self.rounded))
            let expected = before.run(.plain, chunk: count)
            for set in InstructionSet.available {
                for chunk in [1, 7, 64, count] {
                    #expect(firstDifference(expected, made.run(set, threads: 2, chunk: chunk, isNarrow: true)) == nil, "\(set), chunks of \(chunk)")
                }
            }
        }
    }
}
