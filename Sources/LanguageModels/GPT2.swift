package import Encodings
package import Kernels

/// GPT-2 (Radford et al. 2019): pre-LayerNorm blocks, learned positions, Conv1D weights as [inputs][outputs].
///
/// Source: the keys are those of Hugging Face's config.json, the names those of its state dict.
package enum GPT2: Architecture {
    package static let name = "gpt2"

    package static func describe(config: ConfigReader, generation: JSONObject?) throws(ModelError) -> ModelDescription {
        let shape = try Shape(config)
        let activationName = try config.string("activation_function") ?? "gelu_new"
        guard let activation = activations[activationName] else {
            throw .badConfig(key: "activation_function", reason: "is '\(activationName.prefix(64))', not one of \(activations.keys.sorted().joined(separator: ", "))")
        }
        if try config.bool("add_cross_attention", default: false) {
            throw .badConfig(key: "add_cross_attention", reason: "is true: models that read another text beside are not supported")
        }
        let epsilon = try config.double("layer_norm_epsilon", default: 1e-5)
        guard epsilon > 0, Float(epsilon) > 0 else { throw .badConfig(key: "layer_norm_epsilon", reason: "is not above 0") }
        let initializerRange = try config.double("initializer_range", default: 0.02)
        guard initializerRange >= 0 else { throw .badConfig(key: "initializer_range", reason: "is below 0") }
        let scaled = try config.bool("scale_attn_weights", default: true)
        let scaledByLayer = try config.bool("scale_attn_by_inverse_layer_idx", default: false)
        let tied = try config.bool("tie_word_embeddings", default: true)
        let tokens = try TokenIDs(config: config, generation: generation, rows: shape.vocabulary)
        return ModelDescription(
            architecture: name, vocabularySize: shape.vocabulary, contextLength: shape.context, width: shape.width, layers: shape.layers,
            heads: shape.heads, inner: shape.inner, activation: activation, epsilon: Float(epsilon),
            attentionScales: attentionScales(shape, scaled: scaled, byLayer: scaledByLayer), tied: tied, initializerRange: initializerRange,
            bosID: tokens.bos, eosIDs: tokens.eos, lineByLine: try config.bool("line_by_line", default: false),
            digestKeys: [
                "vocab_size": .integer(Int64(shape.vocabulary)), "n_positions": .integer(Int64(shape.context)), "n_embd": .integer(Int64(shape.width)),
                "n_layer": .integer(Int64(shape.layers)), "n_head": .integer(Int64(shape.heads)), "n_inner": .integer(Int64(shape.inner)),
                "activation_function": .string(activationName), "layer_norm_epsilon": .real(epsilon), "scale_attn_weights": .bool(scaled),
                "scale_attn_by_inverse_layer_idx": .bool(scaledByLayer), "tie_word_embeddings": .bool(tied),
            ],
            tensors: tensors(shape, tied: tied))
    }

    /// The names that occur in published files; two pairs are one formula.
    private static let activations: [String: Activation] = [
        "gelu_new": .geluNew, "gelu_fast": .geluNew, "gelu_pytorch_tanh": .geluNew, "gelu": .gelu, "relu": .relu, "silu": .silu, "swish": .silu,
        "quick_gelu": .quickGelu, "tanh": .tanh, "linear": .linear,
    ]

    /// 1 / √(head width), and that divided by (layer index + 1), as the configuration says; formed in double.
    private static func attentionScales(_ shape: Shape, scaled: Bool, byLayer: Bool) -> [Float] {
        let base = scaled ? 1 / Double(shape.width / shape.heads).squareRoot() : 1
        return (0..<shape.layers).map { Float(byLayer ? base / Double($0 + 1) : base) }
    }

    private static func tensors(_ shape: Shape, tied: Bool) -> TensorLayout {
        let (C, F) = (shape.width, shape.inner)
        func norm(_ name: String) -> NormLayout {
            NormLayout(gain: .init("\(name).weight", [C]), bias: .init("\(name).bias", [C]))
        }
        func convolution(_ name: String, _ inputs: Int, _ outputs: Int) -> ProjectionLayout {
            ProjectionLayout(
                weights: [.init("\(name).weight", [inputs, outputs])], biases: [.init("\(name).bias", [outputs])], layout: .inputMajor,
                inputs: inputs, outputs: outputs)
        }
        return TensorLayout(
            tokenEmbedding: .init("transformer.wte.weight", [shape.vocabulary, C]),
            positionEmbedding: .init("transformer.wpe.weight", [shape.context, C]),
            layers: (0..<shape.layers).map { index in
                let prefix = "transformer.h.\(index)"
                return LayerLayout(
                    norm1: norm("\(prefix).ln_1"), attentionInput: convolution("\(prefix).attn.c_attn", C, 3 * C),
                    attentionOutput: convolution("\(prefix).attn.c_proj", C, C), norm2: norm("\(prefix).ln_2"),
                    feedInput: convolution("\(prefix).mlp.c_fc", C, F), feedOutput: convolution("\(prefix).mlp.c_proj", F, C))
            },
            finalNorm: norm("transformer.ln_f"),
            head: tied ? nil : .init("lm_head.weight", [shape.vocabulary, C]))
    }

    /// The sizes, checked against each other.
    private struct Shape {
        let vocabulary, context, width, layers, heads, inner: Int

        init(_ config: ConfigReader) throws(ModelError) {
            vocabulary = try config.required("vocab_size", in: 1...(1 << 24))
            context = try config.required("n_positions", "n_ctx", "max_position_embeddings", in: 1...(1 << 20))
            width = try config.required("n_embd", "hidden_size", in: 1...(1 << 16))
            layers = try config.required("n_layer", "num_hidden_layers", in: 1...1024)
            heads = try config.required("n_head", "num_attention_heads", in: 1...4096)
            inner = try config.int("n_inner", in: 1...(1 << 20)) ?? 4 * width
            guard width % heads == 0 else { throw .badConfig(key: "n_head", reason: "is \(heads), which does not divide n_embd \(width)") }
        }
    }

    /// The ids that begin and end a text: generation_config.json goes before config.json.
    private struct TokenIDs {
        let bos: Int32?
        let eos: [Int32]

        init(config: ConfigReader, generation: JSONObject?, rows: Int) throws(ModelError) {
            let first = generation.map(ConfigReader.init)
            bos = try first?.tokenIDs("bos_token_id", rows: rows)?.first ?? config.tokenIDs("bos_token_id", rows: rows)?.first
            eos = try first?.tokenIDs("eos_token_id", rows: rows) ?? config.tokenIDs("eos_token_id", rows: rows) ?? []
        }
    }
}
