package import Encodings

/// What a client asks, checked.
package enum Operation: Sendable, Equatable {
    case ping
    case submit(SubmitRequest)
    case get(ids: [TaskID], results: Bool)
    case wait(task: TaskID, timeoutMilliseconds: Int)
    case watch(task: TaskID)
    /// Ends the watch that the request of this id began.
    case unwatch(RequestID)
    case cancel(ids: [TaskID])
    case retry(ids: [TaskID])
    case explain(task: TaskID)
    case models
    case datasets
    /// The registration's `checkpointID` is all zero: the broker chooses it.
    case registerModel(ModelRegistration)
    case registerDataset(DatasetRegistration)
    /// `queues`, `queue`, `schedules`, `schedule`, `unschedule`.
    case administer(Administration)
    /// `put` and `fetch`: only ever in MessagePack.
    case artifact(ArtifactOperation)

    /// The op's name in the contract, for logs and metrics.
    package var name: String {
        switch self {
        case .ping: "ping"
        case .submit: "submit"
        case .get: "get"
        case .wait: "wait"
        case .watch: "watch"
        case .unwatch: "unwatch"
        case .cancel: "cancel"
        case .retry: "retry"
        case .explain: "explain"
        case .models: "models"
        case .datasets: "datasets"
        case .registerModel, .registerDataset: "register"
        case .administer(.queues): "queues"
        case .administer(.setQueue): "queue"
        case .administer(.schedules): "schedules"
        case .administer(.setSchedule): "schedule"
        case .administer(.removeSchedule): "unschedule"
        case .artifact(.put): "put"
        case .artifact(.fetch): "fetch"
        }
    }
}

/// The tasks of one `submit`: all are accepted, or none.
package struct SubmitRequest: Sendable, Equatable {
    package var tasks: [TaskSubmission]
    /// Whether the request named a single `task`: errors of its resolution are then `task.params.model`, else `tasks[0].params.model`.
    package var isSingle: Bool
    /// Whether the task's events follow the reply.
    package var watch: Bool

    package init(tasks: [TaskSubmission], isSingle: Bool, watch: Bool) {
        self.tasks = tasks
        self.isSingle = isSingle
        self.watch = watch
    }

    /// Where the task of this index stands in the request.
    package func path(_ index: Int) -> TaskPath { isSingle ? .task : .tasks(index) }
}

/// What a client calls its request; a reply repeats it.
package enum RequestID: Sendable, Hashable {
    case none
    case string(String)
    case integer(Int64)

    /// The longest string.
    package static let maximumBytes = 256
}

/// A request as far as it could be read: even a refused one says how and under which id to answer.
package struct Request: Sendable, Equatable {
    package var encoding: PayloadEncoding
    package var id: RequestID
    package var operation: Result<Operation, ContractError>

    package init(encoding: PayloadEncoding, id: RequestID, operation: Result<Operation, ContractError>) {
        self.encoding = encoding
        self.id = id
        self.operation = operation
    }

    /// Limits of the contract for one request.
    package enum Limits {
        package static let requestBytes = 16 << 20
        package static let replyBytes = 64 << 20
        package static let ids = 10_000
        package static let tasks = 10_000
        package static let waitMilliseconds: ClosedRange<Int64> = 0...3_600_000
        package static let defaultWaitMilliseconds = 30_000
    }
}
