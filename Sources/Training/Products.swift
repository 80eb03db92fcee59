import CKernels
import Kernels
import LanguageModels

/// The three products of a projection Y = X·W: forward, dX = dY·Wᵀ and dW = Xᵀ·dY, all through one kernel that takes either
/// factor transposed.
///
/// R = rows (sequence, then position), K = inputs, N = outputs. With bfloat16 the factors are rounded before they meet and the
/// sums stay fp32; where an adapter stands beside a weight, its products join in.
struct Products {
    let pool: OpaquePointer
    /// Room for a left factor, rounded; nil: fp32.
    let rounded: UnsafeMutablePointer<Float>?
    let adapters: AdapterProducts?

    init(pool: OpaquePointer, rounded: UnsafeMutablePointer<Float>?, adapters: AdapterProducts?) {
        self.pool = pool
        self.rounded = rounded
        self.adapters = adapters
    }

    /// A matrix as the kernel walks it: element (i, j) at base[i·row + j·column].
    struct Factor {
        let base: UnsafePointer<Float>
        let row: Int
        let column: Int

        /// Rows of `stride` floats.
        init(_ base: UnsafePointer<Float>, stride: Int) { (self.base, row, column) = (base, stride, 1) }

        private init(_ base: UnsafePointer<Float>, _ row: Int, _ column: Int) { (self.base, self.row, self.column) = (base, row, column) }

        /// The same memory with rows and columns exchanged.
        var transposed: Factor { Factor(base, column, row) }
    }

    /// out[rows][columns] = [out +] left · right [+ bias] [+ residual], `right` having `inputs` rows.
    func multiply(
        _ left: Factor, _ right: Factor, rows: Int, inputs: Int, columns: Int, bias: UnsafePointer<Float>? = nil,
        residual: UnsafePointer<Float>? = nil, out: UnsafeMutablePointer<Float>, outStride: Int, accumulate: Bool = false
    ) {
        var arguments = ck_product_args(
            a: left.base, a_row: left.row, a_k: left.column, b: right.base, b_k: right.row, b_column: right.column, rows: rows, inputs: inputs,
            columns: columns, bias: bias, residual: residual, out: out, out_stride: outStride, accumulate: accumulate)
        if let rounded {
            ck_bfloat16_product(pool, &arguments, rounded)
        } else {
            ck_product(pool, &arguments)
        }
    }

    /// out[R][N] = x · W + bias [+ residual], tensor by tensor along the outputs.
    func forward(
        _ projection: ProjectionLayout, _ store: ParameterStore, x: UnsafePointer<Float>, rows: Int, residual: UnsafePointer<Float>? = nil,
        out: UnsafeMutablePointer<Float>
    ) {
        var column = 0
        for (index, weight) in projection.weights.enumerated() {
            let outputs = projection.outputs(of: weight)
            let adapter = adapters?.adapter(of: weight)
            multiply(
                Factor(x, stride: projection.inputs), projection.factor(weight, store), rows: rows, inputs: projection.inputs, columns: outputs,
                bias: projection.biases.isEmpty ? nil : UnsafePointer(store.weight(projection.biases[index])),
                residual: adapter == nil ? residual.map { $0 + column } : nil, out: out + column, outStride: projection.outputs)
            if let adapter {
                adapters?.addForward(
                    adapter, self, store, x: x, rows: rows, residual: residual.map { $0 + column }, out: out + column, outStride: projection.outputs)
            }
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
            multiply(
                Factor(dy + column, stride: projection.outputs), projection.factor(weight, store).transposed, rows: rows, inputs: outputs,
                columns: projection.inputs, out: dx, outStride: projection.inputs, accumulate: column > 0)
            if let adapter = adapters?.adapter(of: weight) {
                adapters?.addInputGradient(adapter, self, store, dy: dy + column, dyStride: projection.outputs, rows: rows, dx: dx)
            }
            column += outputs
        }
    }

    /// dW = xᵀ · dy and db = Σ dy, into the gradients (`accumulate`: onto them). Frozen tensors are passed over.
    ///
    /// R is summed in blocks of 256 rows from the first.
    func weightGradient(
        _ projection: ProjectionLayout, _ store: ParameterStore, x: UnsafePointer<Float>, dy: UnsafePointer<Float>, rows: Int, accumulate: Bool
    ) {
        var column = 0
        for (index, weight) in projection.weights.enumerated() {
            let (inputs, outputs) = (projection.inputs, projection.outputs(of: weight))
            if let gradient = store.gradient(weight) {
                let (left, right) = (Factor(x, stride: inputs), Factor(dy + column, stride: projection.outputs))
                if projection.layout == .inputMajor {
                    multiply(
                        left.transposed, right, rows: inputs, inputs: rows, columns: outputs, out: gradient, outStride: outputs,
                        accumulate: accumulate)
                } else {
                    multiply(
                        right.transposed, left, rows: outputs, inputs: rows, columns: inputs, out: gradient, outStride: inputs, accumulate: accumulate
                    )
                }
            }
            if let adapter = adapters?.adapter(of: weight) {
                adapters?.weightGradients(
                    adapter, self, store, x: x, dy: dy + column, dyStride: projection.outputs, rows: rows, accumulate: accumulate)
            }
            if !projection.biases.isEmpty, let gradient = store.gradient(projection.biases[index]) {
                ck_column_sums(pool, dy + column, rows, outputs, projection.outputs, gradient, accumulate)
            }
            column += outputs
        }
    }
}

extension ProjectionLayout {
    /// The columns that one of the joined weights gives.
    func outputs(of weight: TensorSpecification) -> Int { layout == .inputMajor ? weight.shape[1] : weight.shape[0] }

    /// A weight as a factor of K rows and N columns, however it is stored.
    fileprivate func factor(_ weight: TensorSpecification, _ store: ParameterStore) -> Products.Factor {
        let stored = Products.Factor(store.weight(weight), stride: weight.shape[1])
        return layout == .inputMajor ? stored : stored.transposed
    }
}
