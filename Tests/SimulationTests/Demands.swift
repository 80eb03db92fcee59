import Synchronization
import TaskProtocol
import Worker

/// What tasks need, read once for each different one: reading it again in every history takes a tenth of the time.
enum Demands {
    private static let known = Mutex<[[UInt8]: TaskDemand]>([:])

    static func of(_ grant: WorkerGrant) throws -> TaskDemand {
        if let demand = known.withLock({ $0[grant.resolved] }) { return demand }
        let demand = try TaskDemand(resolved: grant.resolved)
        known.withLock { $0[grant.resolved] = demand }
        return demand
    }
}
