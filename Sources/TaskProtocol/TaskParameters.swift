/// The parameters of a task, checked.
package enum TaskParameters: Sendable, Equatable {
    case generate(GenerateParameters)
    case finetune(FinetuneParameters)
    case verify(VerifyParameters)

    /// What the task does.
    package var kind: TaskKind {
        switch self {
        case .generate: .generate
        case .finetune: .finetune
        case .verify: .verify
        }
    }

    /// The model that it runs on or begins with, as submitted: a name, `name@step`, an id or a digest.
    package var modelName: String? {
        switch self {
        case .generate(let parameters): parameters.model
        case .finetune(let parameters): parameters.model
        case .verify: nil
        }
    }

    /// The seed as submitted; nil where one is to be assigned. A `verify` has none.
    package var seed: Int64? {
        switch self {
        case .generate(let parameters): parameters.seed
        case .finetune(let parameters): parameters.seed
        case .verify: nil
        }
    }

    /// Whether a seed is assigned where none is given. A `verify` draws nothing of its own.
    package var needsSeed: Bool { kind != .verify }

    /// What a generate's model is rounded to. A finetune's precision is another thing: its weights stay float32.
    package var precision: Precision {
        if case .generate(let parameters) = self { parameters.precision } else { .float32 }
    }

    /// The parameters that workers of this version know, as they announce them, so that a later broker keeps tasks with others for workers that can
    /// run them.
    package static let knownNames: [String] = Set(GenerateParameters.names + FinetuneParameters.names + VerifyParameters.names).sorted()
}
