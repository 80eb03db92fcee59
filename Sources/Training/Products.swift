import CKernels
import Kernels
import LanguageModels

/// The three products of a projection Y = X·W: forward, dX = dY·Wᵀ and dW = Xᵀ·dY, all through one packed kernel.
///
/// R = rows (sequence, then position), K = inputs, N = outputs. Weights are packed right before each product: they change every
/// step, and a fresh packing is still in the cache when it is used.
struct Products {
    let pool: OpaquePointer
    /// Room for the panels of the largest weight but the head's.
    let panels: UnsafeMutablePointer<Float>
    /// Room for R × the widest row, packed, and the same transposed.
    let rowPanels: UnsafeMutablePointer<Float>
    let transposed: UnsafeMutablePointer<Float>

    /// Packs a weight so that rows are multiplied by it (`forward`) or by its transpose.
    func pack(
        _ weight: UnsafePointer<Float>, inputs: Int, outputs: Int, layout: PackedMatrix.Layout, transpose: Bool,
        into panels: UnsafeMutablePointer<Float>
    ) {
        let rowMajor = (layout == .inputMajor) != transpose
        let (from, to) = transpose ? (outputs, inputs) : (inputs, outputs)
        var arguments = ck_pack_args(
            source: weight, k_stride: rowMajor ? to : 1, n_stride: rowMajor ? 1 : from, inputs: from, outputs: to, panels: panels)
        ck_pack(pool, &arguments)
    }

    /// out = [out +] x · panels [+ bias] [+ residual]
    func multiply(
        _ x: UnsafePointer<Float>, rows: Int, stride: Int, panels: UnsafePointer<Float>, inputs: Int, outputs: Int, bias: UnsafePointer<Float>? = nil,
        residual: UnsafePointer<Float>? = nil, out: UnsafeMutablePointer<Float>, outStride: Int, accumulate: Bool = false
    ) {
        var arguments = ck_linear_args(
            x: x, rows: rows, x_stride: stride, panels: panels, inputs: inputs, outputs: outputs, bias: bias, activation: 0, residual: residual,
            out: out, out_stride: outStride, accumulate: accumulate)
        ck_linear(pool, &arguments)
    }

    /// out[R][N] = x · W + bias [+ residual], tensor by tensor along the outputs.
    func forward(
        _ projection: ProjectionLayout, _ store: ParameterStore, x: UnsafePointer<Float>, rows: Int, residual: UnsafePointer<Float>? = nil,
        out: UnsafeMutablePointer<Float>
    ) {
        var column = 0
        for (index, weight) in projection.weights.enumerated() {
            let outputs = projection.outputs(of: weight)
            pack(store.weight(weight), inputs: projection.inputs, outputs: outputs, layout: projection.layout, transpose: false, into: panels)
            multiply(
                x, rows: rows, stride: projection.inputs, panels: panels, inputs: projection.inputs, outputs: outputs,
                bias: projection.biases.isEmpty ? nil : UnsafePointer(store.weight(projection.biases[index])), residual: residual.map { $0 + column },
                out: out + column, outStride: projection.outputs)
            column += outputs
        }
    }

    /// dx[R][K] = dy · Wᵀ; several tensors add up in their order.
    func inputGradient(
        _ projection: ProjectionLayout, _ store: ParameterStore, dy: UnsafePointer<Float>, rows: Int, dx: UnsafeMutablePointer<Float>
    ) {
        var column = 0
        for weight in projection.weights {
            let outputs = projection.outputs(of: weight)
            pack(store.weight(weight), inputs: projection.inputs, outputs: outputs, layout: projection.layout, transpose: true, into: panels)
            multiply(
                dy + column, rows: rows, stride: projection.outputs, panels: panels, inputs: outputs, outputs: projection.inputs, out: dx,
                outStride: projection.inputs, accumulate: column > 0)
            column += outputs
        }
    }

    /// dW = xᵀ · dy and db = Σ dy, into the gradients (`accumulate`: onto them). Frozen tensors are passed over.
    func weightGradient(
        _ projection: ProjectionLayout, _ store: ParameterStore, x: UnsafePointer<Float>, dy: UnsafePointer<Float>, rows: Int, accumulate: Bool
    ) {
        var column = 0
        for (index, weight) in projection.weights.enumerated() {
            let outputs = projection.outputs(of: weight)
            if let gradient = store.gradient(weight) {
                outer(
                    left: projection.layout == .inputMajor ? x : dy + column,
                    leftColumns: projection.layout == .inputMajor ? projection.inputs : outputs,
                    leftStride: projection.layout == .inputMajor ? projection.inputs : projection.outputs,
                    right: projection.layout == .inputMajor ? dy + column : x,
                    rightColumns: projection.layout == .inputMajor ? outputs : projection.inputs,
                    rightStride: projection.layout == .inputMajor ? projection.outputs : projection.inputs, rows: rows, out: gradient,
                    accumulate: accumulate)
            }
            if !projection.biases.isEmpty, let gradient = store.gradient(projection.biases[index]) {
                ck_column_sums(pool, dy + column, rows, outputs, projection.outputs, gradient, accumulate)
            }
            column += outputs
        }
    }

    /// out[leftColumns][rightColumns] = [out +] leftᵀ · right over R rows, in blocks of 256 rows from the first.
    func outer(
        left: UnsafePointer<Float>, leftColumns: Int, leftStride: Int, right: UnsafePointer<Float>, rightColumns: Int, rightStride: Int, rows: Int,
        out: UnsafeMutablePointer<Float>, accumulate: Bool
    ) {
        ck_transpose(pool, left, rows, leftColumns, leftStride, transposed, rows)
        var arguments = ck_pack_args(source: right, k_stride: rightStride, n_stride: 1, inputs: rows, outputs: rightColumns, panels: rowPanels)
        ck_pack(pool, &arguments)
        multiply(
            transposed, rows: leftColumns, stride: rows, panels: rowPanels, inputs: rows, outputs: rightColumns, out: out, outStride: rightColumns,
            accumulate: accumulate)
    }
}

extension ProjectionLayout {
    /// The columns that one of the joined weights gives.
    func outputs(of weight: TensorSpecification) -> Int { layout == .inputMajor ? weight.shape[1] : weight.shape[0] }
}
