internal import Encodings

/// One client request of `submit`: all of its items are stored, or none.
package struct SubmitGroup: Sendable, Equatable {
    package var items: [SubmitItem]
    /// Who publishes, for fairness: a CURVE public key, an API key's digest, or empty.
    package var client: String

    package init(items: [SubmitItem], client: String = "") {
        self.items = items
        self.client = client
    }

    /// Whether it meets what others' transactions may hold open: a key, or a task of its `after`.
    package var mayMeetLocks: Bool { items.contains { $0.submission.key != nil || !$0.submission.after.isEmpty } }
}

/// One task to be stored under an id chosen beforehand.
package struct SubmitItem: Sendable, Equatable {
    package var id: TaskID
    package var submission: TaskSubmission
    /// The seed of all attempts: the submitted one, or one drawn by the broker.
    package var seed: Int64?
    /// Whether the broker drew ``seed``.
    package var seedAssigned: Bool
    /// Claim at insert: lease the task in the same transaction, where its session still exists and nothing holds the task back.
    package var grant: GrantOffer?

    package init(id: TaskID, submission: TaskSubmission, seed: Int64?, seedAssigned: Bool, grant: GrantOffer? = nil) {
        self.id = id
        self.submission = submission
        self.seed = seed
        self.seedAssigned = seedAssigned
        self.grant = grant
    }
}

/// A free slot and the lease that would fill it.
package struct GrantOffer: Sendable, Equatable {
    package var session: SessionID
    package var lease: LeaseID
    package var broker: BrokerID

    package init(session: SessionID, lease: LeaseID, broker: BrokerID) {
        self.session = session
        self.lease = lease
        self.broker = broker
    }
}

/// What became of one ``SubmitGroup``.
package enum SubmitOutcome: Sendable, Equatable {
    /// All of it is committed; one entry an item, in order.
    case accepted([SubmittedTask])
    /// Nothing of it is stored. `error.field` starts at the item: `params.model`, `after[0]`, `key`.
    case refused(item: Int, error: ContractError)
    /// A key is held by a transaction still open: nothing of it is stored.
    case busy
}

/// One accepted task.
package struct SubmittedTask: Sendable, Equatable {
    /// The task's id: the item's, or that of the first task with its key.
    package var id: TaskID
    package var state: TaskState
    package var duplicate: Bool
    package var queue: String
    /// Where it stands in line (milliseconds); falls below a broker's low-water mark only for late ranks.
    package var rank: Int64
    /// The grant that was asked, where it was made and still stands.
    package var grant: Grant?

    package init(id: TaskID, state: TaskState, duplicate: Bool, queue: String, rank: Int64, grant: Grant? = nil) {
        self.id = id
        self.state = state
        self.duplicate = duplicate
        self.queue = queue
        self.rank = rank
        self.grant = grant
    }
}

/// A lease that is committed, with all that its worker needs.
package struct Grant: Sendable, Equatable {
    package var task: TaskID
    package var lease: LeaseID
    package var session: SessionID
    /// The number of this start, from 1.
    package var attempt: Int
    /// Failed attempts so far, for the back-off of the next.
    package var failures: Int
    package var kind: TaskKind
    package var queue: String
    /// Whether it must run with no batch mates, having been lost with its worker twice.
    package var isolated: Bool
    package var maxAttempts: Int
    package var timeoutSeconds: Double?
    /// The canonical JSON of `ResolvedTask`.
    package var resolved: [UInt8]
    /// JSON of the last resume state of a finetune.
    package var resume: [UInt8]?
    /// How long the task had been due when the lease was made, by the database's clock: since its `run_at` or the end of its last attempt.
    /// Nil for a lease that was only read back: whoever made it has counted that.
    package var waitedMilliseconds: Int64?
    /// The version of the arithmetic that it starts anew in, where no live worker computes in that of its first attempt any more.
    package var newNumerics: String?
    /// Its model as workers announce it, where whoever leased it looked. A finetune keeps no model in memory for others.
    package var modelKey: String?

    package init(
        task: TaskID, lease: LeaseID, session: SessionID, attempt: Int, failures: Int, kind: TaskKind, queue: String, isolated: Bool,
        maxAttempts: Int, timeoutSeconds: Double?, resolved: [UInt8], resume: [UInt8]?, waitedMilliseconds: Int64? = nil, newNumerics: String? = nil
    ) {
        self.newNumerics = newNumerics
        self.task = task
        self.lease = lease
        self.session = session
        self.attempt = attempt
        self.failures = failures
        self.kind = kind
        self.queue = queue
        self.isolated = isolated
        self.maxAttempts = maxAttempts
        self.timeoutSeconds = timeoutSeconds
        self.resolved = resolved
        self.resume = resume
        self.waitedMilliseconds = waitedMilliseconds
    }
}

