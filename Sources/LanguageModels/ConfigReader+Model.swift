package import Encodings
package import Kernels

/// The members that every architecture has, under whatever name.
extension ConfigReader {
    /// The names of activations that occur in published files; two pairs are one formula.
    private static let activations: [String: Activation] = [
        "gelu_new": .geluNew, "gelu_fast": .geluNew, "gelu_pytorch_tanh": .geluNew, "gelu": .gelu, "relu": .relu, "silu": .silu, "swish": .silu,
        "quick_gelu": .quickGelu, "tanh": .tanh, "linear": .linear,
    ]

    /// An activation by its name in transformers; the name itself goes into the digest.
    package func activation(_ key: String, default standard: String) throws(ModelError) -> (name: String, function: Activation) {
        let name = try string(key) ?? standard
        guard let function = Self.activations[name] else {
            throw .badConfig(
                key: key, reason: "is '\(name.prefix(64))', not one of \(Self.activations.keys.sorted().joined(separator: ", "))")
        }
        return (name, function)
    }

    /// A LayerNorm's epsilon: above 0 as fp32 too.
    package func epsilon(_ key: String) throws(ModelError) -> Double {
        let epsilon = try double(key, default: 1e-5)
        guard epsilon > 0, Float(epsilon) > 0 else { throw .badConfig(key: key, reason: "is not above 0") }
        return epsilon
    }

    /// Sigma of fresh weights.
    package func initializerRange() throws(ModelError) -> Double {
        let range = try double("initializer_range", default: 0.02)
        guard range >= 0 else { throw .badConfig(key: "initializer_range", reason: "is below 0") }
        return range
    }
}

/// The ids that begin and end a text: generation_config.json goes before config.json, and where neither names them, transformers' defaults
/// for the architecture hold. Null there means that there is none.
package struct TokenIDs: Sendable, Equatable {
    package let bos: Int32?
    package let eos: [Int32]

    /// - Parameters:
    ///   - defaults: transformers' for the architecture, left out where `rows` has none of them.
    package init(config: ConfigReader, generation: JSONObject?, rows: Int, defaults: (bos: Int32, eos: Int32)) throws(ModelError) {
        var bos: Int32?
        var eos: [Int32]?
        for reader in [generation.map(ConfigReader.init), config] {
            guard let reader else { continue }
            if bos == nil { bos = try reader.tokenIDs("bos_token_id", rows: rows)?.first }
            if eos == nil { eos = try reader.tokenIDs("eos_token_id", rows: rows) }
        }
        if bos == nil, !config.has("bos_token_id"), defaults.bos < rows { bos = defaults.bos }
        if eos == nil, !config.has("eos_token_id"), defaults.eos < rows { eos = [defaults.eos] }
        self.bos = bos
        self.eos = eos ?? []
    }
}
