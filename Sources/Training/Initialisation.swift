import CKernels
import Kernels
import LanguageModels

/// What the Philox streams of training are for: the top four bits of the counter's last word (0 is sampling).
enum RandomPurpose: UInt32 {
    case dropout = 2
    case initialWeights = 3
    /// A of each adapter; the stream is its place among them.
    case adapters = 4
}

extension ParameterStore {
    /// Fills every weight as transformers does for a new model (engine.md 2.1), from the seed alone.
    ///
    /// Matrices are normal with σ = `initializer_range`, residual projections with `residualInitializerRange`
    /// (for GPT-2 that by √(2 · layers)); gains are 1, biases 0. The
    /// stream of a tensor is its place in the order of names, so the bits depend on seed and description only.
    func initialise(_ description: ModelDescription, seed: UInt64) {
        let layout = description.tensors
        var gains: Set<String> = [layout.finalNorm.gain.name]
        var residual: Set<String> = []
        for layer in layout.layers {
            gains.formUnion([layer.norm1.gain.name, layer.norm2.gain.name])
            residual.formUnion((layer.attentionOutput.weights + layer.feedOutput.weights).map(\.name))
        }
        for (stream, parameter) in parameters.enumerated() {
            let target = weights.base + parameter.offset
            if gains.contains(parameter.name) {
                target.update(repeating: 1, count: parameter.count)
            } else if parameter.shape.count < 2 {
                target.update(repeating: 0, count: parameter.count)
            } else {
                ck_normal(
                    seed, UInt32(stream), RandomPurpose.initialWeights.rawValue << 28, 0,
                    residual.contains(parameter.name) ? description.residualInitializerRange : description.initializerRange,
                    target, parameter.count)
            }
        }
    }

    /// Fills adapters as PEFT does: A uniform within ±1/√K (Kaiming with a = √5), B zero, so that a run begins with the base's bits.
    func initialise(_ adapters: [Adapter], seed: UInt64) {
        for (stream, adapter) in adapters.enumerated() {
            guard let a = parameter(adapter.a.name) else { continue }
            let bound = 1 / Double(adapter.inputs).squareRoot()
            for block in 0..<(a.count + 3) / 4 {
                let counter = SIMD4(
                    UInt32(truncatingIfNeeded: block), UInt32(truncatingIfNeeded: block >> 32), UInt32(truncatingIfNeeded: stream),
                    RandomPurpose.adapters.rawValue << 28)
                let words = Philox.block(seed: seed, counter: counter)
                for index in 4 * block..<min(4 * block + 4, a.count) {
                    weights.base[a.offset + index] = Float(((Double(words[index % 4]) + 0.5) * 0x1p-31 - 1) * bound)
                }
            }
        }
    }
}
