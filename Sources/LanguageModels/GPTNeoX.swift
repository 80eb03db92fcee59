package import Encodings

/// GPT-NeoX (Black et al. 2022; the Pythia models): rotary positions on the first columns of each head, attention and
/// feed-forward side by side, queries, keys and values head by head in one Linear, an output matrix of its own.
///
/// Source: the keys are those of Hugging Face's config.json, the names those of its state dict.
package enum GPTNeoX: Architecture {
    package static let name = "gpt_neox"

    package static func describe(config: ConfigReader, generation: JSONObject?) throws(ModelError) -> ModelDescription {
        let vocabulary = try config.size("vocab_size", default: 50432, in: 1...(1 << 24))
        let context = try config.size("max_position_embeddings", default: 2048, in: 1...1_000_000)
        let width = try config.size("hidden_size", default: 6144, in: 1...(1 << 16))
        let layers = try config.size("num_hidden_layers", default: 44, in: 1...1024)
        let heads = try config.size("num_attention_heads", default: 64, in: 1...4096)
        let inner = try config.size("intermediate_size", default: 24576, in: 1...(1 << 20))
        guard width % heads == 0 else {
            throw .badConfig(key: "num_attention_heads", reason: "is \(heads), which does not divide hidden_size \(width)")
        }
        let positions = try RotaryKeys(config, headWidth: width / heads)
        let activation = try config.activation("hidden_act", default: "gelu")
        let epsilon = try config.epsilon("layer_norm_eps")
        let initializerRange = try config.initializerRange()
        let parallel = try config.bool("use_parallel_residual", default: true)
        let biased = try config.bool("attention_bias", default: true)
        let tied = try config.bool("tie_word_embeddings", default: false)
        let tokens = try TokenIDs(config: config, generation: generation, rows: vocabulary, defaults: (0, 2))
        return ModelDescription(
            architecture: name, vocabularySize: vocabulary, contextLength: context, width: width, layers: layers, heads: heads, inner: inner,
            activation: activation.function, residual: parallel ? .parallel : .sequential, headOrder: .headByHead, rotary: positions.rotary,
            epsilon: Float(epsilon),
            attentionScales: [Float](repeating: Float(1 / Double(width / heads).squareRoot()), count: layers),
            attentionWindows: [Int](repeating: 0, count: layers), tied: tied, initializerRange: initializerRange,
            residualInitializerRange: initializerRange, bosID: tokens.bos, eosIDs: tokens.eos,
            lineByLine: try config.bool("line_by_line", default: false),
            digestKeys: [
                "vocab_size": .integer(Int64(vocabulary)), "max_position_embeddings": .integer(Int64(context)),
                "hidden_size": .integer(Int64(width)), "num_hidden_layers": .integer(Int64(layers)),
                "num_attention_heads": .integer(Int64(heads)), "intermediate_size": .integer(Int64(inner)),
                "hidden_act": .string(activation.name), "layer_norm_eps": .real(epsilon), "rotary_pct": .real(positions.share),
                "rotary_emb_base": .real(positions.rotary.base), "use_parallel_residual": .bool(parallel), "attention_bias": .bool(biased),
                "tie_word_embeddings": .bool(tied),
            ],
            tensors: tensors(vocabulary: vocabulary, width: width, inner: inner, layers: layers, biased: biased, tied: tied))
    }

    /// The rotary positions as old files (`rotary_pct`, `rotary_emb_base`) or new ones (`rope_parameters`) say.
    private struct RotaryKeys {
        let rotary: Rotary
        /// The share of a head's columns that turn.
        let share: Double

        init(_ config: ConfigReader, headWidth: Int) throws(ModelError) {
            let parameters = try config.object("rope_parameters")
            for scaling in [parameters, try config.object("rope_scaling")] {
                let type = try scaling?.string("rope_type", "type") ?? "default"
                guard type == "default" else {
                    throw .badConfig(key: "rope_type", reason: "is '\(type.prefix(64))'; positions are supported as they were trained only (default)")
                }
            }
            let oldBase = try config.double("rotary_emb_base", default: config.double("rope_theta", default: 10_000))
            let base = try parameters?.double("rope_theta", default: oldBase) ?? oldBase
            guard base > 0 else { throw .badConfig(key: "rotary_emb_base", reason: "is not above 0") }
            let oldShare = try config.double("rotary_pct", default: config.double("partial_rotary_factor", default: 0.25))
            share = try parameters?.double("partial_rotary_factor", default: oldShare) ?? oldShare
            guard share > 0, share <= 1 else { throw .badConfig(key: "rotary_pct", reason: "is not above 0 and at most 1") }
            let columns = Int(Double(headWidth) * share)
            guard columns >= 2, columns % 2 == 0 else {
                throw .badConfig(key: "rotary_pct", reason: "turns \(columns) of a head's \(headWidth) columns; an even number is needed")
            }
            rotary = Rotary(pairs: columns / 2, base: base)
        }
    }

    private static func tensors(vocabulary: Int, width C: Int, inner F: Int, layers: Int, biased: Bool, tied: Bool) -> TensorLayout {
        TensorLayout(
            tokenEmbedding: .init("gpt_neox.embed_in.weight", [vocabulary, C]), positionEmbedding: nil,
            layers: (0..<layers).map { index in
                let prefix = "gpt_neox.layers.\(index)"
                return LayerLayout(
                    norm1: NormLayout(named: "\(prefix).input_layernorm", width: C),
                    attentionInput: .linear("\(prefix).attention.query_key_value", inputs: C, outputs: 3 * C, bias: biased),
                    attentionOutput: .linear("\(prefix).attention.dense", inputs: C, outputs: C, bias: biased),
                    norm2: NormLayout(named: "\(prefix).post_attention_layernorm", width: C),
                    feedInput: .linear("\(prefix).mlp.dense_h_to_4h", inputs: C, outputs: F),
                    feedOutput: .linear("\(prefix).mlp.dense_4h_to_h", inputs: F, outputs: C))
            },
            finalNorm: NormLayout(named: "gpt_neox.final_layer_norm", width: C),
            head: tied ? nil : .init("embed_out.weight", [vocabulary, C]))
    }
}
