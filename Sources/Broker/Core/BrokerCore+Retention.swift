internal import TaskProtocol

/// The months of history, which one of the brokers makes ahead and drops at a time: the store says which.
extension BrokerCore {
    /// Looks, where it is time to.
    mutating func tendHistory() {
        guard now >= timers.nextRetention, !lanes.isBusy(.retain) else { return }
        timers.nextRetention = now + settings.retentionInterval
        lanes.add(.retain, to: .retain)
    }

    mutating func retained(_ reply: RetentionReply) {
        for month in reply.dropped { note(.monthDropped(month)) }
        if reply.hasMore { timers.nextRetention = now + settings.sweepInterval }
        guard reply.looked else { return }
        for month in reply.busy where busyMonths.insert(month).inserted { note(.monthBusy(month)) }
        busyMonths.formIntersection(reply.busy)
        // What holds a month may change from look to look: a line for each month, until it is free.
        for held in reply.held where heldMonths.insert(held.month).inserted { note(.monthHeld(held)) }
        heldMonths.formIntersection(reply.held.map(\.month))
        for refused in reply.refused where refusedMonths.insert(refused.month).inserted { note(.monthRefused(refused)) }
        refusedMonths.formIntersection(reply.refused.map(\.month))
        if !reply.busy.isEmpty { timers.nextRetention = min(timers.nextRetention, now + settings.retentionRepeat) }
    }

    /// A look that a lock or an outage kept from its end comes again soon.
    mutating func retentionFailed() { timers.nextRetention = now + settings.retentionRepeat }
}
