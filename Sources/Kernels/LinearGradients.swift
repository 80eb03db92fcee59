import CKernels
import Glibc

/// The backward products of linear layers, with one workspace for all layers of a model.
///
/// Forward: `Linear.apply` with W packed. Backward: `weightGradient` for dW, `RowGradients.columnSums` for db, and
/// `Linear.apply` of dY with W packed the other way round for dX:
///
///     forward.pack(w, layout: .inputMajor, pool: pool)        // PackedMatrix(inputs: in, outputs: out)
///     backward.pack(w, layout: .outputMajor, pool: pool)      // PackedMatrix(inputs: out, outputs: in), same [in][out] array
///
/// Unchecked: the workspace is used inside one call at a time, by the pool's one caller.
package final class LinearGradients: @unchecked Sendable {
    private let workspace: UnsafeMutablePointer<Float>
    private let capacity: Int

    /// - Parameter floats: the largest `workspaceFloats` of the products to come.
    /// - Throws: `KernelError.outOfMemory`.
    package init(workspaceFloats floats: Int) throws(KernelError) {
        capacity = max(16, floats)
        var memory: UnsafeMutableRawPointer?
        let bytes = capacity * MemoryLayout<Float>.stride
        guard posix_memalign(&memory, 64, bytes) == 0, let memory else { throw .outOfMemory(byteCount: bytes) }
        workspace = memory.bindMemory(to: Float.self, capacity: capacity)
    }

    deinit { free(workspace) }

    /// Floats that `weightGradient` needs for a product of these sizes.
    package static func workspaceFloats(rows: Int, inputs: Int, outputs: Int) -> Int { ck_weight_gradient_floats(rows, inputs, outputs) }

    /// gradient = [gradient +] Xᵀ·dY, k = rows in order, blocks of 256 from row 0. A micro-batch may come in chunks (then
    /// `accumulate`, and every chunk but the last a multiple of 256 rows): the bits are those of one piece.
    /// - Parameter layout: of `gradient`: [inputs][outputs] or [outputs][inputs], contiguous.
    package func weightGradient(
        x: UnsafePointer<Float>, xStride: Int, dy: UnsafePointer<Float>, dyStride: Int, rows: Int, inputs: Int, outputs: Int,
        gradient: UnsafeMutablePointer<Float>, layout: PackedMatrix.Layout, accumulate: Bool, pool: ThreadPool
    ) {
        precondition(Self.workspaceFloats(rows: rows, inputs: inputs, outputs: outputs) <= capacity, "the workspace is too small")
        var arguments = ck_weight_gradient_args(
            x: x, x_stride: xStride, dy: dy, dy_stride: dyStride, rows: rows, inputs: inputs, outputs: outputs, gradient: gradient,
            output_major: layout == .outputMajor, accumulate: accumulate, workspace: workspace)
        ck_weight_gradient(pool.handle, &arguments)
    }
}
