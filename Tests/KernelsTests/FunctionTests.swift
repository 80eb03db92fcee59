import CKernels
import Foundation
import Kernels
import TestSupport
import Testing

@Suite struct FunctionTests {
    /// Distance of `got` from `exact` in units of the last place of a float of that size.
    static func ulps(_ got: Float, _ exact: Double) -> Double {
        let unit = Double(Float(exact).magnitude.ulp)
        return abs(Double(got) - exact) / unit
    }

    @Test("exp, log, log1p, tanh and erf are within 1.5 units of the last place")
    func accuracy() {
        // Every 1009th float.
        var worst = [Double](repeating: 0, count: 5)
        for bits in stride(from: UInt32(0), to: .max - 2000, by: 1009) {
            let x = Float(bitPattern: bits)
            guard x.isFinite else { continue }
            let wide = Double(x)
            let pairs: [(Float, Double)] = [
                (Functions.exp(x), x < -87.3 ? 0 : exp(wide)), (Functions.log(x), log(wide)), (Functions.log1p(x), log1p(wide)),
                (Functions.tanh(x), tanh(wide)), (Functions.erf(x), erf(wide)),
            ]
            for (index, (got, exact)) in pairs.enumerated() where abs(exact) > 0x1p-126 && abs(exact) < 0x1.fffffep127 {
                worst[index] = max(worst[index], Self.ulps(got, exact))
            }
        }
        #expect(worst.allSatisfy { $0 < 1.5 }, "\(worst)")
    }

    @Test("functions at their edges")
    func edges() {
        let infinity = Float.infinity
        #expect(
            Functions.exp(-infinity) == 0 && Functions.exp(infinity) == infinity && Functions.exp(Float.nan).isNaN && Functions.exp(Float(0)) == 1)
        #expect(
            Functions.log(Float(0)) == -infinity && Functions.log(Float(-1)).isNaN && Functions.log(infinity) == infinity
                && Functions.log(Float(1)) == 0)
        #expect(Functions.log1p(-1) == -infinity && Functions.log1p(-2).isNaN && Functions.log1p(0) == 0)
        #expect(Functions.tanh(infinity) == 1 && Functions.tanh(-infinity) == -1 && Functions.tanh(-0.0).sign == .minus)
        #expect(Functions.erf(infinity) == 1 && Functions.erf(-infinity) == -1 && Functions.erf(5) == 1)
        #expect(Functions.log(Float.leastNonzeroMagnitude) < -103)
    }

    @Test("functions give equal bits on every variant, one float in 257 and the committed hash")
    func variantsAgree() {
        let functions = [
            CK_GELU_NEW, CK_GELU, CK_RELU, CK_SILU, CK_QUICK_GELU, CK_TANH, CK_EXP, CK_LOG, CK_LOG1P, CK_ERF,
        ]
        let x = stride(from: UInt32(0), to: .max - 300, by: 257).map { Float(bitPattern: $0) }
        var out = x
        for function in functions {
            var hashes: [UInt64] = []
            for set in InstructionSet.available {
                let pool = ThreadPool(threads: 2, instructionSet: set)
                ck_map(pool.handle, Int32(function), x, &out, x.count)
                hashes.append(bitsHash(out))
            }
            #expect(Set(hashes).count == 1, "function \(Int(function))")
            Golden.expect(hashes[0], "function \(Int(function))")
        }
    }

    @Test("double exp, log, sin and cos are within 1.5 units of the last place")
    func doubles() {
        var generator = SeededGenerator(seed: 40)
        for _ in 0..<100_000 {
            let x = Double.random(in: -700...700, using: &generator)
            let angle = Double.random(in: -10...10, using: &generator)
            #expect(abs(Functions.exp(x) - exp(x)) <= 1.5 * exp(x).ulp)
            let positive = exp(x / 10)
            #expect(abs(Functions.log(positive) - log(positive)) <= 1.5 * log(positive).magnitude.ulp)
            #expect(abs(Functions.sin(angle) - sin(angle)) <= max(1.5 * sin(angle).magnitude.ulp, 1e-19))
            #expect(abs(Functions.cos(angle) - cos(angle)) <= max(1.5 * cos(angle).magnitude.ulp, 1e-19))
        }
    }
}
