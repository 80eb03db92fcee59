internal import Encodings
internal import TaskProtocol

/// A request as its answer needs it: where it goes, under which id, in which encoding.
struct RequestReference: Sendable {
    var address: ClientAddress
    var id: RequestID
    var encoding: PayloadEncoding
}

/// One client's submit on its way into the store.
struct PendingSubmit: Sendable {
    var request: RequestReference
    var group: SubmitGroup
    /// `task` was given, not `tasks`: error fields begin so.
    var isSingle: Bool
    /// The watch that came with it.
    var watcher: Int?
    var byteCount: Int
    /// Set once a key was found held: it goes alone, and is `busy` when that is still so at this time.
    var heldUntil: Int64?
    /// An earlier sending may have been committed: what holds the key may be that very one, so that it is never `busy`, and is sent until it is known.
    var isUncertain = false

    var hasKey: Bool { group.items.contains { $0.submission.key != nil } }
    var mayMeetLocks: Bool { group.mayMeetLocks }
}

/// What a status is read for.
enum StatusPurpose: Sendable {
    case get(RequestReference)
    /// For a wait or watch, by its number.
    case watcher(Int)
}

struct StatusRead: Sendable {
    var ids: [TaskID]
    var results: Bool
    var purpose: StatusPurpose
}

/// A worker's question which model a reference means, and where the answer goes.
struct ModelQuestion: Sendable {
    var session: SessionID
    /// The worker's own: the answer repeats it.
    var number: Int
    /// As a task's `model` may spell it.
    var model: String
    var address: [UInt8]
}

/// One thing that the store is to do, with what its answer is for.
enum StoreWork: Sendable {
    case submit(PendingSubmit)
    case claim(queue: String, reserved: [PlacementOffer])
    case beat
    case due
    case endBackoffs
    case figures
    case retain
    case durability
    case unchecked
    case sweep([DeadSession])
    case registerBroker(BrokerRegistration)
    case endBroker
    case mark(idle: Bool)
    case registerSession(SessionRegistration)
    case endSession(SessionID)
    /// - Parameter joins: it comes behind the registration of the one that is asked for.
    case leases([SessionID], asked: Int64, joins: Bool)
    case complete(Completion, from: [UInt8])
    case fail(Failure, from: [UInt8]?)
    case release(Release, from: [UInt8]?)
    case confirmCancel(LeaseReference, from: [UInt8])
    case checkpoint(CheckpointCommit, step: Int, from: [UInt8])
    case cancel(RequestReference, [TaskID])
    /// Looks where tasks that are to be retried stand: the retry names the ends that were seen, so that it can be sent again.
    case lookBeforeRetry(RequestReference, [TaskID])
    case retry(RequestReference, [SeenEnd])
    case read(StatusRead)
    case outlines([TaskID])
    case progress(ProgressUpdate)
    case steps(TrainingStepsUpdate)
    case catalogue(RequestReference, StoreRequest)
    case adopt([Adoption])
    case resolve(ModelQuestion)

    /// Works of equal kind can share a transaction; nil: each goes alone.
    var batchKind: Int? {
        switch self {
        case .submit(let submit): submit.heldUntil == nil ? 1 : nil
        case .complete: 2
        case .fail: 3
        case .release: 4
        case .confirmCancel: 5
        case .checkpoint: 6
        case .read(let read): read.results ? 7 : 8
        case .progress: 9
        case .steps: 10
        case .resolve: 11
        default: nil
        }
    }

    /// How much of a batch it is: tasks and bytes.
    var weight: (tasks: Int, bytes: Int) {
        switch self {
        case .submit(let submit): (submit.group.items.count, submit.byteCount)
        case .complete(let completion, _): (1, completion.generations.reduce(256) { $0 + $1.text.utf8.count + 8 * $1.tokenIDs.count + 1_024 })
        case .read(let read): (read.ids.count, 0)
        default: (1, 256)
        }
    }

    /// Whether it goes again, the very same, where its outcome is unknown. What only reads, or comes again by itself, does not; nor does a claim, whose
    /// candidates would be others by then: what it may have leased comes to light when the leases are compared.
    var isRepeatedWhenAway: Bool {
        switch self {
        case .claim, .beat, .due, .endBackoffs, .figures, .durability, .retain, .unchecked, .leases, .read, .outlines, .lookBeforeRetry, .mark,
            .resolve, .catalogue(_, .models), .catalogue(_, .explain):
            false
        case .catalogue(_, .administer(let administration)): !administration.isReading
        default: true
        }
    }

    /// In which of its epochs it says in the store that a session has joined here; nil where it says nothing of it under that key.
    func registers(_ session: SessionID, under key: String?) -> Int? {
        guard case .registerSession(let registration) = self, registration.session == session, registration.publicKey == key else { return nil }
        return registration.epoch
    }

    /// Whether a client waits for its answer, and can be told that nothing was done.
    var isOfClient: Bool {
        switch self {
        case .submit, .cancel, .lookBeforeRetry, .retry, .read, .catalogue: true
        default: false
        }
    }

    /// Whether it was sent before, with an outcome that is not known yet.
    var isUncertain: Bool { if case .submit(let submit) = self { submit.isUncertain } else { false } }

    /// The same, once its outcome is not known.
    var uncertain: StoreWork {
        guard case .submit(var submit) = self else { return self }
        submit.isUncertain = true
        return .submit(submit)
    }

    /// Whether it waits for a lock that was not free, rather than being refused as `busy`. A worker says by itself again that it joins, and the end of
    /// a session is asked for again with the next sweep: others that come and go are not to wait with them.
    var waitsForLocks: Bool {
        switch self {
        case .submit, .cancel, .lookBeforeRetry, .retry, .read, .catalogue, .claim, .beat, .due, .endBackoffs, .figures, .durability, .retain,
            .unchecked, .adopt, .registerSession, .endSession, .leases, .outlines, .resolve:
            false
        default: true
        }
    }

    /// The lease whose training it is about, if it is about any: works of one lease keep their order.
    var trainedLease: LeaseID? {
        switch self {
        case .steps(let update): update.lease
        case .checkpoint(let commit, _, _): commit.lease
        default: endsLease
        }
    }

    /// Whether leases that its lost answer told of are known to nobody here.
    var mayHideLeases: Bool {
        switch self {
        case .claim, .leases: true
        default: false
        }
    }

    /// The lease that it ends, if it ends one.
    var endsLease: LeaseID? {
        switch self {
        case .complete(let completion, _): completion.lease
        case .fail(let failure, _): failure.lease
        case .release(let release, _): release.lease
        case .confirmCancel(let reference, _): reference.lease
        default: nil
        }
    }
}
