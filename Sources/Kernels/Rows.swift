import CKernels

/// Operations on single rows: 16 virtual lanes and one fixed tree (reproducibility.md 5).
package enum Rows {
    /// out = (x − mean)·rstd·gain + bias, population variance in two passes, ε inside the root.
    /// `meanOut` and `rstdOut` (one a row) are kept for a backward pass.
    package static func layerNorm(
        x: UnsafePointer<Float>, rows: Int, width: Int, xStride: Int, gain: UnsafePointer<Float>, bias: UnsafePointer<Float>, epsilon: Float,
        out: UnsafeMutablePointer<Float>, outStride: Int, meanOut: UnsafeMutablePointer<Float>? = nil,
        rstdOut: UnsafeMutablePointer<Float>? = nil, pool: ThreadPool
    ) {
        var arguments = ck_layer_norm_args(
            x: x, rows: rows, width: width, x_stride: xStride, gain: gain, bias: bias, epsilon: epsilon, out: out, out_stride: outStride,
            mean: meanOut, rstd: rstdOut)
        ck_layer_norm(pool.handle, &arguments)
    }

    /// out[r] = tokens[ids[r]] + positions[places[r]]. Ids and places are in range: the caller checked them.
    package static func embedding(
        tokens: UnsafePointer<Float>, ids: UnsafePointer<Int32>, positions: UnsafePointer<Float>?, places: UnsafePointer<Int32>?, rows: Int,
        width: Int, out: UnsafeMutablePointer<Float>, outStride: Int, pool: ThreadPool
    ) {
        var arguments = ck_embedding_args(
            tokens: tokens, positions: positions, ids: ids, places: places, rows: rows, width: width, out: out, out_stride: outStride)
        ck_embedding(pool.handle, &arguments)
    }

    /// a[i] += b[i].
    package static func add(_ a: UnsafeMutablePointer<Float>, _ b: UnsafePointer<Float>, count: Int, pool: ThreadPool) {
        ck_add(pool.handle, a, b, count)
    }

    /// out[i] = activation(x[i]); out may be x.
    package static func activate(
        _ activation: Activation, _ x: UnsafePointer<Float>, out: UnsafeMutablePointer<Float>, count: Int, pool: ThreadPool
    ) {
        ck_map(pool.handle, activation.rawValue, x, out, count)
    }

    /// Largest element (NaN never wins); −inf of an empty row.
    package static func maximum(_ x: UnsafePointer<Float>, count: Int) -> Float { ck_maximum(x, count) }

    /// Index of the largest element, the lowest on ties.
    package static func argmax(_ x: UnsafePointer<Float>, count: Int) -> Int { ck_argmax(x, count) }

    /// Whether any element is NaN.
    package static func hasNaN(_ x: UnsafePointer<Float>, count: Int) -> Bool { ck_has_nan(x, count) }

    /// log Σ exp(x).
    package static func logSumExp(_ x: UnsafePointer<Float>, count: Int) -> Float { ck_log_sum_exp(x, count) }
}
