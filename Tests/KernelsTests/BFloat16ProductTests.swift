import CKernels
import Kernels
import TestSupport
import Testing

@Suite("Products with bfloat16 operands")
struct BFloat16ProductTests {
    /// Every variant that this machine runs, with its name: the definition first.
    private static var variants: [(name: String, kernels: UnsafePointer<ck_bfloat16_kernels>)] {
        var list: [(String, UnsafePointer<ck_bfloat16_kernels>)] = []
        for set in InstructionSet.available {
            withUnsafeTemporaryAllocation(of: UnsafePointer<ck_bfloat16_kernels>?.self, capacity: 2) { found in
                found.initialize(repeating: nil)
                ck_bfloat16_variants(set.kernels.map { ck_isa_of(UnsafePointer($0)) } ?? 0, found.baseAddress)
                for (index, variant) in found.enumerated() { if let variant { list.append(("\(set) \(index)", variant)) } }
            }
        }
        return list
    }

    private func run(_ problem: ProductProblem, _ kernels: UnsafePointer<ck_bfloat16_kernels>, threads: Int, values: (Float) -> Float = { $0 })
        -> [UInt32]
    {
        withWorkspace(problem.rows, problem.inputs) { workspace in
            problem.run(.plain, threads: threads, values: values) { ck_bfloat16_product_with($0.handle, kernels, &$1, workspace) }
        }
    }

    private func withWorkspace<Result>(_ rows: Int, _ inputs: Int, _ body: (UnsafeMutablePointer<Float>) -> Result) -> Result {
        let bytes = ck_bfloat16_product_floats(rows, inputs) * MemoryLayout<Float>.stride
        let memory = UnsafeMutableRawPointer.allocate(byteCount: bytes, alignment: 64)
        defer { memory.deallocate() }
        return body(memory.bindMemory(to: Float.self, capacity: bytes / 4))
    }

    @Test("every variant and thread count gives the definition's bits and touches nothing beyond")
    func equalsDefinition() throws {
        print("bfloat16 products tested: \(Self.variants.map(\.name))")
        let definition = try #require(Self.variants.first)
        // Ordinary values, and exponents that put products and sums about 2⁻¹²⁶, where denormals are flushed.
        let scalings: [(Float) -> Float] = [{ $0 }, { $0 * 0x1p-63 }, { abs($0) < 0.2 ? $0 * 0x1p-122 : $0 * 0x1p-66 }]
        for seed in 0..<48 as Range<UInt64> {
            var generator = SeededGenerator(seed: seed)
            let problem = ProductProblem(using: &generator)
            let scaling = scalings[Int(seed) % 3]
            let expected = run(problem, definition.kernels, threads: 1, values: scaling)
            for (name, kernels) in Self.variants {
                for threads in [1, 2] {
                    #expect(run(problem, kernels, threads: threads, values: scaling) == expected, "seed \(seed), \(name), \(threads) threads")
                }
            }
        }
    }

    @Test("rounding the factors first changes nothing, and the result is near the fp32 product")
    func rounding() throws {
        var generator = SeededGenerator(seed: 7)
        var problem = ProductProblem(using: &generator)
        (problem.hasBias, problem.hasResidual, problem.accumulates) = (false, false, false)
        func rounded(_ x: Float) -> Float {
            let bits = x.bitPattern
            return Float(bitPattern: (bits + 0x7fff + (bits >> 16 & 1)) & 0xffff_0000)
        }
        let definition = try #require(Self.variants.first)
        let got = run(problem, definition.kernels, threads: 1)
        #expect(run(problem, definition.kernels, threads: 1, values: rounded) == got)
        let wide = problem.run(.plain, threads: 1)
        for (a, b) in zip(got, wide) {
            #expect(abs(Float(bitPattern: a) - Float(bitPattern: b)) <= 0.01 * Float(problem.inputs).squareRoot())
        }
    }

    /// a₁·b₁ then a₀·b₀ onto it: one output of two inputs.
    private static let pairs: [(even: (Float, Float), odd: (Float, Float), sum: Float)] = [
        // 2⁻¹²⁶ − 2⁻¹⁵⁰ is below 2⁻¹²⁶ after rounding, hence zero; half of that step is a tie and rounds up to it.
        ((-0x1p-75, 0x1p-75), (0x1p-63, 0x1p-63), 0), ((0x1p-75, 0x1p-75), (-0x1p-63, 0x1p-63), -0.0),
        ((-0x1p-76, 0x1p-75), (0x1p-63, 0x1p-63), 0x1p-126), ((0x1p-76, 0x1p-75), (-0x1p-63, 0x1p-63), -0x1p-126),
        ((-0x1p-126, 0x1p-126), (0x1p-63, 0x1p-63), 0x1p-126),
        // Denormal operands count as zeros, a denormal first sum as well.
        ((0x1p-127, 0x1p100), (0, 0), 0), ((1, 1), (0x1p-100, 0x1p-40), 1), ((0x1p-126, 1), (0x1p-64, 0x1p-63), 0x1p-126),
        // The odd element first: 1 + 2⁻²⁴ is a tie that rounds to 1.
        ((1, 1), (0x1p-12, 0x1p-12), 1), ((0x1p-13, 0x1p-12), (1, 1), 1), ((0x1p-12, 0x1p-11), (1, 1), 1 + 0x1p-23),
    ]

    @Test("a pair is added odd element first, denormals flushed as x86 judges them", arguments: 0..<pairs.count)
    func pair(index: Int) {
        let (even, odd, sum) = Self.pairs[index]
        for (name, kernels) in Self.variants {
            var out: Float = 5
            let pool = ThreadPool(threads: 1, instructionSet: .plain)
            withWorkspace(1, 2) { workspace in
                [even.0, odd.0].withUnsafeBufferPointer { a in
                    [even.1, odd.1].withUnsafeBufferPointer { b in
                        withUnsafeMutablePointer(to: &out) { out in
                            var arguments = ck_product_args(
                                a: a.baseAddress, a_row: 2, a_k: 1, b: b.baseAddress, b_k: 1, b_column: 1, rows: 1, inputs: 2, columns: 1, bias: nil,
                                residual: nil, out: out, out_stride: 1, accumulate: false)
                            ck_bfloat16_product_with(pool.handle, kernels, &arguments, workspace)
                        }
                    }
                }
            }
            // A block's sum is added to +0, so a zero comes out positive.
            #expect(out.bitPattern == (0 + sum).bitPattern, "\(name): \(out) instead of \(sum)")
        }
    }

    @Test("products keep their bits")
    func golden() {
        var generator = SeededGenerator(seed: 4711)
        let problem = ProductProblem(using: &generator)
        for (_, kernels) in Self.variants {
            Golden.expect(bitsHash(run(problem, kernels, threads: 2).map { Float(bitPattern: $0) }), "bfloat16 product")
        }
    }
}
