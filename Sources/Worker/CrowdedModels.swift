import TaskProtocol

/// Models that found no room in memory when they were loaded, and the one that room is made for.
///
/// A task whose model has none goes back, to be tried here again or elsewhere. Where that model is asked for again and again, the models at work would keep
/// it out for as long as there is work for them, whatever stands first in line: after a while its next task is kept, the worker takes nothing else, and
/// once what runs has ended the model has the memory to itself.
struct CrowdedModels {
    private struct Refusal {
        /// What the model takes.
        var bytes: Int
        /// Since when it is asked for in vain, again and again, and when last; nil where no task has asked.
        var since: Milliseconds?
        var last: Milliseconds = 0
    }

    /// So long a model is asked for in vain before room is made for it: what is at work may end by itself, and making room costs time of all slots.
    private static let patience: Milliseconds = 30_000
    /// A model that nobody asked for in so long begins anew. Brokers offer a task of a model that was given back again after at most some ten seconds.
    private static let memory: Milliseconds = 60_000
    private static let bound = 64

    private var refusals: [ModelIdentity: Refusal] = [:]
    /// The model that room is made for.
    private(set) var madeFor: ModelIdentity?

    /// What a model takes that had no room.
    func byteCount(of identity: ModelIdentity) -> Int? { refusals[identity]?.bytes }

    /// A model was loaded, and there was no room for so many bytes: it is not loaded again before there is some.
    mutating func hadNoRoom(_ identity: ModelIdentity, byteCount: Int) {
        if refusals[identity] == nil, refusals.count >= Self.bound { refusals = refusals.filter { $0.key == madeFor } }
        refusals[identity, default: Refusal(bytes: byteCount)].bytes = byteCount
    }

    mutating func hadRoom(_ identity: ModelIdentity) { refusals[identity] = nil }

    /// A task was given back for want of room.
    mutating func refused(_ identity: ModelIdentity, now: Milliseconds) {
        guard let refusal = refusals[identity] else { return }
        if refusal.since == nil || now - refusal.last > Self.memory { refusals[identity]?.since = now }
        refusals[identity]?.last = now
    }

    /// A task asks for a model that has no room.
    /// - Returns: whether room is made for it from now on; false where the task goes back.
    mutating func asked(_ identity: ModelIdentity, now: Milliseconds) -> Bool {
        refused(identity, now: now)
        guard madeFor == nil, let since = refusals[identity]?.since, now - since >= Self.patience else { return false }
        refusals[identity]?.since = nil
        madeFor = identity
        return true
    }

    /// The model is here, or nobody waits for it any more.
    mutating func endMaking() { madeFor = nil }
}
