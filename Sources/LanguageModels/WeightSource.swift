import ModelFiles

/// Where a model's weights come from while it is loaded, one tensor at a time.
protocol WeightSource {
    /// Writes a tensor as float32, row-major.
    func read(_ specification: TensorSpecification, into target: UnsafeMutablePointer<Float>) throws(ModelError)
}

/// The tensors of a model directory, checked (``ModelDescription/weights(in:)``).
struct DirectoryWeights: WeightSource {
    let tensors: TensorCollection

    func read(_ specification: TensorSpecification, into target: UnsafeMutablePointer<Float>) throws(ModelError) {
        do {
            try tensors.readFloat32(specification.name, into: target)
        } catch {
            throw .files(error.description)
        }
        tensors.releasePages(of: specification.name)
    }
}

/// Weights from a seed, for benchmarks and tests of shapes that no file has: uniform with the deviation `scale`,
/// gains 1 + that. They are no proper initialisation (Training has one).
struct RandomWeights: WeightSource {
    let seed: UInt64
    let scale: Float

    func read(_ specification: TensorSpecification, into target: UnsafeMutablePointer<Float>) throws(ModelError) {
        var state = specification.name.utf8.reduce(seed &* 0x9E37_79B9_7F4A_7C15) { ($0 ^ UInt64($1)) &* 0x0000_0100_0000_01B3 }
        let isGain = specification.shape.count == 1 && specification.name.hasSuffix(".weight")
        let offset: Float = isGain ? 1 : 0
        let width = scale * Float(12).squareRoot()
        for index in 0..<specification.shape.reduce(1, *) {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            target[index] = offset + (Float(state >> 40) * 0x1p-24 - 0.5) * width
        }
    }
}
