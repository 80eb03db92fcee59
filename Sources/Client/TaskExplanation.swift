internal import Encodings
internal import TaskProtocol

/// A task's life: who published it, what it was pinned to, each try and how it ended, and what it waits for.
///
/// Times are milliseconds since 1970.
public struct TaskExplanation: Sendable {
    /// Where it stands, without its result.
    public let task: TaskSnapshot
    /// Its priority, as published.
    public let priority: Int
    /// Its idempotency key.
    public let key: String?
    /// The public key or SQL role that published it; nil where clients have none.
    public let publisher: String?
    /// When it was accepted.
    public let createdAt: Int64
    /// Not started earlier.
    public let runAt: Int64
    /// When its end was recorded.
    public let finishedAt: Int64?
    /// How many failed attempts end it.
    public let maxAttempts: Int
    /// Attempts that count against that.
    public let failures: Int
    /// Attempts lost with their worker.
    public let losses: Int
    /// It runs and is to be stopped.
    public let cancelRequested: Bool
    /// What every attempt runs on; nil until it is pinned.
    public let pinned: Pinned?
    /// The last ones, the newest last.
    public let attempts: [Attempt]
    /// Attempts before those.
    public let earlierAttempts: Int
    /// The tasks that it was published to wait for, with their states.
    public let after: [(id: String, state: String?)]
    /// Tasks of its queue before it in line; nil where it is not in line.
    public let ahead: Int?
    /// There may be more before it than were counted.
    public let hasMoreAhead: Bool
    /// Its queue, and what is in it.
    public let queue: QueueState
    /// When the state was saved that it will go on from.
    public let resumeSavedAt: Int64?
    /// JSON of the whole, as it came.
    public let json: String

    /// What every attempt of a task runs on.
    public struct Pinned: Sendable {
        /// When it was pinned.
        public let at: Int64
        /// The model's name, where it was asked by one.
        public let model: String?
        /// The checkpoint's id; nil for a training from scratch.
        public let checkpoint: String?
        /// The checkpoint's digest.
        public let sha256: String?
        /// The seed.
        public let seed: Int64?
        /// Whether the service drew the seed.
        public let isSeedAssigned: Bool
    }

    /// One try.
    public struct Attempt: Sendable {
        /// Its number, from 1.
        public let number: Int
        /// The worker, as `host:pid` where it is still there, else its id.
        public let worker: String?
        /// The broker, likewise.
        public let broker: String?
        /// When its lease was made.
        public let startedAt: Int64
        /// When its lease ended.
        public let finishedAt: Int64?
        /// `succeeded`, `failed`, `lost`, `released`, `cancelled`, `timed_out` or `superseded`; nil while it runs.
        public let outcome: String?
        /// Why it failed.
        public let error: ServiceError?
        /// Why it was given back.
        public let reason: String?
    }

    init(_ node: Node) throws(ClientError) {
        guard let status = node["task"], let queue = node["queue"] else { throw .broken("an explanation tells of no task") }
        task = try TaskSnapshot(status)
        self.queue = QueueState(queue)
        priority = Int(clamping: status["priority"]?.integerValue ?? 0)
        key = status["key"]?.stringValue
        publisher = node["publisher"]?.stringValue
        createdAt = Self.time(status["created_at"]) ?? 0
        runAt = Self.time(status["run_at"]) ?? 0
        finishedAt = Self.time(status["finished_at"])
        maxAttempts = Int(clamping: node["max_attempts"]?.integerValue ?? 0)
        failures = Int(clamping: node["failures"]?.integerValue ?? 0)
        losses = Int(clamping: node["losses"]?.integerValue ?? 0)
        cancelRequested = node["cancel_requested"]?.boolValue ?? false
        pinned = node["pinned"].flatMap(Pinned.init(_:))
        earlierAttempts = Int(clamping: node["earlier_attempts"]?.integerValue ?? 0)
        ahead = node["line"]?["ahead"]?.integerValue.map { Int(clamping: $0) }
        hasMoreAhead = node["line"]?["at_least"]?.boolValue ?? false
        resumeSavedAt = Self.time(node["resume_saved_at"])
        json = String(decoding: node.json, as: UTF8.self)
        var attempts: [Attempt] = []
        node["attempts"]?.forEachElement { attempts.append(Attempt($0)) }
        self.attempts = attempts
        var after: [(id: String, state: String?)] = []
        node["after"]?.forEachElement { after.append(($0["id"]?.stringValue ?? "", $0["state"]?.stringValue)) }
        self.after = after
    }

    fileprivate static func time(_ node: Node?) -> Int64? { node?.stringValue.flatMap(Timestamp.milliseconds) }
}

extension TaskExplanation.Pinned {
    fileprivate init?(_ node: Node) {
        guard let at = TaskExplanation.time(node["at"]) else { return nil }
        self.at = at
        model = node["model"]?["name"]?.stringValue
        checkpoint = node["model"]?["checkpoint"]?.stringValue
        sha256 = node["model"]?["sha256"]?.stringValue
        seed = node["seed"]?.integerValue
        isSeedAssigned = node["seed_assigned"]?.boolValue ?? false
    }
}

extension TaskExplanation.Attempt {
    fileprivate init(_ node: Node) {
        number = Int(clamping: node["attempt"]?.integerValue ?? 0)
        worker = Self.process(node["worker"])
        broker = Self.process(node["broker"])
        startedAt = TaskExplanation.time(node["started_at"]) ?? 0
        finishedAt = TaskExplanation.time(node["finished_at"])
        outcome = node["outcome"]?.stringValue
        reason = node["error"]?["reason"]?.stringValue
        error = node["error"].flatMap { $0["code"] == nil ? nil : ServiceError($0) }
    }

    private static func process(_ node: Node?) -> String? {
        guard let host = node?["host"]?.stringValue, let pid = node?["pid"]?.integerValue else { return node?["id"]?.stringValue }
        return "\(host):\(pid)"
    }
}
