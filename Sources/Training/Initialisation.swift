import CKernels
import LanguageModels

/// What the Philox streams of training are for: the top four bits of the counter's last word (0 is sampling).
enum RandomPurpose: UInt32 {
    case dropout = 2
    case initialWeights = 3
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
}
