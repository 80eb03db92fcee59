internal import Encodings

/// A queue's settings, and what is in it.
public struct QueueState: Sendable, Hashable {
    /// The queue.
    public let name: String
    /// Nothing of it is started.
    public let isPaused: Bool
    /// At most so many of its tasks run at once; nil: no limit.
    public let maxRunning: Int?
    /// Waiting tasks, whatever holds them back.
    public let depth: Int
    /// Running tasks.
    public let running: Int
    /// JSON of the row, as it came.
    public let json: String

    init(_ node: Node) {
        name = node["name"]?.stringValue ?? ""
        isPaused = node["paused"]?.boolValue ?? false
        maxRunning = node["max_running"]?.integerValue.map { Int(clamping: $0) }
        depth = Int(clamping: node["depth"]?.integerValue ?? 0)
        running = Int(clamping: node["running"]?.integerValue ?? 0)
        json = String(decoding: node.json, as: UTF8.self)
    }
}

/// A periodic task to be made or changed; what is nil stays as it is. A new one needs `cron` and `task`.
///
/// ```swift
/// var nightly = ScheduleRequest(name: "nightly")
/// nightly.cron = "0 3 * * *"
/// nightly.task = TaskRequest(kind: "generate", parameters: ["model": "demo", "n": 10])
/// ```
public struct ScheduleRequest: Sendable {
    /// Names it; its tasks carry the name as the tag `schedule`.
    public var name: String
    /// Five fields, in UTC, or `@hourly` and the like.
    public var cron: String?
    /// What it makes: kind, parameters, queue, priority, bounds and tags count.
    public var task: TaskRequest?
    /// The tasks' queue, where it alone is to change.
    public var queue: String?
    /// Whether it makes tasks.
    public var isEnabled: Bool?
    /// `one`, `skip` or `all`: what is done about ticks that passed during an outage.
    public var misfire: String?

    /// - Parameter name: as of models.
    public init(name: String) { self.name = name }

    var json: JSONValue {
        var map = task?.json.objectValue ?? [:]
        map["name"] = .string(name)
        if let queue { map["queue"] = .string(queue) }
        map["cron"] = cron.map { .string($0) }
        map["enabled"] = isEnabled.map { .bool($0) }
        map["misfire"] = misfire.map { .string($0) }
        return .object(map)
    }
}

/// A periodic task as it is stored.
public struct ScheduleState: Sendable, Hashable {
    /// The schedule.
    public let name: String
    /// When it ticks.
    public let cron: String
    /// The kind of its tasks.
    public let kind: String
    /// Their queue.
    public let queue: String
    /// Whether it makes tasks.
    public let isEnabled: Bool
    /// What is done about missed ticks.
    public let misfire: String
    /// The nominal time of its last task.
    public let lastRunAt: String?
    /// The nominal time of its next task; nil until a broker has looked.
    public let nextRunAt: String?
    /// JSON of the row, as it came.
    public let json: String

    init(_ node: Node) {
        name = node["name"]?.stringValue ?? ""
        cron = node["cron"]?.stringValue ?? ""
        kind = node["kind"]?.stringValue ?? ""
        queue = node["queue"]?.stringValue ?? ""
        isEnabled = node["enabled"]?.boolValue ?? false
        misfire = node["misfire"]?.stringValue ?? ""
        lastRunAt = node["last_run_at"]?.stringValue
        nextRunAt = node["next_run_at"]?.stringValue
        json = String(decoding: node.json, as: UTF8.self)
    }
}

extension ScriptoriumClient {
    /// All queues that have settings, or tasks waiting or running.
    public func queues() async throws(ClientError) -> [QueueState] {
        var queues: [QueueState] = []
        try await call(["op": "queues"])["queues"]?.forEachElement { queues.append(QueueState($0)) }
        return queues
    }

    /// Pauses a queue, or lets it go on. What runs goes on running.
    public func setQueue(_ name: String, isPaused: Bool) async throws(ClientError) -> QueueState {
        try await setQueue(["name": .string(name), "paused": .bool(isPaused)])
    }

    /// Limits how many tasks of a queue run at once.
    /// - Parameter maxRunning: nil takes the limit away.
    public func setQueue(_ name: String, maxRunning: Int?) async throws(ClientError) -> QueueState {
        try await setQueue(
            maxRunning.map { ["name": .string(name), "max_running": .integer(Int64($0))] } ?? ["name": .string(name), "unlimited": true])
    }

    private func setQueue(_ settings: JSONObject) async throws(ClientError) -> QueueState {
        guard let node = try await call(["op": "queue", "queue": .object(settings)])["queue"] else { throw .broken("an answer holds no queue") }
        return QueueState(node)
    }

    /// All periodic tasks.
    public func schedules() async throws(ClientError) -> [ScheduleState] {
        var schedules: [ScheduleState] = []
        try await call(["op": "schedules"])["schedules"]?.forEachElement { schedules.append(ScheduleState($0)) }
        return schedules
    }

    /// Makes a periodic task, or changes it.
    public func schedule(_ request: ScheduleRequest) async throws(ClientError) -> ScheduleState {
        guard let node = try await call(["op": "schedule", "schedule": request.json])["schedule"] else {
            throw .broken("an answer holds no schedule")
        }
        return ScheduleState(node)
    }

    /// Removes a periodic task; what it has published stays.
    public func unschedule(_ name: String) async throws(ClientError) {
        _ = try await call(["op": "unschedule", "name": .string(name)], isRepeatable: false)
    }
}
