internal import Measures
internal import TaskProtocol

/// How long tasks wait and run, as operators see it in `/metrics`.
extension BrokerCore {
    /// A task began to run: it has waited from when it was due until now.
    mutating func measureStart(_ id: LeaseID) {
        guard let lease = leases[id], let waited = lease.waitedBeforeGrant else { return }
        counters.queueWait.record(Double(waited + now - lease.since) / 1_000, [lease.queue])
    }

    /// An attempt that ran has ended. Called before its lease is forgotten. One that began under another broker is not measured: nobody here saw
    /// its start.
    mutating func measureEnd(_ id: LeaseID, _ outcome: String) {
        guard let lease = leases[id], lease.waitedBeforeGrant != nil, case .running(let since) = lease.phase else { return }
        counters.taskDuration.record(Double(now - since) / 1_000, [lease.kind.rawValue, outcome])
    }

    /// What the store made of an end, in the words of `attempts.outcome`. A stale or fenced write ended nothing.
    mutating func measure(_ work: StoreWork, _ reply: SettlementReply) {
        if reply.settlement == .stale || reply.settlement == .fenced { return }
        switch work {
        case .complete(let completion, _): measureEnd(completion.lease, "succeeded")
        case .fail(let failure, _): measureEnd(failure.lease, failure.cause.rawValue)
        case .release(let release, _): measureEnd(release.lease, "released")
        case .confirmCancel(let reference, _): measureEnd(reference.lease, "cancelled")
        default: break
        }
    }
}
