import CKernels

/// Backward passes over rows; sums over rows in blocks of 256 from row 0 (reproducibility.md 12).
package enum RowGradients {
    /// dx [+]= LayerNorm's gradient; gain and bias gradients [+]= their sums over rows. dx may be dy.
    package static func layerNorm(
        x: UnsafePointer<Float>, dy: UnsafePointer<Float>, rows: Int, width: Int, xStride: Int, dyStride: Int, mean: UnsafePointer<Float>,
        rstd: UnsafePointer<Float>, gain: UnsafePointer<Float>, dx: UnsafeMutablePointer<Float>, dxStride: Int, accumulateDX: Bool,
        gainGradient: UnsafeMutablePointer<Float>?, biasGradient: UnsafeMutablePointer<Float>?, accumulateParameters: Bool, pool: ThreadPool
    ) {
        var arguments = ck_layer_norm_backward_args(
            x: x, dy: dy, rows: rows, width: width, x_stride: xStride, dy_stride: dyStride, mean: mean, rstd: rstd, gain: gain, dx: dx,
            dx_stride: dxStride, accumulate_dx: accumulateDX, gain_gradient: gainGradient, bias_gradient: biasGradient,
            accumulate_parameters: accumulateParameters)
        ck_layer_norm_backward(pool.handle, &arguments)
    }

    /// dx[i] = dy[i]·f′(x[i]), x the activation's input. dx may be dy.
    package static func activation(
        _ activation: Activation, x: UnsafePointer<Float>, dy: UnsafePointer<Float>, dx: UnsafeMutablePointer<Float>, count: Int, pool: ThreadPool
    ) {
        ck_activation_backward(pool.handle, activation.rawValue, x, dy, dx, count)
    }

    /// out[n] [+]= Σ over rows of dy[r][n]: a bias's gradient.
    package static func columnSums(
        _ dy: UnsafePointer<Float>, rows: Int, columns: Int, stride: Int, out: UnsafeMutablePointer<Float>, accumulate: Bool, pool: ThreadPool
    ) {
        ck_column_sums(pool.handle, dy, rows, columns, stride, out, accumulate)
    }

    /// Softmax cross-entropy: a loss a row, logits replaced by their gradient times `scale` (unless `gradient` is false).
    /// A negative label gives loss 0 and a gradient of zeros.
    package static func crossEntropy(
        logits: UnsafeMutablePointer<Float>, rows: Int, vocabulary: Int, stride: Int, labels: UnsafePointer<Int32>, scale: Float,
        losses: UnsafeMutablePointer<Float>, gradient: Bool = true, pool: ThreadPool
    ) {
        var arguments = ck_cross_entropy_args(
            logits: logits, rows: rows, vocabulary: vocabulary, stride: stride, labels: labels, scale: scale, losses: losses, gradient: gradient)
        ck_cross_entropy(pool.handle, &arguments)
    }

    /// gradient[ids[r]] += dy[r], rows of one id chained in order within blocks of 256 rows.
    package static func embedding(
        dy: UnsafePointer<Float>, rows: Int, width: Int, stride: Int, ids: UnsafePointer<Int32>, gradient: UnsafeMutablePointer<Float>,
        pool: ThreadPool
    ) {
        ck_embedding_gradient(pool.handle, dy, rows, width, stride, ids, gradient)
    }

    /// Inverted dropout in place; the same call on the gradient is its backward pass.
    package static func dropout(
        _ x: UnsafeMutablePointer<Float>, rows: Int, width: Int, stride: Int, rate: Double, seed: UInt64, step: UInt32, firstRow: UInt32,
        site: UInt32, pool: ThreadPool
    ) {
        var arguments = ck_dropout_args(
            x: x, rows: rows, width: width, stride: stride, rate: rate, seed: seed, step: step, first_row: firstRow, site: site)
        ck_dropout(pool.handle, &arguments)
    }
}
