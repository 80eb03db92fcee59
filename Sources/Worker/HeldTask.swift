package import TaskProtocol

/// A task that this worker holds the lease of.
package struct HeldTask: Sendable, Equatable {
    /// The diagram: waiting → running → reporting → (forgotten); a waiting task may go straight to reporting.
    package enum State: Sendable, Equatable {
        /// In the worker's queue: no slot is free yet.
        case waiting
        /// The engine has it. `stopping` is set once it was told to stop.
        case running(deadline: Milliseconds?, stopping: StopReason?)
        /// Its end is reported again and again until a broker answers `recorded` or `stale`.
        case reporting(Report)
    }

    package let held: WorkerLease
    package let demand: TaskDemand
    package let timeoutSeconds: Double?
    /// What the engine is given; dropped once it ended.
    package var grant: WorkerGrant?
    package var state = State.waiting
    /// The engine's first sequence or step has begun; each broker joined is told.
    package var hasStarted = false
    /// Slots taken while it runs.
    package var slots = 0
    /// Checkpoints not yet acknowledged, in order; the end is reported only after them.
    package var checkpoints: [Report] = []
    /// The id of the last checkpoint that was recorded, and its step.
    package var lastCheckpoint: UUIDValue?
    package var lastCheckpointStep = -1
    /// How far it was last said to be; what is told again goes with it.
    package var progress: WorkerProgress?
    package var steps = KeptSteps()

    package init(grant: WorkerGrant, demand: TaskDemand) {
        held = grant.held
        self.demand = demand
        timeoutSeconds = grant.timeoutSeconds
        self.grant = grant
    }

    /// A completion names the last checkpoint, whose id only its acknowledgement told.
    package func naming(_ message: WorkerMessage) -> WorkerMessage {
        guard case .complete(let held, let generations, let result, nil) = message, let lastCheckpoint else { return message }
        return .complete(held, generations: generations, result: result, checkpoint: lastCheckpoint)
    }

    package var isWaiting: Bool { state == .waiting }

    package var isRunning: Bool {
        guard case .running = state else { return false }
        return true
    }

    package var isReporting: Bool {
        guard case .reporting = state else { return false }
        return true
    }
}

/// A message that is repeated until it is answered: at once after joining a broker, else after 2, 4, 8 … 30 seconds.
package struct Report: Sendable, Equatable {
    package let message: WorkerMessage
    /// The step, where it is a checkpoint.
    package let step: Int?
    private var dueAt: Milliseconds = 0
    private var wait: Milliseconds = 2000
    private static let longestWait: Milliseconds = 30_000

    package init(_ message: WorkerMessage, step: Int? = nil) {
        self.message = message
        self.step = step
    }

    package func isDue(now: Milliseconds) -> Bool { now >= dueAt }

    /// Notes that it was sent now.
    package mutating func sent(now: Milliseconds) {
        dueAt = now + wait
        wait = min(wait * 2, Self.longestWait)
    }

    /// Another broker was joined: it has not heard it.
    package mutating func offerAnew() {
        dueAt = 0
        wait = 2000
    }
}

/// What a task needs of a worker.
package enum TaskDemand: Sendable, Equatable {
    /// So many sequences, each a slot while it runs.
    case sequences(Int)
    /// All slots, with nothing beside it.
    case everything

    /// - Parameter resolved: canonical JSON of a resolved task.
    /// - Throws: `ContractError` where it cannot be read.
    package init(resolved: [UInt8]) throws(ContractError) {
        let task = try ResolvedTask.decode(resolved)
        switch task.parameters {
        case .generate(let parameters): self = .sequences(max(1, parameters.sequenceCount(texts: parameters.textCount)))
        // It reads one text at a time, beside whatever runs.
        case .verify: self = .sequences(1)
        case .finetune: self = .everything
        }
    }

    /// Slots that it takes in a worker of `slots`.
    package func slots(of slots: Int) -> Int {
        switch self {
        case .sequences(let count): min(count, slots)
        case .everything: slots
        }
    }
}
