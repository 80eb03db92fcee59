import CKernels
import LanguageModels

/// What a layer's forward pass leaves for its backward pass. R rows, C wide, F inner, H heads.
struct LayerActivations {
    /// [R][C]: the residual stream that enters the layer.
    var input: UnsafeMutablePointer<Float>
    /// [R][C], and mean and 1/σ of each row.
    var norm1: UnsafeMutablePointer<Float>
    var mean1: UnsafeMutablePointer<Float>
    var rstd1: UnsafeMutablePointer<Float>
    /// [R][3C]: query, key, value.
    var qkv: UnsafeMutablePointer<Float>
    /// [R][C], and [sequences][H][T][2]: maximum and sum of each softmax.
    var attended: UnsafeMutablePointer<Float>
    var statistics: UnsafeMutablePointer<Float>
    /// [R][C]: the stream between attention and feed-forward.
    var middle: UnsafeMutablePointer<Float>
    var norm2: UnsafeMutablePointer<Float>
    var mean2: UnsafeMutablePointer<Float>
    var rstd2: UnsafeMutablePointer<Float>
    /// [R][F]: before and after the activation function.
    var feed: UnsafeMutablePointer<Float>
    var activated: UnsafeMutablePointer<Float>
}

/// All memory of a pass over a micro-batch, planned once and cut from one block, so that a step allocates nothing.
///
/// With gradient checkpointing the layers share one set of activations but for their inputs.
final class ActivationMemory {
    /// Rows of logits that exist at once: one block of the reproducible sums.
    static let headRows = 256
    let layers: [LayerActivations]
    /// [R][C]: what leaves the last layer, and its norm.
    let final: UnsafeMutablePointer<Float>
    let finalNorm: UnsafeMutablePointer<Float>
    let finalMean: UnsafeMutablePointer<Float>
    let finalRstd: UnsafeMutablePointer<Float>
    /// [R][C]: the gradient of the residual stream, and two of its branches.
    let dStream: UnsafeMutablePointer<Float>
    let dBranch: UnsafeMutablePointer<Float>
    let dDropped: UnsafeMutablePointer<Float>
    let dQKV: UnsafeMutablePointer<Float>
    let dFeed: UnsafeMutablePointer<Float>
    let logits: UnsafeMutablePointer<Float>
    let losses: UnsafeMutablePointer<Float>
    let products: Products
    private let memory: FloatMemory
    private let rounded: FloatMemory?

    /// Room for the largest left factor of any product.
    private static func roundedFloats(_ description: ModelDescription, rows: Int, rank: Int) -> Int {
        let widest = max(3 * description.width, description.inner, rank)
        let chunk = min(rows, headRows)
        let factors = [
            (rows, widest), (widest, rows), (chunk, max(description.width, description.vocabularySize)), (description.vocabularySize, chunk),
        ]
        return factors.map { ck_bfloat16_product_floats($0.0, $0.1) }.max() ?? 0
    }

    init(
        _ description: ModelDescription, sequences: Int, length: Int, options: TrainingOptions, adapters: [Adapter], pool: OpaquePointer
    ) throws(TrainingError) {
        // The first round only adds up sizes (nothing is written to the tiny block); the second cuts the real one.
        let counting = try FloatMemory(count: 16)
        let size = ActivationMemory.cut(description, sequences: sequences, length: length, options: options, from: counting.base).size
        memory = try FloatMemory(count: size)
        let parts = ActivationMemory.cut(description, sequences: sequences, length: length, options: options, from: memory.base)
        layers = parts.layers
        (final, finalNorm, finalMean, finalRstd) = (parts.single[0], parts.single[1], parts.single[2], parts.single[3])
        (dStream, dBranch, dDropped, dQKV, dFeed) = (parts.single[4], parts.single[5], parts.single[6], parts.single[7], parts.single[8])
        (logits, losses) = (parts.single[9], parts.single[10])
        rounded =
            options.precision == .bfloat16
            ? try FloatMemory(count: ActivationMemory.roundedFloats(description, rows: sequences * length, rank: options.lora?.rank ?? 0)) : nil
        var adapterProducts: AdapterProducts?
        if let lora = options.lora { adapterProducts = try AdapterProducts(adapters, lora, seed: options.seed, rows: sequences * length) }
        products = Products(pool: pool, rounded: rounded?.base, adapters: adapterProducts)
    }

    private struct Parts {
        var layers: [LayerActivations] = []
        var single: [UnsafeMutablePointer<Float>] = []
        var size = 0
    }

    private static func cut(
        _ description: ModelDescription, sequences: Int, length: Int, options: TrainingOptions, from start: UnsafeMutablePointer<Float>
    ) -> Parts {
        var parts = Parts()
        func take(_ count: Int) -> UnsafeMutablePointer<Float> {
            defer { parts.size += (count + 15) / 16 * 16 }
            return start + parts.size
        }
        let rows = sequences * length
        let (width, inner) = (description.width, description.inner)
        var shared: LayerActivations?
        for _ in 0..<description.layers {
            if options.gradientCheckpointing == true, var layer = shared {
                layer.input = take(rows * width)
                parts.layers.append(layer)
                continue
            }
            let layer = LayerActivations(
                input: take(rows * width), norm1: take(rows * width), mean1: take(rows), rstd1: take(rows), qkv: take(3 * rows * width),
                attended: take(rows * width), statistics: take(2 * rows * description.heads), middle: take(rows * width), norm2: take(rows * width),
                mean2: take(rows), rstd2: take(rows), feed: take(rows * inner), activated: take(rows * inner))
            shared = layer
            parts.layers.append(layer)
        }
        let chunk = min(rows, headRows)
        let vocabulary = description.vocabularySize
        parts.single = [
            take(rows * width), take(rows * width), take(rows), take(rows),
            take(rows * width), take(rows * width), take(rows * width), take(3 * rows * width), take(rows * inner),
            take(chunk * vocabulary), take(rows),
        ]
        return parts
    }
}
