/// What workers and brokers say to each other: two enums, one message a case.
///
/// On the wire a message is one MessagePack map with `"m"` naming its kind (docs/worker-protocol.md); a map longer than
/// ``WorkerProtocol/maximumFrameBytes`` travels in several frames, which the receiver joins. Nothing here is trusted: identities of
/// sockets mean nothing, a message names its session or its lease, and the lease decides.
package enum WorkerProtocol {
    /// The version a worker announces; a broker refuses one that it does not speak.
    package static let version = 1
    /// A longer message is sent in several frames.
    package static let maximumFrameBytes = 16 << 20
    /// How often both sides show that they live.
    package static let heartbeatMilliseconds = 1000
}

/// A lease as a worker lists it when it joins: what it still runs, holds queued, or has finished without being told `recorded`.
package struct WorkerLease: Sendable, Hashable {
    package var task: TaskID
    package var lease: LeaseID
    package var attempt: Int

    package init(task: TaskID, lease: LeaseID, attempt: Int) {
        self.task = task
        self.lease = lease
        self.attempt = attempt
    }
}

/// Where workers reach a broker.
package struct BrokerAddress: Sendable, Hashable {
    /// Its workers endpoint.
    package var endpoint: String
    /// Its CURVE public key, for which the broker that names it vouches.
    package var publicKey: String?

    package init(endpoint: String, publicKey: String? = nil) {
        self.endpoint = endpoint
        self.publicKey = publicKey
    }
}

/// Who a worker is and what it can run.
package struct WorkerRegistration: Sendable, Equatable {
    package var protocolVersion: Int
    package var session: SessionID
    package var host: String
    package var pid: Int
    package var version: String
    /// One version a precision, as `float32/1`.
    package var numerics: [String]
    package var instructionSet: String
    package var threads: Int
    /// Sequences that run at once; a finetune takes all.
    package var slots: Int
    /// Names of the parameters that it knows: a task goes only to a worker that knows all of its own. Empty where it does not say.
    package var parameters: [String]
    /// Keys of the models in memory (``Precision/modelKey(checkpoint:)``): routing prefers them.
    package var models: [String]
    package var leases: [WorkerLease]
    /// Rises with each broker that the worker tries: what it says to one outranks what it said to those before, however late that comes. 0 where it does
    /// not say.
    package var epoch: Int

    package init(
        protocolVersion: Int = WorkerProtocol.version, session: SessionID, host: String, pid: Int, version: String, numerics: [String],
        instructionSet: String, threads: Int, slots: Int, parameters: [String], models: [String] = [], leases: [WorkerLease] = [],
        epoch: Int = 0
    ) {
        self.protocolVersion = protocolVersion
        self.session = session
        self.host = host
        self.pid = pid
        self.version = version
        self.numerics = numerics
        self.instructionSet = instructionSet
        self.threads = threads
        self.slots = slots
        self.parameters = parameters
        self.models = models
        self.leases = leases
        self.epoch = epoch
    }
}

/// A worker's sign of life, each second, with what the broker needs to grant and to notice a lost grant.
package struct WorkerHeartbeat: Sendable, Equatable {
    package var session: SessionID
    /// Rises by one a heartbeat.
    package var sequence: UInt64
    package var leasesCount: Int
    /// Of the leases held now, in any order: ``WorkerLeases/hash(_:)``.
    package var leasesHash: UInt64
    /// Slots not running anything now, minus tasks waiting in the worker; below zero means that tasks wait.
    package var freeSlots: Int
    /// Nothing runs or waits: a finetune may come.
    package var idle: Bool
    package var models: [String]
    package var draining: Bool

    package init(
        session: SessionID, sequence: UInt64, leasesCount: Int, leasesHash: UInt64, freeSlots: Int, idle: Bool, models: [String], draining: Bool
    ) {
        self.session = session
        self.sequence = sequence
        self.leasesCount = leasesCount
        self.leasesHash = leasesHash
        self.freeSlots = freeSlots
        self.idle = idle
        self.models = models
        self.draining = draining
    }
}

