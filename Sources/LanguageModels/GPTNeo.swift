package import Encodings

/// GPT Neo (Black et al. 2021): GPT-2's skeleton with Linear weights, scores that are not scaled, and layers of which some
/// see only a window of the last positions. Queries, keys and values have no bias.
///
/// Source: the keys are those of Hugging Face's config.json, the names those of its state dict.
package enum GPTNeo: Architecture {
    package static let name = "gpt_neo"

    package static func describe(config: ConfigReader, generation: JSONObject?) throws(ModelError) -> ModelDescription {
        let vocabulary = try config.size("vocab_size", default: 50257, in: 1...(1 << 24))
        let context = try config.size("max_position_embeddings", "n_positions", "n_ctx", default: 2048, in: 1...(1 << 20))
        let width = try config.size("hidden_size", "n_embd", default: 2048, in: 1...(1 << 16))
        let layers = try config.size("num_layers", "num_hidden_layers", "n_layer", default: 24, in: 1...1024)
        let heads = try config.size("num_heads", "num_attention_heads", "n_head", default: 16, in: 1...4096)
        let inner = try config.int("intermediate_size", "n_inner", in: 1...(1 << 20)) ?? 4 * width
        guard width % heads == 0 else { throw .badConfig(key: "num_heads", reason: "is \(heads), which does not divide hidden_size \(width)") }
        let window = try config.int("window_size", in: 1...(1 << 20)) ?? 256
        let kinds = try attentionKinds(config, layers: layers)
        let activation = try config.activation("activation_function", default: "gelu_new")
        let epsilon = try config.epsilon("layer_norm_epsilon")
        let initializerRange = try config.initializerRange()
        let tied = try config.bool("tie_word_embeddings", default: true)
        let tokens = try TokenIDs(config: config, generation: generation, rows: vocabulary, defaults: (50256, 50256))
        return ModelDescription(
            architecture: name, vocabularySize: vocabulary, contextLength: context, width: width, layers: layers, heads: heads, inner: inner,
            activation: activation.function, residual: .sequential, headOrder: .partByPart, rotary: nil, epsilon: Float(epsilon),
            attentionScales: [Float](repeating: 1, count: layers), attentionWindows: kinds.map { $0 == .local ? window : 0 }, tied: tied,
            initializerRange: initializerRange, residualInitializerRange: initializerRange, bosID: tokens.bos, eosIDs: tokens.eos,
            lineByLine: try config.bool("line_by_line", default: false),
            digestKeys: [
                "vocab_size": .integer(Int64(vocabulary)), "max_position_embeddings": .integer(Int64(context)),
                "hidden_size": .integer(Int64(width)), "num_layers": .integer(Int64(layers)), "num_heads": .integer(Int64(heads)),
                "intermediate_size": .integer(Int64(inner)), "attention_layers": .array(kinds.map { .string($0.rawValue) }),
                "window_size": .integer(Int64(window)), "activation_function": .string(activation.name), "layer_norm_epsilon": .real(epsilon),
                "tie_word_embeddings": .bool(tied),
            ],
            tensors: tensors(vocabulary: vocabulary, context: context, width: width, inner: inner, layers: layers, tied: tied))
    }

    private enum AttentionKind: String {
        case global, local
    }

    /// Which positions each layer sees: `attention_types`, a list of [[kinds], repetitions]; where it is absent the expanded
    /// list `attention_layers`; without either the published models' alternation.
    private static func attentionKinds(_ config: ConfigReader, layers: Int) throws(ModelError) -> [AttentionKind] {
        var key = "attention_types"
        var names: [JSONValue] = []
        if let types = try config.list(key) {
            for item in types {
                guard let pair = item.arrayValue, pair.count == 2, let kinds = pair[0].arrayValue, let count = pair[1].intValue,
                    (0...1024).contains(count),
                    names.count + kinds.count * count <= 4096
                else { throw .badConfig(key: key, reason: "is not a list of [[kinds], repetitions]") }
                for _ in 0..<count { names += kinds }
            }
        } else if let expanded = try config.list("attention_layers") {
            key = "attention_layers"
            names = expanded
        } else {
            names = (0..<layers).map { .string($0 % 2 == 0 ? "global" : "local") }
        }
        guard names.count == layers else { throw .badConfig(key: key, reason: "names \(names.count) layers, but num_layers is \(layers)") }
        return try names.map { name throws(ModelError) in
            guard let kind = name.stringValue.flatMap(AttentionKind.init(rawValue:)) else {
                throw .badConfig(key: key, reason: "names a kind of attention that is neither global nor local")
            }
            return kind
        }
    }

    private static func tensors(vocabulary: Int, context: Int, width C: Int, inner F: Int, layers: Int, tied: Bool) -> TensorLayout {
        TensorLayout(
            tokenEmbedding: .init("transformer.wte.weight", [vocabulary, C]),
            positionEmbedding: .init("transformer.wpe.weight", [context, C]),
            layers: (0..<layers).map { index in
                let prefix = "transformer.h.\(index)"
                let attention = "\(prefix).attn.attention"
                return LayerLayout(
                    norm1: NormLayout(named: "\(prefix).ln_1", width: C),
                    attentionInput: .linear("\(attention).q_proj", "\(attention).k_proj", "\(attention).v_proj", inputs: C, outputs: C, bias: false),
                    attentionOutput: .linear("\(attention).out_proj", inputs: C, outputs: C),
                    norm2: NormLayout(named: "\(prefix).ln_2", width: C), feedInput: .linear("\(prefix).mlp.c_fc", inputs: C, outputs: F),
                    feedOutput: .linear("\(prefix).mlp.c_proj", inputs: F, outputs: C))
            },
            finalNorm: NormLayout(named: "transformer.ln_f", width: C),
            head: tied ? nil : .init("lm_head.weight", [vocabulary, C]))
    }
}
