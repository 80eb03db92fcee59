import TaskProtocol

/// Whether this machine can prepare tasks at all: fit → unfit, until a time → fit again, on trial.
///
/// A worker whose disk is full or whose store is not mounted gives each task back within milliseconds, so to a broker it looks like the idlest of all
/// and would be handed the same tasks again every second. It takes nothing for a while instead; then what it is given is the next trial.
///
/// A value that is told the time.
struct MachineFitness: Sendable {
    /// Short at first: a hiccup passes, and a worker may still serve the models that it has in memory. Longer where nothing has started since.
    static let shortestPause: Milliseconds = 10_000
    static let longestPause: Milliseconds = 120_000

    /// What its keeper has to mend; nil while it takes work.
    private(set) var mend: String?
    private var until: Milliseconds = 0
    private var pause = Self.shortestPause

    /// A task could not be prepared. Several that fail in one pause were one trial.
    mutating func failed(_ mend: String, now: Milliseconds) {
        guard self.mend == nil else { return }
        (self.mend, until) = (mend, now + pause)
        pause = min(2 * pause, Self.longestPause)
    }

    /// A task has started: whatever is wrong does not concern everything, so the next pause is a short one again.
    mutating func started() { pause = Self.shortestPause }

    mutating func advance(now: Milliseconds) { if now >= until { mend = nil } }
}

/// What a worker does about its machine's faults.
extension WorkerCore {
    /// The tasks that wait go elsewhere, as would the one that failed: it goes back like any that has no room here. Those in the engine stay: some run,
    /// and the others are found out about anyway.
    mutating func becomeUnfit(_ mend: String, now: Milliseconds) {
        fitness.failed(mend, now: now)
        for task in tasks.waiting {
            tasks.end(task.held.lease, with: .release(task.held, reason: .snooze, ran: false, resume: task.grant?.resume))
        }
    }

    /// Whether anything that comes now could be run. Where no model is ready and the one that tasks wait for takes long, all that could be done with
    /// others is to give them back, each second, until it is here.
    var takesWork: Bool { drain == .working && fitness.mend == nil && !(isLoadingLong && models.isEmpty) }
}
