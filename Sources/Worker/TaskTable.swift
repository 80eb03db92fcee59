package import TaskProtocol

/// The leases that a worker holds, in the order in which they came.
///
/// A handful of entries (at most twice the slots, and ends that nobody has recorded yet), so an array is searched from the front.
package struct TaskTable: Sendable {
    private var entries: [HeldTask] = []
    /// Leases that were lost while the engine still ran them: they take their slots until it says that it stopped.
    private var abandoned: [(lease: LeaseID, slots: Int)] = []
    /// The last leases that were forgotten, so that a grant that comes late or twice starts nothing.
    private var forgotten: [LeaseID] = []
    private var oldestForgotten = 0
    private static let forgottenCount = 1024
    /// Tasks that have ended here so far; not those that went back.
    package private(set) var endedCount = 0
    /// Those among them that took more than one slot.
    package private(set) var wideEndedCount = 0

    package init() {}

    package subscript(lease: LeaseID) -> HeldTask? { entries.first { $0.held.lease == lease } }

    /// Every lease held: waiting, running or reporting.
    package var leases: [WorkerLease] { entries.map(\.held) }
    package var waiting: [HeldTask] { entries.filter(\.isWaiting) }
    package var running: [HeldTask] { entries.filter(\.isRunning) }
    package var waitingCount: Int { entries.count { $0.isWaiting } }
    /// Waiting or running.
    package var unfinishedCount: Int { entries.count { !$0.isReporting } }
    package var unreportedCount: Int { entries.count { $0.isReporting } }
    package var isEmpty: Bool { entries.isEmpty }
    /// Nothing runs or waits.
    package var isIdle: Bool { abandoned.isEmpty && !entries.contains { !$0.isReporting } }
    package var slotsTaken: Int { entries.reduce(0) { $0 + ($1.isRunning ? $1.slots : 0) } + abandoned.reduce(0) { $0 + $1.slots } }

    /// A task that takes all slots runs or waits; not counted where such a one is `asked` for and only waits for the others' end.
    package func holdsEverything(except asked: Bool) -> Bool {
        entries.contains { !$0.isReporting && $0.demand == .everything && !(asked && $0.isWaiting) }
    }

    package func hasForgotten(_ lease: LeaseID) -> Bool { forgotten.contains(lease) }

    package mutating func add(_ grant: WorkerGrant, demand: TaskDemand) { entries.append(HeldTask(grant: grant, demand: demand)) }

    /// The next waiting task that may run is given its slots: in order, one that takes everything only when nothing else runs.
    package mutating func startNext(slots: Int, now: Milliseconds) -> WorkerGrant? {
        guard let index = entries.firstIndex(where: \.isWaiting), let grant = entries[index].grant else { return nil }
        let taken = slotsTaken
        switch entries[index].demand {
        case .everything: guard taken == 0, isNothingRunning else { return nil }
        case .sequences: guard taken < slots else { return nil }
        }
        entries[index].slots = entries[index].demand.slots(of: slots)
        entries[index].state = .running(deadline: entries[index].timeoutSeconds.map { now + Milliseconds(min($0, 1e12) * 1000) }, stopping: nil)
        entries[index].grant = nil
        return grant
    }

    private var isNothingRunning: Bool { abandoned.isEmpty && !entries.contains { $0.isRunning } }

    /// The engine has begun with it.
    package mutating func markStarted(_ lease: LeaseID) {
        guard let index = index(of: lease) else { return }
        entries[index].hasStarted = true
    }

    /// Sequences ended: the task's slots shrink.
    package mutating func shrink(_ lease: LeaseID, to sequences: Int) {
        guard let index = index(of: lease), entries[index].isRunning, case .sequences = entries[index].demand else { return }
        entries[index].slots = min(entries[index].slots, max(0, sequences))
    }

    /// Running tasks whose time is over and that were not told to stop.
    package func overdue(now: Milliseconds) -> [LeaseID] {
        entries.compactMap {
            guard case .running(let deadline?, nil) = $0.state, now >= deadline else { return nil }
            return $0.held.lease
        }
    }

    /// Notes that the engine is told to stop a task.
    /// - Returns: false where it does not run or was told so already; a drain may be outranked.
    package mutating func markStopping(_ lease: LeaseID, _ reason: StopReason) -> Bool {
        guard let index = index(of: lease), case .running(let deadline, let stopping) = entries[index].state else { return false }
        guard stopping == nil || (stopping == .draining && reason != .draining) else { return false }
        entries[index].state = .running(deadline: deadline, stopping: reason)
        return true
    }

    /// Why a running task was told to stop, nil where it was not.
    package func stopping(_ lease: LeaseID) -> StopReason? {
        guard case .running(_, let stopping) = self[lease]?.state else { return nil }
        return stopping
    }

    /// A task ended, one way or another; it is held until that is answered.
    package mutating func end(_ lease: LeaseID, with message: WorkerMessage) {
        guard let index = index(of: lease), !entries[index].isReporting else { return }
        entries[index].grant = nil
        entries[index].state = .reporting(Report(message))
        if case .release = message { return }
        endedCount += 1
        if entries[index].demand != .sequences(1) { wideEndedCount += 1 }
    }

    package mutating func addCheckpoint(_ lease: LeaseID, _ message: WorkerMessage, step: Int) {
        guard let index = index(of: lease) else { return }
        entries[index].checkpoints.append(Report(message, step: step))
    }

    package mutating func checkpointRecorded(_ lease: LeaseID, step: Int, as checkpoint: UUIDValue?) {
        guard let index = index(of: lease) else { return }
        if let checkpoint, step >= entries[index].lastCheckpointStep {
            (entries[index].lastCheckpoint, entries[index].lastCheckpointStep) = (checkpoint, step)
        }
        entries[index].checkpoints.removeAll { $0.step == step }
        entries[index].steps.recorded(upTo: step)
    }

    /// Notes how far a task is, and keeps its training steps.
    package mutating func note(_ lease: LeaseID, _ progress: WorkerProgress, _ steps: [TrainingStepRecord]) {
        guard let index = index(of: lease) else { return }
        entries[index].progress = progress
        entries[index].steps.add(steps)
    }

    /// What the joined broker is to be told of a task's progress.
    package mutating func takeProgress(_ lease: LeaseID) -> WorkerMessage? {
        guard let index = index(of: lease), let progress = entries[index].progress else { return nil }
        return .progress(entries[index].held, progress, steps: entries[index].steps.takeUntold())
    }

    /// Tasks with training steps that the joined broker has not been told.
    package var leasesWithUntoldSteps: [LeaseID] { entries.filter(\.steps.hasUntold).map(\.held.lease) }

    /// What was reported is committed.
    package mutating func recorded(_ lease: LeaseID) {
        guard let index = index(of: lease), entries[index].isReporting else { return }
        remember(lease)
        entries.remove(at: index)
    }

    /// The lease is lost.
    /// - Returns: true where the engine must be told to stop.
    package mutating func forget(_ lease: LeaseID) -> Bool {
        guard let index = index(of: lease) else { return false }
        let task = entries.remove(at: index)
        remember(lease)
        guard task.isRunning else { return false }
        abandoned.append((lease, task.slots))
        return true
    }

    /// The engine has stopped a task that was lost: its slots are free.
    package mutating func engineForgot(_ lease: LeaseID) { abandoned.removeAll { $0.lease == lease } }

    /// Another broker was joined: everything is offered to it.
    package mutating func offerAnew() {
        for index in entries.indices {
            entries[index].steps.offerAnew()
            for report in entries[index].checkpoints.indices { entries[index].checkpoints[report].offerAnew() }
            if case .reporting(var report) = entries[index].state {
                report.offerAnew()
                entries[index].state = .reporting(report)
            }
        }
    }

    /// Checkpoints first, then the end of the same task, each when it is due.
    /// - Parameter goingBack: whether ends of tasks that go back are among them.
    package mutating func dueReports(now: Milliseconds, goingBack: Bool, send: (WorkerMessage) -> Void) {
        for index in entries.indices {
            for report in entries[index].checkpoints.indices where entries[index].checkpoints[report].isDue(now: now) {
                entries[index].checkpoints[report].sent(now: now)
                send(entries[index].checkpoints[report].message)
            }
            guard entries[index].checkpoints.isEmpty, case .reporting(var report) = entries[index].state, report.isDue(now: now) else { continue }
            if !goingBack, case .release = report.message { continue }
            report.sent(now: now)
            entries[index].state = .reporting(report)
            send(entries[index].naming(report.message))
        }
    }

    private func index(of lease: LeaseID) -> Int? { entries.firstIndex { $0.held.lease == lease } }

    private mutating func remember(_ lease: LeaseID) {
        if forgotten.count < Self.forgottenCount { return forgotten.append(lease) }
        forgotten[oldestForgotten] = lease
        oldestForgotten = (oldestForgotten + 1) % Self.forgottenCount
    }
}
