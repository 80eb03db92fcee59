import TaskProtocol

/// What the last heartbeat said of the room here.
struct SaidRoom: Sendable {
    /// ``WorkerCore/freeSlots``, less the grants since.
    var free = 0
    /// Tasks that had ended by then …
    var ended = 0
    /// … and those of several slots among them.
    var wideEnded = 0
}

/// How much more a worker takes, and what its broker makes of that.
extension WorkerCore {
    /// Nothing waits behind a finetune; else as many tasks are taken as a broker may grant between two heartbeats, one a slot and `slots` to wait.
    /// How many of them run is not the broker's to know: tasks of several sequences take more slots than one, and more of the others wait.
    func hasRoom(for demand: TaskDemand) -> Bool {
        tasks.unfinishedCount <= 2 * slots && tasks.unreportedCount <= Self.mostUnrecorded && !(tasks.holdsEverything(except: demand == .everything))
    }

    /// Ends that no broker has recorded yet, before no more work is taken.
    static let mostUnrecorded = 1024

    /// Whether anything that comes now could be run. Where no model is ready and the one that tasks wait for takes long, all that could be done with
    /// others is to give them back, each second, until it is here.
    var takesWork: Bool { drain == .working && !fitness.isResting && !isMakingRoom && !(isLoadingLong && models.isEmpty) }

    /// The engine waits for the end of what runs, so that a model has the memory; what waits goes back, or it would begin with more.
    mutating func makesRoom(_ isMaking: Bool, now: Milliseconds) {
        if isMakingRoom, !isMaking { link.hasten(now: now) }
        isMakingRoom = isMaking
        for task in tasks.waiting where isMaking {
            tasks.end(task.held.lease, with: .release(task.held, reason: .snooze, ran: false, resume: task.grant?.resume))
        }
    }

    /// Slots without a task, less the tasks that wait; `-slots` where nothing more is taken.
    var freeSlots: Int {
        guard takesWork, tasks.unreportedCount < Self.mostUnrecorded, !tasks.holdsEverything(except: false) else { return -slots }
        return max(-slots, slots - tasks.slotsTaken - tasks.waitingCount)
    }

    /// What the broker takes ``freeSlots`` for, once it has recorded every end that it was told: it counts one less for each grant since the last heartbeat,
    /// and one more for each end.
    private var countedFree: Int { said.free + tasks.endedCount - said.ended }

    /// Where the broker must believe that a task would run here at once, or would be taken at all, and that is not so (one of many sequences has begun, the
    /// machine failed), the next heartbeat comes at once: until it does, tasks come here to wait though another worker is free. So it does where an end
    /// left more room than one slot: until it does, tasks go elsewhere, where their model has to be loaded first.
    mutating func hastenWhereMiscounted(now: Milliseconds) {
        let (counted, free) = (countedFree, freeSlots)
        // What went back leaves room, too, but nobody is to hurry to send more of it.
        let isEmptier = free > max(0, counted) && tasks.wideEndedCount > said.wideEnded
        if counted > 0 && free <= 0 || isEmptier || !takesWork && counted > -slots { link.hasten(now: now) }
    }
}