/// How both sides reduce a set of leases to one number.
package enum WorkerLeases {
    /// The exclusive or of both halves of each id, mixed (SplitMix64's finaliser), so that order does not matter.
    package static func hash(_ leases: some Sequence<LeaseID>) -> UInt64 {
        leases.reduce(0) { $0 ^ mixed($1.hi &+ 0x9E37_79B9_7F4A_7C15 &* ($1.lo | 1)) }
    }

    private static func mixed(_ value: UInt64) -> UInt64 {
        var z = value
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
}

/// Something that happened to a running task, for those who watch it. The broker adds task, attempt, `seq` and time.
package enum WorkerEvent: Sendable, Equatable {
    /// One generated token, as the contract's `token`; `text` is empty while a UTF-8 sequence is incomplete.
    case token(sample: Int, draw: Int, index: Int, tokenID: Int, text: String)
    /// One finished text; a finetune's samples carry their step in `step`.
    case sample(sample: Int, promptIndex: Int, draw: Int, text: String, finishReason: String, step: Int?)
}

/// How far a task is: its sign of life against `stall_s`, and what `progress` shows.
package struct WorkerProgress: Sendable, Equatable {
    /// What the worker is at.
    package enum Phase: String, Sendable, CaseIterable { case loading, encoding, generating, training, saving, verifying }

    package var phase: Phase
    /// Bytes, texts, tokens or steps so far, by phase; it rises while the task lives.
    package var done: Int
    package var total: Int?
    package var loss: Double?
    package var averageLoss: Double?
    package var tokensPerSecond: Double?

    package init(phase: Phase, done: Int, total: Int? = nil, loss: Double? = nil, averageLoss: Double? = nil, tokensPerSecond: Double? = nil) {
        self.phase = phase
        self.done = done
        self.total = total
        self.loss = loss
        self.averageLoss = averageLoss
        self.tokensPerSecond = tokensPerSecond
    }
}

/// Why a worker gives a task back, uncounted.
package enum ReleaseReason: String, Sendable, CaseIterable {
    /// SIGTERM.
    case draining
    /// Memory is short or its model is still loading while others wait.
    case snooze
    /// This worker does not know one of its parameters.
    case unsupported
}

/// A task handed to a worker under a lease.
package struct WorkerGrant: Sendable, Equatable {
    package var task: TaskID
    package var lease: LeaseID
    package var attempt: Int
    /// Canonical JSON of the ``ResolvedTask``.
    package var resolved: [UInt8]
    /// Bounds the attempt from its start.
    package var timeoutSeconds: Double?
    /// Without a sign of life for so long the lease lapses.
    package var stallSeconds: Double
    /// It runs with nothing beside it: it was lost with its worker twice.
    package var alone: Bool
    /// Canonical JSON that the worker of an earlier attempt made to go on from.
    package var resume: [UInt8]?

    package init(
        task: TaskID, lease: LeaseID, attempt: Int, resolved: [UInt8], timeoutSeconds: Double? = nil, stallSeconds: Double = 60,
        alone: Bool = false, resume: [UInt8]? = nil
    ) {
        self.task = task
        self.lease = lease
        self.attempt = attempt
        self.resolved = resolved
        self.timeoutSeconds = timeoutSeconds
        self.stallSeconds = stallSeconds
        self.alone = alone
        self.resume = resume
    }

    /// The lease as every message about it names it.
    package var held: WorkerLease { WorkerLease(task: task, lease: lease, attempt: attempt) }
}

/// From worker to broker.
package enum WorkerMessage: Sendable, Equatable {
    /// Joins, or answers `register_please`; lists every lease held.
    case register(WorkerRegistration)
    case heartbeat(WorkerHeartbeat)
    /// Ends the session at once; sent only when no lease is held.
    case goodbye(session: SessionID)
    /// A grant arrived.
    case confirm(session: SessionID, lease: LeaseID)
    /// The first sequence or step of the task runs.
    case started(WorkerLease)
    case event(WorkerLease, events: [WorkerEvent])
    /// A sign of life; `steps` are rows for `training_steps`.
    case progress(WorkerLease, WorkerProgress, steps: [TrainingStepRecord])
    /// A saved state; without a record only a resume state. Repeated until `checkpoint_recorded` or `stale`.
    case checkpoint(WorkerLease, step: Int, record: CheckpointRecord?, resume: [UInt8]?)
    /// The task succeeded. `result` is JSON of what the other relations do not hold, `checkpoint` the id that the finetune's last
    /// checkpoint was recorded under. Repeated until `recorded` or `stale`.
    case complete(WorkerLease, generations: [GenerationRecord], result: [UInt8]?, checkpoint: UUIDValue?)
    /// The attempt failed; `final` forbids another. Repeated until `recorded` or `stale`.
    case failed(WorkerLease, error: ContractError, final: Bool)
    /// The task goes back, uncounted; `ran` says whether it had been started. Repeated until `recorded` or `stale`.
    case release(WorkerLease, reason: ReleaseReason, ran: Bool, resume: [UInt8]?)
    /// The task stopped because of `cancel`. Repeated until `recorded` or `stale`.
    case cancelled(WorkerLease)
    /// A part of an artifact to keep or to give; answered under the same number by ``BrokerMessage/artifact(number:_:)``. Sent over a connection of
    /// its own, on which nothing else is said, so that no heartbeat ever waits behind an artifact.
    case artifact(number: Int64, ArtifactOperation)
    /// Asks which model a reference means now, as it stands in a task's `model`; answered under the same number by
    /// ``BrokerMessage/resolved(number:_:)``, to a session that has joined. The answer may be lost: the worker asks again.
    case resolve(session: SessionID, number: Int, model: String)

    /// The lease whose task this reports on; nil where it is about the session or an artifact.
    package var reportedLease: LeaseID? {
        switch self {
        case .started(let held), .event(let held, _), .progress(let held, _, _), .checkpoint(let held, _, _, _), .complete(let held, _, _, _),
            .failed(let held, _, _), .release(let held, _, _, _), .cancelled(let held):
            held.lease
        case .register, .heartbeat, .goodbye, .confirm, .artifact, .resolve: nil
        }
    }

    /// The session in whose name it is said, where it names one.
    package var namedSession: SessionID? {
        switch self {
        case .heartbeat(let beat): beat.session
        case .goodbye(let session), .confirm(let session, _), .resolve(let session, _, _): session
        case .register, .started, .event, .progress, .checkpoint, .complete, .failed, .release, .cancelled, .artifact: nil
        }
    }

    /// Whether it holds all of a task's result, so that nothing which was reported before has to be known: not so a training's, which its steps belong to.
    package var standsAlone: Bool {
        guard case .complete(_, _, _, let checkpoint) = self else { return false }
        return checkpoint == nil
    }
}

/// From broker to worker.
package enum BrokerMessage: Sendable, Equatable {
    /// Answers `register`; said again where there are `peers` that the worker was not told of: other brokers, to go to should this one fall silent.
    case welcome(broker: BrokerID, heartbeatMilliseconds: Int, peers: [BrokerAddress] = [])
    /// The broker does not know this session: register (again), with the leases held.
    case registerPlease
    /// `beatsOK`: the database acknowledged this broker's last beats.
    case heartbeat(beatsOK: Bool)
    case grant(WorkerGrant)
    /// Stop this task at its next token or step.
    case cancel(lease: LeaseID)
    /// What was reported under this lease is committed: forget it.
    case recorded(lease: LeaseID)
    /// The state of this step is committed; `checkpoint` is its id where it was a checkpoint.
    case checkpointRecorded(lease: LeaseID, step: Int, checkpoint: UUIDValue?)
    /// The lease is no longer this worker's: stop and forget.
    case stale(lease: LeaseID)
    /// Go to a peer, best first; the leases go along.
    case leave(peers: [BrokerAddress])
    /// Answers ``WorkerMessage/artifact(number:_:)``.
    case artifact(number: Int64, ArtifactAnswer)
    /// Answers ``WorkerMessage/resolve(session:number:model:)``: the model, or why there is none now.
    case resolved(number: Int, Result<ResolvedModel, ContractError>)
}
