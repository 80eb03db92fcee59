extension ModelStore {
    /// A guard of the store's statements that is left out on purpose. A simulation that does not find what then goes wrong would not find it in the
    /// real statements either.
    package enum Mutation: String, CaseIterable, Sendable {
        /// A completion counts although the task's lease is another, or none.
        case completionUnderOldLease
        case failureUnderOldLease
        case releaseUnderOldLease
        case checkpointUnderOldLease
        /// A broker's own decision over a lease counts though its session has joined another since.
        case decisionOfFormerBroker
        /// A registration that comes late takes a session back to the broker that it has left.
        case joiningWhereItWas
        /// A submit that is sent again inserts its task anew though it has ended meanwhile.
        case endedTaskInsertedAgain
        /// A retry that is sent again undoes an end that came later.
        case retryOfAnotherEnd
        /// Two tasks may have one key.
        case keyOfManyTasks
        /// A task is leased to a session that has ended.
        case leaseWithoutSession
        /// A claim takes what runs elsewhere.
        case claimOfRunningTask
        /// A claim leases what it saw in line, though somebody took it since.
        case claimOfTakenTask
        /// A session is swept although it has beaten since it was looked at.
        case sweepOfBeatingSession
        /// A session ends, and its leases stay.
        case sessionEndedWithoutItsLeases
    }
}
