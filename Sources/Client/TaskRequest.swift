package import Encodings

/// A task to be submitted: the contract's Task map.
///
/// ```swift
/// var task = TaskRequest(kind: "generate", parameters: ["model": "demo", "prompt": "In the"])
/// task.key = "order-4711"  // a repeated submit then returns the same task
/// ```
public struct TaskRequest: Sendable {
    /// `generate`, `finetune` or `verify`.
    public var kind: String
    package var parameters: JSONObject
    /// Nil: `default`.
    public var queue: String?
    /// -100 … 100, higher first; nil: 0.
    public var priority: Int?
    /// The idempotency key. Without one a client cannot send the task again after a broker fell silent.
    public var key: String?
    /// RFC 3339; nil: at once.
    public var runAt: String?
    /// Bounds one attempt.
    public var timeoutSeconds: Double?
    /// Bounds failed attempts; nil: 3.
    public var maxAttempts: Int?
    /// Ids of tasks that must have succeeded first.
    public var after: [String] = []
    /// Strings by name.
    public var tags: [String: String] = [:]

    /// - Parameters:
    ///   - kind: `generate`, `finetune` or `verify`.
    ///   - parameters: by the contract's names; the service checks them.
    public init(kind: String, parameters: [String: ParameterValue]) {
        self.init(kind: kind, parameters: object(parameters))
    }

    package init(kind: String, parameters: JSONObject) {
        self.kind = kind
        self.parameters = parameters
    }

    var json: JSONValue {
        var map: JSONObject = ["kind": .string(kind), "params": .object(parameters)]
        map["queue"] = queue.map { .string($0) }
        map["priority"] = priority.map { .integer(Int64($0)) }
        map["key"] = key.map { .string($0) }
        map["run_at"] = runAt.map { .string($0) }
        map["timeout_s"] = timeoutSeconds.map { .real($0) }
        map["max_attempts"] = maxAttempts.map { .integer(Int64($0)) }
        if !after.isEmpty { map["after"] = .array(after.map { .string($0) }) }
        if !tags.isEmpty {
            var object = JSONObject()
            for (name, value) in tags.sorted(by: { $0.key < $1.key }) { object[name] = .string(value) }
            map["tags"] = .object(object)
        }
        return .object(map)
    }
}

/// One accepted task.
public struct AcceptedTask: Sendable, Hashable {
    /// The task's UUID.
    public let id: String
    /// Where it stands, as `queued`.
    public let state: String
    /// Whether an earlier submit with the same key had made it.
    public let isDuplicate: Bool
}
