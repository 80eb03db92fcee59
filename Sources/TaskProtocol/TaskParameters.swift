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

    /// The seed as submitted; nil where one is to be assigned. A `verify` has none.
    package var seed: Int64? {
        switch self {
        case .generate(let parameters): parameters.seed
        case .finetune(let parameters): parameters.seed
        case .verify: nil
        }
    }

    /// The names of the parameters that this task sets: a worker that runs it must know all of them.
    package static let knownNames: [String] = (GenerateParameters.names + FinetuneParameters.names + VerifyParameters.names).uniqued()
}

extension [String] {
    fileprivate func uniqued() -> [String] {
        var seen = Set<String>()
        return filter { seen.insert($0).inserted }.sorted()
    }
}
