import CKernels
import Kernels

/// A LayerNorm's gain and bias.
struct NormWeights: Sendable {
    let gain, bias: FloatBuffer
    var floatCount: Int { gain.count + bias.count }
}

/// A packed matrix and its bias.
struct ProjectionWeights: Sendable {
    let matrix: PackedMatrix
    let bias: FloatBuffer?
    var floatCount: Int { bias?.count ?? 0 }
}

/// One layer, as ``LayerLayout`` says.
struct LayerWeights: Sendable {
    let norm1: NormWeights
    let attentionInput: ProjectionWeights
    let attentionOutput: ProjectionWeights
    let norm2: NormWeights
    let feedInput: ProjectionWeights
    let feedOutput: ProjectionWeights

    private var projections: [ProjectionWeights] { [attentionInput, attentionOutput, feedInput, feedOutput] }
    var floatCount: Int { norm1.floatCount + norm2.floatCount + projections.reduce(0) { $0 + $1.floatCount } }
    var matrixByteCount: Int { projections.reduce(0) { $0 + $1.matrix.byteCount } }
}

/// Reads tensors one at a time and packs the matrices, rounded to their precision; nothing unpacked outlives its call.
struct WeightLoader<Source: WeightSource> {
    let source: Source
    let precision: WeightPrecision
    let pool: ThreadPool

    /// A tensor as it is.
    func vector(_ specification: TensorSpecification) throws(ModelError) -> FloatBuffer {
        let buffer = FloatBuffer(count: specification.shape.reduce(1, *))
        try source.read(specification, into: buffer.pointer)
        return buffer
    }

    func norm(_ layout: NormLayout) throws(ModelError) -> NormWeights {
        NormWeights(gain: try vector(layout.gain), bias: try vector(layout.bias))
    }

    /// The head: [V, C] as an embedding is stored.
    func head(_ specification: TensorSpecification) throws(ModelError) -> PackedMatrix {
        let weights = try vector(specification)
        return try pack(weights, inputs: specification.shape[1], outputs: specification.shape[0], layout: .outputMajor)
    }

    /// Tensors apart in the file are joined along their outputs, which Linear's order keeps contiguous.
    func projection(_ layout: ProjectionLayout) throws(ModelError) -> ProjectionWeights {
        let joined = FloatBuffer(count: layout.inputs * layout.outputs)
        var offset = 0
        for weight in layout.weights {
            try source.read(weight, into: joined.pointer + offset)
            offset += weight.shape.reduce(1, *)
        }
        let matrix = try pack(joined, inputs: layout.inputs, outputs: layout.outputs, layout: layout.layout)
        return ProjectionWeights(matrix: matrix, bias: try bias(layout))
    }

    private func pack(_ weights: FloatBuffer, inputs: Int, outputs: Int, layout: PackedMatrix.Layout) throws(ModelError) -> PackedMatrix {
        do {
            let matrix = try PackedMatrix(
                inputs: inputs, outputs: outputs, precision: precision, instructionSet: pool.instructionSet)
            matrix.pack(weights.pointer, layout: layout, pool: pool)
            return matrix
        } catch {
            throw .outOfMemory(byteCount: ck_panel_words(precision.code, inputs, outputs) * MemoryLayout<Float>.stride)
        }
    }

    private func bias(_ layout: ProjectionLayout) throws(ModelError) -> FloatBuffer? {
        guard !layout.biases.isEmpty else { return nil }
        let joined = FloatBuffer(count: layout.outputs)
        var offset = 0
        for bias in layout.biases {
            try source.read(bias, into: joined.pointer + offset)
            offset += bias.shape.reduce(1, *)
        }
        return joined
    }

    func layer(_ layout: LayerLayout) throws(ModelError) -> LayerWeights {
        LayerWeights(
            norm1: try norm(layout.norm1), attentionInput: try projection(layout.attentionInput),
            attentionOutput: try projection(layout.attentionOutput), norm2: try norm(layout.norm2),
            feedInput: try projection(layout.feedInput), feedOutput: try projection(layout.feedOutput))
    }
}
