import CKernels
import Glibc

/// A weight matrix packed into column panels for `Linear.apply`, rounded to its precision on the way, in memory advised to
/// lie on 2 MiB pages.
///
/// Packing may be repeated (training packs after each step) without allocating. A matrix belongs to the instruction set
/// it was made for. Unchecked: written only by `pack`, which its owner never runs beside a reader.
package final class PackedMatrix: @unchecked Sendable {
    /// How the source of a packing lies in memory.
    package enum Layout: Sendable {
        /// [inputs][outputs], as GPT-2's Conv1D stores it.
        case inputMajor
        /// [outputs][inputs], as Linear layers and embeddings store it.
        case outputMajor
    }

    package let inputs: Int
    package let outputs: Int
    package let instructionSet: InstructionSet
    package let precision: WeightPrecision
    /// Words of 32 bits: floats, pairs or quads (ck_narrow.h).
    package let panels: UnsafeMutablePointer<Float>
    private let capacity: Int

    /// Bytes that the panels occupy.
    package var byteCount: Int { capacity }

    /// - Throws: `KernelError.outOfMemory`.
    package init(inputs: Int, outputs: Int, precision: WeightPrecision = .float32, instructionSet: InstructionSet = .current) throws(KernelError) {
        self.inputs = inputs
        self.precision = precision
        self.outputs = outputs
        self.instructionSet = instructionSet
        let page = 2 << 20
        let needed = max(64, ck_panel_words(precision.code, inputs, outputs) * MemoryLayout<Float>.stride)
        let alignment = needed >= page ? page : 64
        capacity = (needed + alignment - 1) / alignment * alignment
        var memory: UnsafeMutableRawPointer?
        guard posix_memalign(&memory, alignment, capacity) == 0, let memory else { throw .outOfMemory(byteCount: capacity) }
        if capacity >= page { madvise(memory, capacity, MADV_HUGEPAGE) }
        panels = memory.bindMemory(to: Float.self, capacity: capacity / MemoryLayout<Float>.stride)
    }

    deinit { free(panels) }

    /// Packs `weights`, contiguous in the layout given.
    package func pack(_ weights: UnsafePointer<Float>, layout: Layout, pool: ThreadPool) {
        switch layout {
        case .inputMajor: pack(weights, inputStride: outputs, outputStride: 1, pool: pool)
        case .outputMajor: pack(weights, inputStride: 1, outputStride: inputs, pool: pool)
        }
    }

    /// Packs element (input k, output n) from `source[k * inputStride + n * outputStride]`; one stride is 1.
    package func pack(_ source: UnsafePointer<Float>, inputStride: Int, outputStride: Int, pool: ThreadPool) {
        precondition(pool.instructionSet == instructionSet, "a packed matrix belongs to one instruction set")
        var arguments = ck_pack_args(
            source: source, k_stride: inputStride, n_stride: outputStride, inputs: inputs, outputs: outputs, panels: panels,
            precision: precision.code)
        ck_pack(pool.handle, &arguments)
    }
}
