/// What a schedule does about ticks that passed while no broker looked.
package enum Misfire: String, Sendable, Equatable, CaseIterable {
    /// One task for all of them, named by the last.
    case one
    /// None.
    case skip
    /// One task each.
    case all
}

/// What is to be done for one schedule now: the ticks that get a task, and the next time to look. Pure: the database's time is a parameter.
package struct SchedulePlan: Sendable, Equatable {
    /// Nominal times of the tasks to be made, in order.
    package var ticks: [Int64]
    /// The nominal time of the next one; in the past where ``limit`` cut the list short.
    package var next: Int64?

    /// A tick that is found so late was missed; a sweep comes every second.
    static let grace: Int64 = 60_000
    /// Tasks made at once, at most.
    package static let limit = 1_000

    /// - Parameters:
    ///   - next: the nominal time that was noted; nil where nobody has looked yet, which makes no task.
    ///   - now: the database's time.
    package init(_ cron: CronExpression, misfire: Misfire, next: Int64?, now: Int64) {
        guard let next else {
            self.init(ticks: [], next: cron.next(after: now))
            return
        }
        guard next <= now else {
            self.init(ticks: [], next: next)
            return
        }
        let last = max(next, cron.last(atOrBefore: now) ?? next)
        switch misfire {
        case .one: self.init(ticks: [last], next: cron.next(after: now))
        case .skip: self.init(ticks: now - last <= Self.grace ? [last] : [], next: cron.next(after: now))
        case .all:
            var ticks = [next]
            var following = cron.next(after: next)
            while let tick = following, tick <= now, ticks.count < Self.limit {
                ticks.append(tick)
                following = cron.next(after: tick)
            }
            self.init(ticks: ticks, next: following)
        }
    }

    private init(ticks: [Int64], next: Int64?) {
        self.ticks = ticks
        self.next = next
    }
}
