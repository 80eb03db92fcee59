import CKernels
import Kernels

/// A matrix product as the kernel wants it, without rows.
struct ProjectionPlan {
    let panels: UnsafePointer<Float>
    let bias: UnsafePointer<Float>?
    let inputs: Int
    let outputs: Int
    let precision: Int32

    init(_ weights: ProjectionWeights) { self.init(weights.matrix, bias: weights.bias) }

    init(_ matrix: PackedMatrix, bias: FloatBuffer?) {
        panels = UnsafePointer(matrix.panels)
        self.bias = bias.map { UnsafePointer($0.pointer) }
        inputs = matrix.inputs
        outputs = matrix.outputs
        precision = matrix.precision.code
    }
}

/// A LayerNorm as the kernel wants it.
struct NormPlan {
    let gain, bias: UnsafePointer<Float>

    init(_ weights: NormWeights) {
        gain = UnsafePointer(weights.gain.pointer)
        bias = UnsafePointer(weights.bias.pointer)
    }
}

/// One layer as the kernels want it.
struct LayerPlan {
    let norm1: NormPlan
    let attentionInput: ProjectionPlan
    let attentionOutput: ProjectionPlan
    let norm2: NormPlan
    let feedInput: ProjectionPlan
    let feedOutput: ProjectionPlan
    let shape: ck_attention_shape
    /// Where the layer's floats begin in a page.
    let pageOffset: Int
}

/// A model as bare addresses, so that a step follows no reference and counts none. The session that owns the plan keeps
/// the model alive.
final class ModelPlan {
    let layers: UnsafeMutablePointer<LayerPlan>
    let layerCount: Int
    let width: Int
    let inner: Int
    let epsilon: Float
    let residual: Residual
    let heads: Int
    let places: HeadPlaces
    let rotary: RotaryTable?
    let activation: Int32
    let finalNorm: NormPlan
    let head: ProjectionPlan
    let embedding: UnsafePointer<Float>?
    let positions: UnsafePointer<Float>?
    /// A tied embedding is read from the head's panels as these kernels packed them.
    let kernels: UnsafePointer<ck_kernels>

    init(_ model: LanguageModel, pool: ThreadPool) {
        let description = model.description
        layerCount = description.layers
        width = description.width
        inner = description.inner
        epsilon = description.epsilon
        residual = description.residual
        heads = description.heads
        places = description.headPlaces
        rotary = model.rotary
        activation = description.activation.rawValue
        finalNorm = NormPlan(model.finalNorm)
        head = ProjectionPlan(model.head, bias: nil)
        embedding = model.embedding.map { UnsafePointer($0.pointer) }
        positions = model.positions.map { UnsafePointer($0.pointer) }
        kernels = ck_pool_kernels(pool.handle)
        layers = .allocate(capacity: layerCount)
        let isNarrow = model.precision.hasNarrowKeys
        let pageFloats = ck_page_floats(description.heads, description.headWidth, isNarrow)
        for (index, layer) in model.layers.enumerated() {
            let shape = ck_attention_shape(
                heads: description.heads, head_width: description.headWidth, scale: description.attentionScale(layer: index),
                window: UInt32(description.attentionWindows[index]), narrow: isNarrow)
            (layers + index).initialize(
                to: LayerPlan(
                    norm1: NormPlan(layer.norm1), attentionInput: ProjectionPlan(layer.attentionInput),
                    attentionOutput: ProjectionPlan(layer.attentionOutput), norm2: NormPlan(layer.norm2), feedInput: ProjectionPlan(layer.feedInput),
                    feedOutput: ProjectionPlan(layer.feedOutput), shape: shape, pageOffset: index * pageFloats))
        }
    }

    deinit { layers.deallocate() }
}
