import TaskProtocol

/// What is wrong with this machine, and whether it takes work all the same: fit → resting, until a time → fit again, on trial.
///
/// Where nothing can be prepared, tasks go back within milliseconds, so to a broker the worker looks like the idlest of all and would be handed the next
/// ones every second. It takes nothing for a while instead; then what it is given is the next trial. One that has a model in memory never rests: it still
/// serves that, and brokers keep tasks of a model away from whoever gave one back. Nor does a worker rest for one artifact alone, which may be the one
/// that is at fault, or too large for the room that is left: others may well come.
///
/// A value that is told the time.
struct MachineFitness: Sendable {
    /// Short at first: a hiccup passes. Longer where nothing has started since.
    static let shortestPause: Milliseconds = 10_000
    static let longestPause: Milliseconds = 120_000

    /// What its keeper has to mend; nil while it takes work.
    private(set) var mend: String?
    /// It takes nothing.
    var isResting: Bool { mend != nil }
    private var restsUntil: Milliseconds = 0
    private var pause = Self.shortestPause
    /// The artifacts that could not be had since something started: that they fail again says nothing new.
    private var suspects: Set<String> = []
    private static let mostSuspects = 64

    /// A task could not be prepared. Several that fail in one pause were one trial.
    /// - Parameter isServing: whether there are tasks that need nothing prepared.
    mutating func failed(_ fault: MachineFault, isServing: Bool, now: Milliseconds) {
        let isGeneral = concernsAll(fault)
        guard !isServing, !isResting, isGeneral else { return }
        (mend, restsUntil) = (fault.mend, now + pause)
        pause = min(2 * pause, Self.longestPause)
    }

    /// So does the second artifact that fails, and each further one.
    private mutating func concernsAll(_ fault: MachineFault) -> Bool {
        guard let artifact = fault.artifact else { return true }
        if suspects.count >= Self.mostSuspects { suspects = [] }
        return suspects.insert(artifact).inserted && suspects.count > 1
    }

    /// A task has started: whatever is wrong does not concern everything, so the next pause is a short one again.
    mutating func started() {
        pause = Self.shortestPause
        suspects = []
    }

    mutating func advance(now: Milliseconds) { if now >= restsUntil { mend = nil } }
}

/// What a worker does about its machine's faults.
extension WorkerCore {
    /// The one that failed goes back like any that has no room here, and with it what waits for the same artifact; where the worker rests, all that waits.
    /// Those in the engine stay: some run, and the others are found out about anyway.
    mutating func becomeUnfit(_ fault: MachineFault, now: Milliseconds) {
        fitness.failed(fault, isServing: !models.isEmpty, now: now)
        for task in tasks.waiting where fitness.isResting || task.grant?.needs(fault.artifact) == true {
            tasks.end(task.held.lease, with: .release(task.held, reason: .snooze, ran: false, resume: task.grant?.resume))
        }
    }
}

extension WorkerGrant {
    /// Whether the task cannot be prepared without an artifact; not where nobody says which one.
    fileprivate func needs(_ artifact: String?) -> Bool {
        guard let artifact, let task = try? ResolvedTask.decode(resolved) else { return false }
        let datasets = (task.dataset.map { [$0] } ?? task.datasets).map(\.sha256)
        return task.model?.manifest == artifact || task.tokenizer?.sha256 == artifact || datasets.contains(artifact)
    }
}