/// A task that waits for its check: published in SQL, or unblocked by the last task of its `after`.
package struct UncheckedTask: Sendable, Equatable {
    package var id: TaskID
    /// JSON of the task's map, as a client would have sent it; from SQL anything.
    package var given: [UInt8]
    /// Some member did not fit its column: ``given`` is all that is left of it.
    package var isMisfit: Bool
    /// The seed, where one was stored already.
    package var seed: Int64?
    package var seedAssigned: Bool

    package init(id: TaskID, given: [UInt8], isMisfit: Bool = false, seed: Int64?, seedAssigned: Bool) {
        self.id = id
        self.given = given
        self.isMisfit = isMisfit
        self.seed = seed
        self.seedAssigned = seedAssigned
    }

    /// Checks it by the very rules for a client's task, its errors naming `priority`, `params.top_p`, …
    package func checked() throws(ContractError) -> TaskSubmission {
        let submission = try TaskSubmission.decode(ContractError.parse(json: given).root, path: .stored)
        guard !isMisfit else { throw ContractError(.invalidArgument, "a member of this task has a form that the database cannot hold") }
        return submission
    }
}

/// The broker's verdict on an ``UncheckedTask``.
package enum Adoption: Sendable, Equatable {
    /// Valid: once those in `after` have succeeded, resolve its names and put it in line. Names that cannot be resolved fail it.
    case accept(task: TaskID, parameters: TaskParameters, after: [TaskID] = [], seed: Int64?, seedAssigned: Bool)
    /// Not valid: it ends `failed` with this error.
    case reject(task: TaskID, error: ContractError)

    /// The task that it is about.
    package var task: TaskID {
        switch self {
        case .accept(let task, _, _, _, _), .reject(let task, _): task
        }
    }
}

/// What became of adopted tasks.
package struct AdoptReply: Sendable, Equatable {
    /// Tasks now in line, with their queue and rank.
    package var ready: [ReadyTask]
    /// Tasks that ended `failed`, also dependents of them.
    package var ended: [EndedTask]
    /// How many were checked and wait for their time, or for others.
    package var setAside: Int

    package init(ready: [ReadyTask], ended: [EndedTask], setAside: Int = 0) {
        self.ready = ready
        self.ended = ended
        self.setAside = setAside
    }

    /// Whether nothing was checked at all.
    package var isEmpty: Bool { ready.isEmpty && ended.isEmpty && setAside == 0 }
}

/// A task that stands in line.
package struct ReadyTask: Sendable, Equatable {
    package var task: TaskID
    package var queue: String
    package var rank: Int64

    package init(task: TaskID, queue: String, rank: Int64) {
        self.task = task
        self.queue = queue
        self.rank = rank
    }
}

/// A task that ended by the store's own doing.
package struct EndedTask: Sendable, Equatable {
    package var task: TaskID
    package var attempt: Int
    package var state: TaskState
    package var error: ContractError?

    package init(task: TaskID, attempt: Int, state: TaskState, error: ContractError?) {
        self.task = task
        self.attempt = attempt
        self.state = state
        self.error = error
    }
}
