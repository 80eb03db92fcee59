import Encodings

extension FinetuneParameters {
    /// The context of a model that is trained from scratch, as far as its configuration tells; nil with a base model, whose row tells it.
    package var contextLength: Int? {
        switch base {
        case .model: nil
        case .namedConfig(let name): Names.contextLengths[name]
        case .config(let config): ["n_positions", "n_ctx", "max_position_embeddings"].lazy.compactMap { config[$0]?.intValue }.first
        }
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
