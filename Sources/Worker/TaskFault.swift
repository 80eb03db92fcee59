import ArtifactStore
import Datasets
import Generation
import LanguageModels
import ModelFiles
package import TaskProtocol
import Tokenizers
import Training

/// Why an attempt failed, and whether another could succeed.
package struct TaskFault: Error, Sendable, Equatable {
    package var error: ContractError
    /// No retry can mend it: bad parameters, too large, not a number.
    package var isFinal: Bool
    /// An artifact that the service should have is not in the store: nothing can be said without it.
    var isMissingArtifact = false
    /// Where this machine and not the task is at fault: another machine may run it, so it goes back uncounted.
    var machine: MachineFault?

    package init(_ code: ErrorCode, _ message: String, field: String? = nil, isFinal: Bool) {
        error = ContractError(code, message, field: field)
        self.isFinal = isFinal
    }

    /// What another worker, or the next try, may do better.
    static func transient(_ message: String) -> TaskFault { TaskFault(.internalError, message, isFinal: false) }

    static func invalid(_ message: String, field: String) -> TaskFault { TaskFault(.invalidArgument, message, field: field, isFinal: true) }

    /// An artifact that nobody stored: it will not come by trying again.
    static func missing(_ sha256: String, field: String) -> TaskFault {
        TaskFault(.notFound, "the artifact \(sha256.prefix(12))… is not in the store", field: field, isFinal: true)
    }

    static func model(_ message: String) -> TaskFault { TaskFault(.modelError, message, isFinal: true) }
}

extension TaskFault {
    /// - Parameter hasPromptList: whether the task named its prompts as `prompts`, which decides how the field is called.
    init(_ error: GenerationError, hasPromptList: Bool) {
        switch error {
        case .promptTooLong(let index, _, _, _):
            self = .invalid(error.description, field: hasPromptList ? "params.prompts[\(index)]" : "params.prompt")
        case .tooLarge: self.init(.tooLarge, error.description, field: error.field.map { "params.\($0)" }, isFinal: true)
        case .notANumber, .model: self = .model(error.description)
        default: self.init(.invalidArgument, error.description, field: error.field.map { "params.\($0)" }, isFinal: true)
        }
    }

    init(_ error: TrainingError) {
        switch error {
        case .option(let name, _): self = .invalid(error.description, field: "params.\(name)")
        case .datasetTooShort: self = .invalid(error.description, field: "params.dataset")
        case .tokenOutOfRange: self = .invalid(error.description, field: "params.tokenizer")
        case .notFinite, .wrongTensor, .cannotSample: self = .model(error.description)
        case .unsupported: self = .invalid(error.description, field: "params.config")
        case .outOfMemory: self.init(.tooLarge, error.description, isFinal: true)
        case .cannotResume: self = .transient(error.description)
        case .files(let error): self.init(error)
        }
    }

    init(_ error: ModelFileError) {
        switch error.reason {
        case .missing, .unreadable, .occupied: self = .transient(error.description)
        case .malformed, .unsupported: self = .model(error.description)
        }
    }

    /// - Parameters:
    ///   - digest: the artifact that did not come.
    ///   - field: the parameter that named it by its digest; nil where the service itself knew of it, and so must have it.
    init(_ error: TransferError, artifact digest: String, field: String? = nil) {
        if let field, case .artifact(.missing) = error {
            self = .missing(digest, field: field)
        } else {
            self = .transient("the artifact \(digest.prefix(12))… cannot be laid out: \(error)")
            guard case .artifact(let problem) = error else { return }
            if case .missing = problem { isMissingArtifact = true }
            machine = problem.machineFault(digest)
        }
    }

    init(_ error: ModelError) {
        self = .model(error.description)
    }

    /// - Parameter field: the parameter that named the tokenizer.
    init(_ error: TokenizerError, field: String) {
        switch error {
        case .unreadable, .unwritable, .stopped: self = .transient(error.description)
        case .malformed, .unsupported, .notUTF8: self = .invalid(error.description, field: field)
        }
    }
}
