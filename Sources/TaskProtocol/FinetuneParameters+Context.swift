import Encodings

extension FinetuneParameters {
    /// The context of a model that is trained from scratch, as far as its configuration tells; nil with a base model, whose row tells it.
    package var contextLength: Int? {
        switch base {
        case .model: nil
        case .namedConfig(let name): Names.contextLengths[name]
        case .config(let config): Self.contextLength(of: config)
        }
    }

    /// Where the context stands in a config.json, and what it is where it does not, by `model_type`. An architecture that is not listed is checked by
    /// the worker.
    private static let contexts: [String: (members: [String], standard: Int)] = [
        "gpt2": (["n_positions", "n_ctx", "max_position_embeddings"], 1024),
        "gpt_neo": (["max_position_embeddings", "n_positions", "n_ctx"], 2048),
        "gpt_neox": (["max_position_embeddings"], 2048),
    ]

    private static func contextLength(of config: JSONObject) -> Int? {
        let type: String
        switch config["model_type"] {
        case nil, .null?: type = "gpt2"
        case .string(let name)?: type = name
        default: return nil
        }
        guard let architecture = contexts[type] else { return nil }
        return architecture.members.lazy.compactMap { config[$0]?.intValue }.first ?? architecture.standard
    }

    /// Refuses blocks that do not fit into the model's context, before anything is stored or trained.
    /// - Parameters:
    ///   - context: how many tokens the model sees at once.
    ///   - field: what to name: where `block_size` was given.
    package func checkBlockSize(context: Int, field: String) throws(ContractError) {
        guard let blockSize, blockSize > context else { return }
        throw ContractError(
            .invalidArgument, "block_size is \(blockSize), but the model's context is \(context): give at most \(context), or leave it out",
            field: field)
    }
}
