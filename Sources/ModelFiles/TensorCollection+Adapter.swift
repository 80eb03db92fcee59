import CKernels
import Kernels

extension TensorCollection {
    /// W + fp32(alpha / rank)·(B·A) into `target`, in the order of the weight's own elements: of each the product of A and B as
    /// reproducibility.md 1 sums it, times the scale, added to the weight; each step rounded. (The order of B·A does not
    /// depend on how the weight is stored.)
    func merge(_ weight: String, _ adapter: LoRAAdapter, into target: UnsafeMutablePointer<Float>) throws(ModelFileError) {
        let a = try adapter.tensors.float32(LoRAAdapter.tensorName("A", of: weight))
        let b = try adapter.tensors.float32(LoRAAdapter.tensorName("B", of: weight))
        let rank = adapter.rank
        let (inputs, outputs) = (a.count / rank, b.count / rank)
        let (rows, columns) = adapter.isInputMajor ? (inputs, outputs) : (outputs, inputs)
        var update = [Float](repeating: 0, count: rows * columns)
        guard !InstructionSet.available.isEmpty else {
            throw ModelFileError(.unsupported, path: LoRAAdapter.weightsFile, "\(KernelError.noInstructionSet)")
        }
        let pool = ThreadPool(threads: 1)
        a.withUnsafeBufferPointer { a in
            b.withUnsafeBufferPointer { b in
                update.withUnsafeMutableBufferPointer { update in
                    // A is [rank][inputs], B is [outputs][rank]; k is the rank either way.
                    var arguments = ck_product_args(
                        a: adapter.isInputMajor ? a.baseAddress : b.baseAddress, a_row: adapter.isInputMajor ? 1 : rank,
                        a_k: adapter.isInputMajor ? inputs : 1, b: adapter.isInputMajor ? b.baseAddress : a.baseAddress,
                        b_k: adapter.isInputMajor ? 1 : inputs, b_column: adapter.isInputMajor ? rank : 1, rows: rows, inputs: rank,
                        columns: columns, bias: nil, residual: nil, out: update.baseAddress, out_stride: columns, accumulate: false)
                    ck_product(pool.handle, &arguments)
                }
            }
        }
        let scale = adapter.scale
        for index in update.indices { target[index] += scale * update[index] }
    }

    /// Fails unless every weight that the adapter names is here in the shape that its A and B ask for.
    func check(_ adapter: LoRAAdapter) throws(ModelFileError) {
        for weight in adapter.weights {
            guard let a = adapter.tensors.info(LoRAAdapter.tensorName("A", of: weight)),
                let b = adapter.tensors.info(LoRAAdapter.tensorName("B", of: weight)), let stored = info(weight)
            else {
                throw ModelFileError(
                    .malformed, path: LoRAAdapter.weightsFile, tensor: weight, "is adapted, but the model has no such weight: another base model?")
            }
            let expected = adapter.isInputMajor ? [a.shape[1], b.shape[0]] : [b.shape[0], a.shape[1]]
            guard stored.shape == expected else {
                throw ModelFileError(
                    .malformed, path: LoRAAdapter.weightsFile, tensor: weight,
                    "has the shape \(stored.shape) in the model, but the adapter is for \(expected): another base model, or another fan_in_fan_out?")
            }
        }
    }
}
