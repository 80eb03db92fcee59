/// What the contract promises and this version does not do: the one list of it. Each is refused with `invalid_argument`, never ignored.
///
/// To add a feature, remove its line here.
enum NotYetSupported {
    /// Kinds of tasks that are known and refused.
    static let kinds: Set<TaskKind> = [.verify]
    /// Parameters of a finetune that may only be absent.
    static let finetuneMembers: Set<FinetuneField> = [.lora, .crossTrain]
    /// Ways to name a dataset that are known and refused.
    static let datasetMembers: Set<String> = ["merge", "equalize"]
    /// Named configurations that are known and refused.
    static let configs: Set<String> = ["gpt-neo-cpu"]

    /// A parameter and the value of it that is refused.
    struct Refusal {
        let field: String
        let what: String?
    }

    /// The first parameter whose value asks for something that comes later; nil where all can be done.
    static func refusal(_ parameters: GenerateParameters) -> Refusal? {
        if parameters.numBeams > 1 { return Refusal(field: "num_beams", what: "above 1") }
        if parameters.rng != .philox { return Refusal(field: "rng", what: "\"\(parameters.rng.rawValue)\"") }
        if parameters.precision != .float32 { return Refusal(field: "precision", what: "\"\(parameters.precision.rawValue)\"") }
        if parameters.slidingWindow { return Refusal(field: "sliding_window", what: nil) }
        if parameters.schema { return Refusal(field: "schema", what: nil) }
        if parameters.schemaTokens != nil { return Refusal(field: "schema_tokens", what: nil) }
        if parameters.schemaReturn != nil { return Refusal(field: "schema_return", what: nil) }
        if parameters.cleanUpTokenizationSpaces { return Refusal(field: "clean_up_tokenization_spaces", what: nil) }
        return nil
    }

    /// The same of a finetune.
    static func refusal(_ parameters: FinetuneParameters) -> Refusal? {
        if parameters.precision != .float32 { return Refusal(field: "precision", what: "\"\(parameters.precision.rawValue)\"") }
        if case .namedConfig(let name) = parameters.base, configs.contains(name) { return Refusal(field: "config", what: "\"\(name)\"") }
        return nil
    }
}
