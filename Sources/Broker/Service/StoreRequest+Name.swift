internal import TaskProtocol

extension StoreRequest {
    /// A word for metrics.
    var name: String {
        switch self {
        case .submit, .submitPatiently: "submit"
        case .claim: "claim"
        case .beat: "beat"
        case .sweep: "sweep"
        case .registerBroker, .endBroker, .markIdle: "broker"
        case .registerSession, .endSession: "session"
        case .leases: "leases"
        case .complete: "complete"
        case .fail: "fail"
        case .release: "release"
        case .confirmCancel, .cancel: "cancel"
        case .retry: "retry"
        case .progress: "progress"
        case .trainingSteps: "training_steps"
        case .checkpoint: "checkpoint"
        case .get: "get"
        case .states: "states"
        case .explain: "explain"
        case .resolveModels: "resolve"
        case .models, .datasets, .registerModel, .registerDataset: "catalogue"
        case .administer: "administer"
        case .unchecked, .adopt: "adopt"
        case .dueSweep: "due"
        case .endBackoffs: "end_backoffs"
        case .retain: "retain"
        case .figures, .durability: "figures"
        }
    }
}
