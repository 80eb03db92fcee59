import Synchronization
import TaskProtocol
import Worker

/// What the tasks of one history need, each read once: workers ask at every grant and every start.
final class Demands: Sendable {
    private let known = Mutex<[TaskID: TaskDemand]>([:])

    func of(_ grant: WorkerGrant) throws -> TaskDemand {
        if let demand = known.withLock({ $0[grant.task] }) { return demand }
        let demand = try TaskDemand(resolved: grant.resolved)
        known.withLock { $0[grant.task] = demand }
        return demand
    }
}
