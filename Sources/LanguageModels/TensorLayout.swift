package import Kernels

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

/// Where one layer's weights are: attention is `attentionOutput(attend(attentionInput(norm1(x))))`, the feed-forward part
/// `feedOutput(activate(feedInput(norm2(x))))`; how they add up is ``ModelDescription/residual``.
package struct LayerLayout: Sendable, Equatable {
    package var norm1: NormLayout
    /// Outputs 3C columns: query, key and value in ``ModelDescription/headOrder``.
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
    /// [T, C]; nil where positions are not learned.
    package var positionEmbedding: TensorSpecification?
    package var layers: [LayerLayout]
    package var finalNorm: NormLayout
    /// [V, C]; nil where the head is the token embedding.
    package var head: TensorSpecification?

    /// Every tensor once, in the order in which the model uses them.
    package var all: [TensorSpecification] {
        var list = [tokenEmbedding]
        if let positionEmbedding { list.append(positionEmbedding) }
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

extension NormLayout {
    /// `NAME.weight` and `NAME.bias` over `width` columns.
    package init(named name: String, width: Int) {
        self.init(gain: .init("\(name).weight", [width]), bias: .init("\(name).bias", [width]))
    }
}

extension ProjectionLayout {
    /// One Conv1D: [inputs][outputs], with a bias.
    package static func convolution(_ name: String, inputs: Int, outputs: Int) -> ProjectionLayout {
        ProjectionLayout(
            weights: [.init("\(name).weight", [inputs, outputs])], biases: [.init("\(name).bias", [outputs])], layout: .inputMajor,
            inputs: inputs, outputs: outputs)
    }

    /// Linear layers of equal shape side by side, each [outputs][inputs]; `outputs` are those of one.
    package static func linear(_ names: String..., inputs: Int, outputs: Int, bias: Bool = true) -> ProjectionLayout {
        ProjectionLayout(
            weights: names.map { .init("\($0).weight", [outputs, inputs]) }, biases: bias ? names.map { .init("\($0).bias", [outputs]) } : [],
            layout: .outputMajor, inputs: inputs, outputs: names.count * outputs)
    }
}
