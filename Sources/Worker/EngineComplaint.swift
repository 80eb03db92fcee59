import Logging
import Messaging
import TaskProtocol

/// What the keeper of this machine should know of the engine, beside what brokers are told.
enum EngineComplaint {
    /// Tasks go back because of a fault that is this machine's.
    case cannotPrepare(TaskFault)
    /// A finetune's state cannot be saved now; it goes on without, and tries again.
    case cannotSave(LeaseID, TaskFault)
    /// The model in training cannot be sampled now; it goes on without these samples.
    case cannotSample(LeaseID, TaskFault)
}

/// Writes complaints to the log, each cause once in half a minute: what goes back comes again.
struct ComplaintLog {
    let log: Logger
    private var limiter = NoteLimiter()

    init(_ log: Logger) { self.log = log }

    mutating func take(_ complaint: EngineComplaint) {
        switch complaint {
        case .cannotPrepare(let fault):
            let mend = fault.machine?.mend ?? ""
            guard let unsaid = limiter.admit(mend, now: MonotonicClock.milliseconds) else { return }
            log.error(
                "this machine cannot prepare tasks: they go back",
                metadata: ["error": "\(fault.error.message)", "mend": "\(mend)", "unsaid": "\(unsaid)"])
        case .cannotSave(let lease, let fault):
            log.error("a checkpoint cannot be saved now", metadata: ["lease": "\(lease)", "error": "\(fault.error.message)"])
        case .cannotSample(let lease, let fault):
            log.error("samples of a training were left out", metadata: ["lease": "\(lease)", "error": "\(fault.error.message)"])
        }
    }
}
