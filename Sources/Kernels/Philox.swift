import CKernels

/// Counter-based random numbers, Philox4x32-10 (Salmon et al., SC 2011): no state, so order, batches and retries cannot
/// change a draw.
package struct Philox: Sendable {
    /// What a stream is for: the low four bits of counter word 3.
    package enum Purpose: UInt32, Sendable {
        case sampling = 0
        case initialisation = 1
        case blockOrder = 2
        case dropout = 3
        case other = 4
    }

    /// One block of four words under the key `seed` (its low word first).
    package static func block(seed: UInt64, counter: SIMD4<UInt32>) -> SIMD4<UInt32> {
        var input = (counter.x, counter.y, counter.z, counter.w)
        var output: (UInt32, UInt32, UInt32, UInt32) = (0, 0, 0, 0)
        withUnsafeBytes(of: &input) { input in
            withUnsafeMutableBytes(of: &output) { output in
                if let from = input.assumingMemoryBound(to: UInt32.self).baseAddress,
                    let to = output.assumingMemoryBound(to: UInt32.self).baseAddress
                {
                    ck_philox(seed, from, to)
                }
            }
        }
        return SIMD4(output.0, output.1, output.2, output.3)
    }

    /// Counter word 3 of sampling: purpose in the low 4 bits, the redraw's number (0 … 4095) above.
    package static func word(_ purpose: Purpose, draw: UInt32) -> UInt32 { purpose.rawValue | (draw & 0xfff) << 4 }

    /// fp32((x + ½)·2⁻³²), at most 1 − 2⁻²⁴.
    package static func uniform(_ x: UInt32) -> Float { ck_uniform(x) }

    /// Normal numbers of mean 0 for initial weights: element `first + i` of stream `stream` by Box–Muller in double.
    package static func fillNormal(
        seed: UInt64, stream: UInt32, purpose: Purpose = .initialisation, first: UInt64 = 0, deviation: Double,
        into out: UnsafeMutablePointer<Float>, count: Int
    ) {
        ck_normal(seed, stream, purpose.rawValue, first, deviation, out, count)
    }
}
