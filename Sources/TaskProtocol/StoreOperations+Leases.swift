/// A scan of one queue for work that the offered slots can take.
package struct ClaimRequest: Sendable, Equatable {
    package var broker: BrokerID
    package var queue: String
    package var offers: [PlacementOffer]
    /// Leases to hand out; as many as tasks may be claimed.
    package var leases: [LeaseID]
    /// The rank to start at (the broker's low-water mark); nil scans all.
    package var fromRank: Int64?
    /// Scans only behind this place, because a whole window before it found none that can be placed; instead of `fromRank`.
    package var behind: LinePosition?
    /// Candidates looked at, at most (the window: 1,000).
    package var limit: Int
    /// The client whose task was leased last: the next in turn comes first.
    package var lastClient: String?
    /// Where the window is full, look behind it, too, for clients that have nothing in it.
    package var looksFarther: Bool
    /// What models cost, by key, where it is known.
    package var costs: [String: ModelCost]

    package init(
        broker: BrokerID, queue: String, offers: [PlacementOffer], leases: [LeaseID], fromRank: Int64?, behind: LinePosition? = nil, limit: Int,
        lastClient: String? = nil, looksFarther: Bool = false, costs: [String: ModelCost] = [:]
    ) {
        self.costs = costs
        self.behind = behind
        self.lastClient = lastClient
        self.looksFarther = looksFarther
        self.broker = broker
        self.queue = queue
        self.offers = offers
        self.leases = leases
        self.fromRank = fromRank
        self.limit = limit
    }
}

/// A place in a queue's line, which is ordered by rank, then by task.
package struct LinePosition: Sendable, Equatable, Comparable {
    package var rank: Int64
    package var task: TaskID

    package static func < (first: LinePosition, second: LinePosition) -> Bool { (first.rank, first.task) < (second.rank, second.task) }

    package init(rank: Int64, task: TaskID) {
        self.rank = rank
        self.task = task
    }
}

/// What a scan found.
package struct ClaimReply: Sendable, Equatable {
    package var queue: String
    package var grants: [Grant]
    /// The scan ended before its limit: every waiting task from `fromRank` on was seen.
    package var exhausted: Bool
    /// The rank up to which nothing waits any more for this broker: its next low-water mark. Nil: keep the old one.
    package var lowWater: Int64?
    /// The last place of a window behind which others may stand; nil where not all of it could be looked at, or no room was left.
    package var lastSeen: LinePosition?
    /// Candidates that no offer could take.
    package var unplaced: Int
    /// The queue is paused, or at its `max_running`.
    package var heldBack: Bool
    /// The client whose task was leased last.
    package var lastClient: String?
    /// The session that is left to become idle for a task that needs all of one.
    package var keptFree: SessionID?
    /// As much was leased as may be, though there are slots: whether one has to be left was not looked at to the end.
    package var ranOut: Bool

    package init(
        queue: String, grants: [Grant], exhausted: Bool, lowWater: Int64?, lastSeen: LinePosition? = nil, unplaced: Int, heldBack: Bool,
        lastClient: String? = nil, keptFree: SessionID? = nil, ranOut: Bool = false
    ) {
        self.lastSeen = lastSeen
        self.ranOut = ranOut
        self.lastClient = lastClient
        self.keptFree = keptFree
        self.queue = queue
        self.grants = grants
        self.exhausted = exhausted
        self.lowWater = lowWater
        self.unplaced = unplaced
        self.heldBack = heldBack
    }
}

/// A lease by all of its names; a write that differs in one of them changes nothing.
package struct LeaseReference: Sendable, Hashable {
    package var task: TaskID
    package var lease: LeaseID
    package var session: SessionID?
    package var attempt: Int

    package init(task: TaskID, lease: LeaseID, session: SessionID? = nil, attempt: Int) {
        self.task = task
        self.lease = lease
        self.session = session
        self.attempt = attempt
    }
}

/// A lease that stands in the store.
package struct HeldLease: Sendable, Equatable {
    package var grant: Grant
    package var cancelRequested: Bool

    package init(grant: Grant, cancelRequested: Bool) {
        self.grant = grant
        self.cancelRequested = cancelRequested
    }
}

/// A finished task with all of its rows.
package struct Completion: Sendable, Equatable {
    package var task: TaskID
    package var lease: LeaseID
    package var attempt: Int
    /// JSON of what no other relation holds: a finetune's figures, a verdict; nil for a generate.
    package var result: [UInt8]?
    package var generations: [GenerationRecord]
    /// Ids of ``generations``, in their order, carrying the database's time.
    package var generationIDs: [UUIDValue]
    /// For a finetune: the checkpoint (filed before) that its output name is to mean.
    package var modelCheckpoint: UUIDValue?

    package init(
        task: TaskID, lease: LeaseID, attempt: Int, result: [UInt8]? = nil, generations: [GenerationRecord] = [], generationIDs: [UUIDValue] = [],
        modelCheckpoint: UUIDValue? = nil
    ) {
        self.task = task
        self.lease = lease
        self.attempt = attempt
        self.result = result
        self.generations = generations
        self.generationIDs = generationIDs
        self.modelCheckpoint = modelCheckpoint
    }
}

