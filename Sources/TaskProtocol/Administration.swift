/// What operators ask about queues, schedules and single tasks: one group of ops that only the store answers.
package enum Administration: Sendable, Equatable {
    /// All queues that have settings, or tasks waiting or running.
    case queues
    case setQueue(QueueChange)
    case schedules
    case setSchedule(ScheduleChange)
    case removeSchedule(name: String)

    /// Whether it changes nothing.
    package var isReading: Bool {
        switch self {
        case .queues, .schedules: true
        case .setQueue, .setSchedule, .removeSchedule: false
        }
    }
}

/// The answer to an ``Administration``.
package enum AdministrationReply: Sendable, Equatable {
    case queues([QueueRow])
    case queue(QueueRow)
    case schedules([ScheduleRow])
    case schedule(ScheduleRow)
    case done
}

/// New settings of a queue; what is nil stays as it is.
package struct QueueChange: Sendable, Equatable {
    package var name: String
    package var paused: Bool?
    package var maxRunning: Int?
    /// Takes the limit away.
    package var unlimited: Bool

    package init(name: String, paused: Bool? = nil, maxRunning: Int? = nil, unlimited: Bool = false) {
        self.name = name
        self.paused = paused
        self.maxRunning = maxRunning
        self.unlimited = unlimited
    }
}

/// A queue with its settings and what is in it.
package struct QueueRow: Sendable, Equatable {
    package var name: String
    package var paused: Bool
    /// At most so many of its tasks run at once.
    package var maxRunning: Int?
    /// Waiting tasks, whatever holds them back.
    package var depth: Int
    package var running: Int

    package init(name: String, paused: Bool, maxRunning: Int?, depth: Int, running: Int) {
        self.name = name
        self.paused = paused
        self.maxRunning = maxRunning
        self.depth = depth
        self.running = running
    }
}

/// A new schedule, or new settings of one; what is nil stays as it is. A new one needs ``cron``, ``kind`` and ``params``.
package struct ScheduleChange: Sendable, Equatable {
    package var name: String
    package var cron: String?
    package var kind: TaskKind?
    /// Canonical JSON.
    package var params: [UInt8]?
    package var queue: String?
    package var enabled: Bool?
    package var misfire: Misfire?
    /// JSON of the task's further members (`priority`, `timeout_s`, `max_attempts`, `tags`), where any is given: they replace all that were.
    package var options: [UInt8]?

    package init(
        name: String, cron: String? = nil, kind: TaskKind? = nil, params: [UInt8]? = nil, queue: String? = nil, enabled: Bool? = nil,
        misfire: Misfire? = nil, options: [UInt8]? = nil
    ) {
        self.name = name
        self.cron = cron
        self.kind = kind
        self.params = params
        self.queue = queue
        self.enabled = enabled
        self.misfire = misfire
        self.options = options
    }
}

/// A periodic task.
package struct ScheduleRow: Sendable, Equatable {
    package var name: String
    package var cron: String
    package var kind: String
    /// JSON.
    package var params: [UInt8]
    package var queue: String
    package var enabled: Bool
    package var misfire: String
    /// JSON object of the task's further members.
    package var options: [UInt8]
    package var lastRunAt: Int64?
    package var nextRunAt: Int64?

    package init(
        name: String, cron: String, kind: String, params: [UInt8], queue: String, enabled: Bool, misfire: String, options: [UInt8], lastRunAt: Int64?,
        nextRunAt: Int64?
    ) {
        self.name = name
        self.cron = cron
        self.kind = kind
        self.params = params
        self.queue = queue
        self.enabled = enabled
        self.misfire = misfire
        self.options = options
        self.lastRunAt = lastRunAt
        self.nextRunAt = nextRunAt
    }
}
