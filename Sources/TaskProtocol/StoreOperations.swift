/// One question to the durable store, or one change of it.
///
/// This enum is the whole seam between the broker's state machine and PostgreSQL: `TaskStore` answers it with transactions, a model
/// store answers it in simulation tests. Every case carries a batch, is one transaction, and may be sent again after a lost connection:
/// ids and leases are chosen by the sender, so a repetition changes nothing that already stands.
///
/// Times are milliseconds since 1970 of the *database's* clock.
package enum StoreRequest: Sendable, Equatable {
    /// Stores tasks. Each group is one client request, stored whole or refused whole. Answered by ``StoreReply/submitted(_:)``.
    ///
    /// A key that somebody's open transaction holds is waited for but shortly: several groups are then answered by ``StoreFailure/busy``, a single one
    /// by ``SubmitOutcome/busy``, and nothing was stored.
    case submit([SubmitGroup])
    /// Stores one client's submit, waiting so long for keys that are held. Answered by ``StoreReply/submitted(_:)``.
    case submitPatiently(SubmitGroup, milliseconds: Int)
    /// Leases waiting tasks of one queue to the offered slots. Answered by ``StoreReply/claimed(_:)``.
    case claim(ClaimRequest)
    /// Raises the counter of the broker's sessions. Answered by ``StoreReply/beaten(_:)``.
    case beat(BeatRequest)
    /// Ends sessions whose counter still stands where the broker saw it stand for four intervals. Answered by ``StoreReply/swept(_:)``.
    case sweep([DeadSession])
    /// Makes or renews the row of a broker process. Answered by ``StoreReply/done``.
    case registerBroker(BrokerRegistration)
    /// Removes the row of a broker that leaves. Answered by ``StoreReply/done``.
    case endBroker(BrokerID)
    /// Marks a broker idle, so that `submit()` in SQL notifies, or busy. Look once more after it. Answered by ``StoreReply/done``.
    case markIdle(broker: BrokerID, idle: Bool)
    /// Makes the session of a worker process, or adopts it where it exists. Answered by ``StoreReply/done``.
    case registerSession(SessionRegistration)
    /// A worker's goodbye: its leases are released uncounted, its session goes. Answered by ``StoreReply/swept(_:)``.
    case endSession(SessionID)
    /// The leases that stand in the store for these sessions, to compare with what workers say they hold. Answered by ``StoreReply/leases(_:)``.
    case leases([SessionID])
    /// Records finished tasks under their leases. Answered by ``StoreReply/completed(_:)``.
    case complete([Completion])
    /// Records failed attempts under their leases. Answered by ``StoreReply/settled(_:)``.
    case fail([Failure])
    /// Gives leases back without a failure. Answered by ``StoreReply/settled(_:)``.
    case release([Release])
    /// A worker has stopped a task whose cancellation was asked. Answered by ``StoreReply/settled(_:)``.
    case confirmCancel([LeaseReference])
    /// Asks for cancellation. Answered by ``StoreReply/cancelled(_:)`` or ``StoreReply/refused(_:)`` for an unknown id.
    case cancel([TaskID])
    /// Queues tasks anew that stand where they were seen to have ended, and leaves all others as they are. Answered by ``StoreReply/retried(_:)``.
    case retry([SeenEnd])
    /// Replaces what tasks show as their progress, under their leases. Answered by ``StoreReply/done``.
    case progress([ProgressUpdate])
    /// Adds logged training steps, under their leases. Answered by ``StoreReply/done``.
    case trainingSteps([TrainingStepsUpdate])
    /// Files checkpoints and resume states, under their leases. Answered by ``StoreReply/settled(_:)``: `recorded` or `stale`.
    case checkpoint([CheckpointCommit])
    /// Whole statuses, in the order asked. Answered by ``StoreReply/statuses(_:)`` or ``StoreReply/refused(_:)`` for an unknown id.
    case get([TaskID], results: Bool)
    /// Where tasks stand, in the order asked; nil for an unknown one. Answered by ``StoreReply/outlines(_:)``.
    case states([TaskID])
    /// A task's whole life. Answered by ``StoreReply/explained(_:)`` or ``StoreReply/refused(_:)`` for an unknown id.
    case explain(TaskID)
    /// Which models these references mean now, each as a task's `model` may spell it. Answered by ``StoreReply/resolvedModels(_:)``.
    case resolveModels([String])
    /// All model names. Answered by ``StoreReply/models(_:)``.
    case models
    /// All datasets. Answered by ``StoreReply/datasets(_:)``.
    case datasets
    /// Files a model under a name, replacing what the name meant. Answered by ``StoreReply/models(_:)`` with one row, or ``StoreReply/refused(_:)``.
    case registerModel(ModelRegistration)
    /// Files a dataset under a name, replacing what the name meant. Answered by ``StoreReply/datasets(_:)`` with one row, or ``StoreReply/refused(_:)``.
    case registerDataset(DatasetRegistration)
    /// What operators ask. Answered by ``StoreReply/administered(_:)`` or ``StoreReply/refused(_:)``.
    case administer(Administration)
    /// Tasks that nobody has checked or pinned yet: published in SQL, or just unblocked. Answered by ``StoreReply/unchecked(_:isCut:)``.
    /// By id, from behind the one named; nil begins anew.
    case unchecked(after: TaskID? = nil, limit: Int)
    /// Pins or fails tasks of ``unchecked(after:limit:)``. Answered by ``StoreReply/adopted(_:)``.
    case adopt([Adoption])
    /// Puts in line what has come due, makes the tasks of schedules, settles dependents, lists queues with work. Answered by ``StoreReply/due(_:)``.
    /// Of the blocked tasks it looks at those after the one named, up to a number; nil begins anew.
    case dueSweep(after: TaskID? = nil)
    /// The database's clock may have been set back: retries that would wait for longer than any does are due now. Answered by ``StoreReply/done``.
    /// - Parameter longest: the longest pause that a retry is given.
    case endBackoffs(longestMilliseconds: Int64)
    /// Makes the months of history that lie ahead, and drops those that are over for longer than they are kept, unless another broker does or has just
    /// done so. Answered by ``StoreReply/retained(_:)``.
    case retain(RetentionPolicy)
    /// Depth and age of every queue, for metrics. Answered by ``StoreReply/figures(_:)``.
    case figures
    /// What the database promises about commits. Answered by ``StoreReply/durability(_:)``.
    case durability
}

