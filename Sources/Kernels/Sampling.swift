import CKernels

/// Kernels of the sampler on one row (reproducibility.md 8 – 10). They run on the calling thread.
package enum Sampling {
    /// Where a draw stands: seed, tokens before it in the whole text, sample, redraw.
    package struct Draw: Sendable {
        var key: ck_race_key

        package init(seed: UInt64, position: Int, sample: Int, draw: Int = 0, purpose: Philox.Purpose = .sampling) {
            key = ck_race_key(
                seed: seed, position: UInt32(truncatingIfNeeded: position), sample: UInt32(truncatingIfNeeded: sample),
                purpose_and_draw: Philox.word(purpose, draw: UInt32(truncatingIfNeeded: draw)))
        }
    }

    /// z /= divisor (skipped for 1); returns the maximum.
    package static func divide(_ z: UnsafeMutablePointer<Float>, count: Int, by divisor: Float) -> Float {
        ck_divide_maximum(z, count, divisor)
    }

    /// p = exp(z − maximum), unnormalised; returns the 16-lane sum. p may be z.
    @discardableResult
    package static func exponentials(_ z: UnsafePointer<Float>, count: Int, maximum: Float, into p: UnsafeMutablePointer<Float>) -> Float {
        ck_exponentials(z, count, maximum, p)
    }

    /// Exponential race over ids 0 ..< count; nil where every p is 0.
    package static func race(_ draw: Draw, weights p: UnsafePointer<Float>, count: Int) -> Int32? {
        var key = draw.key
        let id = ck_race(&key, p, count)
        return id < 0 ? nil : id
    }

    /// Exponential race over listed candidates, p[i] of ids[i]; nil where every p is 0.
    package static func race(_ draw: Draw, ids: UnsafePointer<Int32>, weights p: UnsafePointer<Float>, count: Int) -> Int32? {
        var key = draw.key
        let id = ck_race_candidates(&key, ids, p, count)
        return id < 0 ? nil : id
    }

    /// w = ⌊p·2⁴⁰⌋ (w may be nil); returns Σw.
    @discardableResult
    package static func fixedWeights(_ p: UnsafePointer<Float>, count: Int, into w: UnsafeMutablePointer<UInt64>? = nil) -> UInt64 {
        ck_fixed_weights(p, count, w)
    }

    /// The k-th largest score; all ties with it survive top_k.
    package static func kthLargest(_ z: UnsafePointer<Float>, count: Int, k: Int) -> Float { ck_kth_largest(z, count, max(1, k)) }

    /// top_p in place: dropped scores become −inf; `p` holds exp(z − maximum). Returns how many stay.
    @discardableResult
    package static func topP(
        _ z: UnsafeMutablePointer<Float>, weights p: UnsafePointer<Float>, count: Int, maximum: Float, topP: Double
    ) -> Int {
        ck_top_p(z, p, count, maximum, topP)
    }
}