/// A failed attempt.
package struct Failure: Sendable, Equatable {
    /// How the attempt ended, as `attempts.outcome` says it.
    package enum Cause: String, Sendable, Equatable { case failed, timedOut = "timed_out", lost }

    package var task: TaskID
    package var lease: LeaseID
    package var attempt: Int
    package var error: ContractError
    package var cause: Cause
    /// No retry can mend it.
    package var final: Bool
    /// How long a retry waits.
    package var delayMilliseconds: Int64
    /// Of the session, where a broker decided so by itself; nil where the worker reported it.
    package var epoch: Int?

    package init(
        task: TaskID, lease: LeaseID, attempt: Int, error: ContractError, cause: Cause, final: Bool, delayMilliseconds: Int64,
        epoch: Int? = nil
    ) {
        self.task = task
        self.lease = lease
        self.attempt = attempt
        self.error = error
        self.cause = cause
        self.final = final
        self.delayMilliseconds = delayMilliseconds
        self.epoch = epoch
    }
}

/// A lease given back, uncounted.
package struct Release: Sendable, Equatable {
    package var task: TaskID
    package var lease: LeaseID
    package var attempt: Int
    /// Why, for people: `draining`, `snooze`, `undelivered`.
    package var reason: String
    /// JSON to resume from, where the worker made one.
    package var resume: [UInt8]?
    /// How long it stays out of line (a snooze); 0 puts it back at once.
    package var delayMilliseconds: Int64
    /// Of the session, where a broker decided so by itself; nil where the worker reported it.
    package var epoch: Int?

    package init(
        task: TaskID, lease: LeaseID, attempt: Int, reason: String, resume: [UInt8]? = nil, delayMilliseconds: Int64 = 0, epoch: Int? = nil
    ) {
        self.task = task
        self.lease = lease
        self.attempt = attempt
        self.reason = reason
        self.resume = resume
        self.delayMilliseconds = delayMilliseconds
        self.epoch = epoch
    }
}

/// What a write under a lease did to its task.
package enum Settlement: Sendable, Equatable {
    /// It is recorded, and the task is in this state for good (a checkpoint: `running`).
    case recorded(TaskState, ContractError?)
    /// The same write under the same lease was recorded before; the task's state now.
    case alreadyRecorded(TaskState, ContractError?)
    /// The task waits again, from this time on.
    case requeued(ReadyTask, runAtMilliseconds: Int64)
    /// The lease is not the task's any more: nothing changed; kept as `superseded` where the attempt is known.
    case stale
    /// The lease stands, but its session has joined another broker than the one that decided this by itself: nothing changed.
    case fenced
}

/// A settlement and what it brought about elsewhere.
package struct SettlementReply: Sendable, Equatable {
    package var settlement: Settlement
    /// Tasks that this end unblocked and that now wait for their check.
    package var unblocked: Int
    /// Dependents that ended with it.
    package var ended: [EndedTask]

    package init(settlement: Settlement, unblocked: Int = 0, ended: [EndedTask] = []) {
        self.settlement = settlement
        self.unblocked = unblocked
        self.ended = ended
    }
}

/// The answer to one id of a cancel.
package struct CancelReply: Sendable, Equatable {
    package var task: TaskID
    package var state: TaskState
    package var attempt: Int
    /// It became `cancelled` with this request.
    package var changed: Bool
    /// The lease to be stopped, where it runs.
    package var running: LeaseReference?

    package init(task: TaskID, state: TaskState, attempt: Int, changed: Bool, running: LeaseReference?) {
        self.task = task
        self.state = state
        self.attempt = attempt
        self.changed = changed
        self.running = running
    }
}

package struct ProgressUpdate: Sendable, Equatable {
    package var task: TaskID
    package var lease: LeaseID
    /// JSON object.
    package var progress: [UInt8]

    package init(task: TaskID, lease: LeaseID, progress: [UInt8]) {
        self.task = task
        self.lease = lease
        self.progress = progress
    }
}

package struct TrainingStepsUpdate: Sendable, Equatable {
    package var task: TaskID
    package var lease: LeaseID
    /// A resumed run begins after this step: rows of later steps go first.
    package var discardAfter: Int?
    package var steps: [TrainingStepRecord]

    package init(task: TaskID, lease: LeaseID, discardAfter: Int? = nil, steps: [TrainingStepRecord]) {
        self.task = task
        self.lease = lease
        self.discardAfter = discardAfter
        self.steps = steps
    }
}

/// A checkpoint made by a running finetune, or only its resume state.
package struct CheckpointCommit: Sendable, Equatable {
    package var task: TaskID
    package var lease: LeaseID
    package var attempt: Int
    /// The checkpoint's id, carrying the database's time; of no meaning without ``record``.
    package var id: UUIDValue
    package var record: CheckpointRecord?
    /// JSON to resume from.
    package var resume: [UInt8]?

    package init(task: TaskID, lease: LeaseID, attempt: Int, id: UUIDValue, record: CheckpointRecord?, resume: [UInt8]?) {
        self.task = task
        self.lease = lease
        self.attempt = attempt
        self.id = id
        self.record = record
        self.resume = resume
    }
}