/// The answer to a ``StoreRequest``; each case mirrors one or more of its cases.
package enum StoreReply: Sendable, Equatable {
    case done
    /// One entry a group, in order.
    case submitted([SubmitOutcome])
    case claimed(ClaimReply)
    case beaten(BeatReply)
    case swept(SweepReply)
    case leases([HeldLease])
    /// One entry a completion, in order.
    case completed([SettlementReply])
    /// One entry a member, in order.
    case settled([SettlementReply])
    case cancelled([CancelReply])
    case retried([TaskOutline])
    case statuses([TaskStatus])
    case outlines([TaskOutline?])
    case explained(TaskExplanation)
    /// One entry a reference, in order: the model, or `not_found`.
    case resolvedModels([Result<ResolvedModel, ContractError>])
    case models([ModelRow])
    case datasets([DatasetRow])
    case administered(AdministrationReply)
    /// - isCut: there may be more behind the last of them: as many came as were asked for, or as much as is read at a time.
    case unchecked([UncheckedTask], isCut: Bool)
    case adopted(AdoptReply)
    case due(DueReply)
    case retained(RetentionReply)
    case figures([QueueFigures])
    case durability(Durability)
    /// The request as a whole cannot be: nothing was changed.
    case refused(ContractError)
    /// The store could not do it now.
    case failed(StoreFailure)

    /// Why the database is away, and whether something may have been committed nevertheless; nil where it answered.
    package var absence: (why: String, mayBeDone: Bool)? {
        switch self {
        case .failed(.unavailable(let why)): (why, true)
        case .failed(.unreached(let why)): (why, false)
        default: nil
        }
    }

    /// Whether a lock that was not free kept it, or a part of it, from being done.
    package var isBusy: Bool {
        switch self {
        case .failed(.busy): true
        case .submitted(let outcomes): outcomes.contains(.busy)
        default: false
        }
    }
}

/// Why the store gave no answer.
package enum StoreFailure: Error, Sendable, Equatable, CustomStringConvertible {
    /// The database is away. Nothing is known of a commit that was under way: send the same request again.
    case unavailable(String)
    /// The database is away, and no commit was asked of it. Nothing was changed.
    case unreached(String)
    /// A lock was not free in time. Nothing was changed.
    case busy
    /// The database does not take these values, which is our fault. Nothing was changed.
    case internalError(String)
    /// A database that is not as the migrations left it: the same again succeeds once somebody has mended it. Nothing was changed.
    case unfit(String)

    package var description: String {
        switch self {
        case .unavailable(let why), .unreached(let why): "the database is away: \(why)"
        case .busy: "a lock in the database was not free in time; try again"
        case .internalError(let why), .unfit(let why): "the database refused a statement: \(why)"
        }
    }
}
