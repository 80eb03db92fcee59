package import Encodings

/// GPT-2 (Radford et al. 2019): pre-LayerNorm blocks, learned positions, Conv1D weights as [inputs][outputs].
///
/// Source: the keys are those of Hugging Face's config.json, the names those of its state dict.
/// `reorder_and_upcast_attn` says where half precision gives way to fp32; here scores are always fp32, so it changes nothing.
package enum GPT2: Architecture {
    package static let name = "gpt2"

    package static func describe(config: ConfigReader, generation: JSONObject?) throws(ModelError) -> ModelDescription {
        let shape = try Shape(config)
        let activation = try config.activation("activation_function", default: "gelu_new")
        if try config.bool("add_cross_attention", default: false) {
            throw .badConfig(key: "add_cross_attention", reason: "is true: models that read another text beside are not supported")
        }
        let epsilon = try config.epsilon("layer_norm_epsilon")
        let initializerRange = try config.initializerRange()
        let scaled = try config.bool("scale_attn_weights", default: true)
        let scaledByLayer = try config.bool("scale_attn_by_inverse_layer_idx", default: false)
        _ = try config.bool("reorder_and_upcast_attn", default: false)
        let tied = try config.bool("tie_word_embeddings", default: true)
        let tokens = try TokenIDs(config: config, generation: generation, rows: shape.vocabulary, defaults: (50256, 50256))
        return ModelDescription(
            architecture: name, vocabularySize: shape.vocabulary, contextLength: shape.context, width: shape.width, layers: shape.layers,
            heads: shape.heads, inner: shape.inner, activation: activation.function, residual: .sequential, headOrder: .partByPart, rotary: nil,
            epsilon: Float(epsilon), attentionScales: attentionScales(shape, scaled: scaled, byLayer: scaledByLayer),
            attentionWindows: [Int](repeating: 0, count: shape.layers), tied: tied, initializerRange: initializerRange,
            residualInitializerRange: initializerRange / Double(2 * shape.layers).squareRoot(), bosID: tokens.bos, eosIDs: tokens.eos,
            lineByLine: try config.bool("line_by_line", default: false),
            digestKeys: [
                "vocab_size": .integer(Int64(shape.vocabulary)), "n_positions": .integer(Int64(shape.context)),
                "n_embd": .integer(Int64(shape.width)),
                "n_layer": .integer(Int64(shape.layers)), "n_head": .integer(Int64(shape.heads)), "n_inner": .integer(Int64(shape.inner)),
                "activation_function": .string(activation.name), "layer_norm_epsilon": .real(epsilon), "scale_attn_weights": .bool(scaled),
                "scale_attn_by_inverse_layer_idx": .bool(scaledByLayer), "tie_word_embeddings": .bool(tied),
            ],
            tensors: tensors(shape, tied: tied))
    }

    /// 1 / √(head width), and that divided by (layer index + 1), as the configuration says; formed in double.
    private static func attentionScales(_ shape: Shape, scaled: Bool, byLayer: Bool) -> [Float] {
        let base = scaled ? 1 / Double(shape.width / shape.heads).squareRoot() : 1
        return (0..<shape.layers).map { Float(byLayer ? base / Double($0 + 1) : base) }
    }

    private static func tensors(_ shape: Shape, tied: Bool) -> TensorLayout {
        let (C, F) = (shape.width, shape.inner)
        return TensorLayout(
            tokenEmbedding: .init("transformer.wte.weight", [shape.vocabulary, C]),
            positionEmbedding: .init("transformer.wpe.weight", [shape.context, C]),
            layers: (0..<shape.layers).map { index in
                let prefix = "transformer.h.\(index)"
                return LayerLayout(
                    norm1: NormLayout(named: "\(prefix).ln_1", width: C),
                    attentionInput: .convolution("\(prefix).attn.c_attn", inputs: C, outputs: 3 * C),
                    attentionOutput: .convolution("\(prefix).attn.c_proj", inputs: C, outputs: C),
                    norm2: NormLayout(named: "\(prefix).ln_2", width: C), feedInput: .convolution("\(prefix).mlp.c_fc", inputs: C, outputs: F),
                    feedOutput: .convolution("\(prefix).mlp.c_proj", inputs: F, outputs: C))
            },
            finalNorm: NormLayout(named: "transformer.ln_f", width: C),
            head: tied ? nil : .init("lm_head.weight", [shape.vocabulary, C]))
    }

    /// The sizes, checked against each other.
    private struct Shape {
        let vocabulary, context, width, layers, heads, inner: Int

        init(_ config: ConfigReader) throws(ModelError) {
            vocabulary = try config.size("vocab_size", default: 50257, in: 1...(1 << 24))
            context = try config.size("n_positions", "n_ctx", "max_position_embeddings", default: 1024, in: 1...(1 << 20))
            width = try config.size("n_embd", "hidden_size", default: 768, in: 1...(1 << 16))
            layers = try config.size("n_layer", "num_hidden_layers", default: 12, in: 1...1024)
            heads = try config.size("n_head", "num_attention_heads", default: 12, in: 1...4096)
            inner = try config.int("n_inner", in: 1...(1 << 20)) ?? 4 * width
            guard width % heads == 0 else { throw .badConfig(key: "n_head", reason: "is \(heads), which does not divide n_embd \(width)") }
        }
    }
}
