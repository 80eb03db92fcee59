internal import TaskProtocol

/// Queues and schedules: what operators change, and what this broker makes of it at once.
extension BrokerCore {
    mutating func administered(_ request: RequestReference, _ asked: StoreRequest, _ reply: AdministrationReply) {
        finish(request, .administered(reply))
        guard case .administer(let administration) = asked, !administration.isReading else { return }
        // A queue that goes on, or a schedule that begins, need not wait for the next sweep.
        timers.sweep = nil
    }

    mutating func noteUnreadable(_ schedules: [String]) {
        for name in schedules where unreadableSchedules.insert(name).inserted { note(.scheduleUnreadable(name)) }
    }
}
