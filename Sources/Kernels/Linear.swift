import CKernels

/// Activation functions, by the names that configurations use.
package enum Activation: Int32, Sendable, CaseIterable {
    case linear = 0
    case geluNew = 1
    case gelu = 2
    case relu = 3
    case silu = 4
    case quickGelu = 5
    case tanh = 6
}

/// Products of rows with a packed matrix.
package enum Linear {
    /// out[r][n] = residual[r][n] + activation(Σₖ x[r][k]·W[k][n] + bias[n]), in the fixed order of reproducibility.md 1:
    /// neither the number of rows nor threads nor the instruction set changes a bit. Narrow weights: points 2 and 3 there.
    /// - Parameters:
    ///   - prepared: memory of `WeightPrecision.preparedFloats`, 64-byte aligned, where the weights are narrow.
    ///   - residual: added last; rows lie `outStride` apart; may be `out` itself.
    ///   - accumulate: block sums continue from what `out` holds instead of +0; float32 only.
    package static func apply(
        x: UnsafePointer<Float>, rows: Int, xStride: Int, weights: PackedMatrix, bias: UnsafePointer<Float>? = nil,
        activation: Activation = .linear, residual: UnsafePointer<Float>? = nil, out: UnsafeMutablePointer<Float>, outStride: Int,
        accumulate: Bool = false, prepared: UnsafeMutablePointer<Float>? = nil, pool: ThreadPool
    ) {
        precondition(pool.instructionSet == weights.instructionSet, "a packed matrix belongs to one instruction set")
        precondition(weights.precision == .float32 || (prepared != nil && !accumulate), "narrow weights need memory and start from zero")
        var arguments = ck_linear_args(
            x: x, rows: rows, x_stride: xStride, panels: weights.panels, inputs: weights.inputs, outputs: weights.outputs, bias: bias,
            activation: activation.rawValue, residual: residual, out: out, out_stride: outStride, accumulate: accumulate,
            precision: weights.precision.code, prepared: prepared)
        ck_linear(pool.handle, &arguments)
    }
}

/// Transposition on all threads, for the training products dW = Xᵀ·dY.
package enum Transpose {
    /// out[c][r] = x[r][c].
    package static func apply(
        _ x: UnsafePointer<Float>, rows: Int, columns: Int, xStride: Int, out: UnsafeMutablePointer<Float>, outStride: Int, pool: ThreadPool
    ) {
        ck_transpose(pool.handle, x, rows, columns, xStride, out, outStride)
    }
}
