package import Encodings
import ModelFiles

/// Builds a model's description from its configuration. A new architecture is a file that conforms and a line in
/// ``Architectures/all``.
package protocol Architecture: Sendable {
    /// What `model_type` says in config.json, and the name in the checkpoint's digest.
    static var name: String { get }

    /// Reads and checks config.json.
    /// - Parameters:
    ///   - config: config.json's members; unknown ones are left alone.
    ///   - generation: generation_config.json's members where that file exists: its token ids go first.
    /// - Throws: ``ModelError/badConfig(key:reason:)`` naming the key.
    static func describe(config: ConfigReader, generation: JSONObject?) throws(ModelError) -> ModelDescription
}

/// The architectures this program knows.
package enum Architectures {
    /// The registry.
    package static let all: [any Architecture.Type] = [GPT2.self, GPTNeo.self, GPTNeoX.self]

    /// The keys of the sizes for which transformers has defaults, whatever the architecture.
    private static let sizes = [
        "vocab_size", "n_positions", "max_position_embeddings", "n_embd", "hidden_size", "n_layer", "num_layers", "num_hidden_layers", "n_head",
        "num_heads", "num_attention_heads", "intermediate_size",
    ]

    /// The description of what config.json configures. A file without `model_type` (older exports) is GPT-2's.
    /// - Throws: ``ModelError/unknownArchitecture(_:known:)`` or what the architecture finds wrong.
    package static func describe(config: JSONObject, generation: JSONObject? = nil) throws(ModelError) -> ModelDescription {
        let reader = ConfigReader(config)
        let name = try reader.string("model_type") ?? GPT2.name
        guard let architecture = all.first(where: { $0.name == name }) else {
            throw .unknownArchitecture(String(name.prefix(64)), known: all.map { $0.name })
        }
        var description = try architecture.describe(config: reader, generation: generation)
        description.assumed = sizes.filter { description.digestKeys[$0] != nil && ModelConfig.value($0, in: config) == nil }
        return description
    }
}
