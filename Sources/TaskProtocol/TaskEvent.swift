/// Something that happened to a task, as watchers and subscribers see it: the contract's Event.
package struct TaskEvent: Sendable, Equatable {
    /// What happened, with the members that only this kind of event has.
    package enum Body: Sendable, Equatable {
        case queued
        case started(worker: String?)
        /// One generated token; `text` is what became readable with it, perhaps nothing.
        case token(sample: Int, draw: Int, index: Int, tokenID: Int, text: String)
        /// One finished text; a finetune's samples carry their `step`.
        case sample(sample: Int, promptIndex: Int, draw: Int, text: String, finishReason: String?, step: Int?)
        case progress(TaskProgress)
        case checkpoint(id: CheckpointID, step: Int, uri: String, sha256: String, bytes: Int64)
        /// It waits again after an attempt that failed (`error`) or was given back (none); or it starts anew in another version of the arithmetic
        /// (`numerics`) than its first attempt, whose tokens hold no more.
        case retrying(error: ContractError?, runAt: Int64?, numerics: String? = nil)
        case succeeded
        case failed(ContractError)
        case cancelled
    }

    package var task: TaskID
    package var attempt: Int
    /// Counts from 0 within one attempt.
    package var sequence: Int64
    /// Milliseconds since 1970.
    package var at: Int64
    package var body: Body

    package init(task: TaskID, attempt: Int, sequence: Int64, at: Int64, body: Body) {
        self.task = task
        self.attempt = attempt
        self.sequence = sequence
        self.at = at
        self.body = body
    }

    /// The event's name in the contract.
    package var name: String {
        switch body {
        case .queued: "queued"
        case .started: "started"
        case .token: "token"
        case .sample: "sample"
        case .progress: "progress"
        case .checkpoint: "checkpoint"
        case .retrying: "retrying"
        case .succeeded: "succeeded"
        case .failed: "failed"
        case .cancelled: "cancelled"
        }
    }

    /// Whether nothing follows it (but a `retry`).
    package var isTerminal: Bool {
        switch body {
        case .succeeded, .failed, .cancelled: true
        default: false
        }
    }

    /// Its topic on the events endpoint.
    package var topic: String { "task.\(task)" }
}

/// How far a task is.
package struct TaskProgress: Sendable, Equatable {
    /// What its worker is at: `loading`, `encoding`, `generating`, `training`, `saving`.
    package var phase: String?
    package var step: Int
    package var numSteps: Int?
    package var loss: Double?
    package var averageLoss: Double?
    package var tokensPerSecond: Double?

    package init(
        phase: String? = nil, step: Int, numSteps: Int? = nil, loss: Double? = nil, averageLoss: Double? = nil, tokensPerSecond: Double? = nil
    ) {
        self.phase = phase
        self.step = step
        self.numSteps = numSteps
        self.loss = loss
        self.averageLoss = averageLoss
        self.tokensPerSecond = tokensPerSecond
    }
}
