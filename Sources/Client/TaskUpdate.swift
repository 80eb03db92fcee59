internal import Encodings
internal import TaskProtocol

/// What a watch tells: first where the task stands, then what happens.
public enum WatchMessage: Sendable {
    /// The task when the watch began, and again whenever it had to be renewed with another broker. Events between are not repeated.
    case status(TaskSnapshot)
    /// Something happened.
    case update(TaskUpdate)
}

/// Something that happened to a task: the contract's Event.
public struct TaskUpdate: Sendable {
    /// What happened.
    public enum Body: Sendable, Equatable {
        /// It waits.
        case queued
        /// A worker began it.
        case started
        /// One generated token and the text that became readable with it.
        case token(sample: Int, draw: Int, index: Int, tokenID: Int, text: String)
        /// One finished text; of a finetune, one that shows how far it is.
        case sample(sample: Int, promptIndex: Int, text: String, step: Int?)
        /// How far it is.
        case progress(TaskAdvance)
        /// A saved model.
        case checkpoint(id: String, step: Int, sha256: String)
        /// It waits again, after an error or without one.
        case retrying(ServiceError?)
        /// It ended well.
        case succeeded
        /// It ended with an error.
        case failed(ServiceError)
        /// It was cancelled.
        case cancelled
    }

    /// The task's UUID.
    public let task: String
    /// In which of its attempts.
    public let attempt: Int
    /// Counts from 0 within one attempt; a gap means that something was dropped.
    public let sequence: Int64
    /// RFC 3339.
    public let at: String
    /// What happened.
    public let body: Body
    /// JSON of the event.
    public let json: String

    /// Whether nothing follows.
    public var isTerminal: Bool {
        switch body {
        case .succeeded, .failed, .cancelled: true
        default: false
        }
    }

    /// Nil for an event of a later version, which is to be ignored.
    init?(_ node: Node) {
        guard let event = TaskEvent(node) else { return nil }
        task = event.task.description
        attempt = event.attempt
        sequence = event.sequence
        at = Timestamp.text(milliseconds: event.at)
        body = Body(event.body)
        json = String(decoding: node.json, as: UTF8.self)
    }
}

extension TaskUpdate.Body {
    fileprivate init(_ body: TaskEvent.Body) {
        switch body {
        case .queued: self = .queued
        case .started: self = .started
        case .token(let sample, let draw, let index, let tokenID, let text):
            self = .token(sample: sample, draw: draw, index: index, tokenID: tokenID, text: text)
        case .sample(let sample, let promptIndex, _, let text, _, let step):
            self = .sample(sample: sample, promptIndex: promptIndex, text: text, step: step)
        case .progress(let progress): self = .progress(TaskAdvance(progress))
        case .checkpoint(let id, let step, _, let sha256, _): self = .checkpoint(id: id.description, step: step, sha256: sha256)
        case .retrying(let error, _, _): self = .retrying(error.map(ServiceError.init(_:)))
        case .succeeded: self = .succeeded
        case .failed(let error): self = .failed(ServiceError(error))
        case .cancelled: self = .cancelled
        }
    }
}

extension ServiceError {
    fileprivate init(_ error: ContractError) { self.init(code: error.code.rawValue, message: error.message, field: error.field) }
}

/// How far a task is.
public struct TaskAdvance: Sendable, Equatable {
    /// What its worker is at, as `training`.
    public let phase: String?
    /// Steps done (or texts, tokens, bytes, by phase).
    public let step: Int
    /// Steps in all, where known.
    public let numSteps: Int?
    /// The last step's loss.
    public let loss: Double?
    /// The loss's moving average.
    public let averageLoss: Double?
    /// Speed.
    public let tokensPerSecond: Double?

    init(_ progress: TaskProgress) {
        phase = progress.phase
        step = progress.step
        numSteps = progress.numSteps
        loss = progress.loss
        averageLoss = progress.averageLoss
        tokensPerSecond = progress.tokensPerSecond
    }
}
