import Synchronization
import TaskProtocol

/// What the engine's thread is told.
enum EngineCommand: Sendable {
    /// Prepare and run a task.
    case start(WorkerGrant)
    /// Stop a task at its next token or step, and say so.
    case stop(LeaseID, StopReason)
    /// Take a model into memory and let it make one token.
    case preload(Preload)
    /// A model that was asked for is in memory, or cannot be.
    case modelLoaded(ModelIdentity, Result<LoadedModel, TaskFault>)
    /// How far the loading of a model is, from its beginning on: bytes that came, then hundredths of what was loaded.
    case modelLoading(ModelIdentity, WorkerProgress)
    /// What a finetune needs is there, or cannot be.
    case finetunePrepared(LeaseID, Result<PreparedFinetune, TaskFault>)
    /// How far a finetune's preparation is.
    case finetunePreparing(LeaseID, WorkerProgress)
    /// The process ends.
    case end
}

/// What the loader's thread is asked for.
enum LoadJob: Sendable {
    case model(ResolvedModel, Precision)
    case finetune(LeaseID, ResolvedTask, resume: ResumeReference?, stop: StopFlag)
    case end
}

/// Raised once, seen by the thread that prepares a task in vain.
final class StopFlag: Sendable {
    private let raised = Atomic<Bool>(false)

    func raise() { raised.store(true, ordering: .relaxed) }
    var isRaised: Bool { raised.load(ordering: .relaxed) }
}
