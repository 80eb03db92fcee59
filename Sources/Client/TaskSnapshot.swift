internal import Encodings
internal import TaskProtocol

/// A task as it stood when the service answered: the contract's TaskStatus.
public struct TaskSnapshot: Sendable {
    /// The task's UUID.
    public let id: String
    /// `generate`, `finetune` or `verify`.
    public let kind: String
    /// Its queue's name.
    public let queue: String
    /// `queued`, `running`, `succeeded`, `failed` or `cancelled`.
    public let state: String
    /// Starts so far.
    public let attempt: Int
    /// Why it is not running.
    public let waitingFor: String?
    /// Why it failed.
    public let error: ServiceError?
    /// The generated texts, of a generate task that succeeded.
    public let texts: [GeneratedText]
    /// JSON of its result.
    public let resultJSON: String?
    /// JSON of its progress.
    public let progressJSON: String?
    /// JSON of the whole status, as it came.
    public let json: String

    /// Whether it ended.
    public var isTerminal: Bool { state != "queued" && state != "running" }

    init(_ node: Node) throws(ClientError) {
        guard let id = node["id"]?.stringValue, let state = node["state"]?.stringValue else { throw .broken("a task's status has no id or state") }
        self.id = id
        self.state = state
        kind = node["kind"]?.stringValue ?? ""
        queue = node["queue"]?.stringValue ?? ""
        attempt = Int(clamping: node["attempt"]?.integerValue ?? 0)
        waitingFor = node["waiting_for"]?.stringValue
        error = node["error"].map(ServiceError.init(_:))
        resultJSON = node["result"].map { String(decoding: $0.json, as: UTF8.self) }
        progressJSON = node["progress"].map { String(decoding: $0.json, as: UTF8.self) }
        json = String(decoding: node.json, as: UTF8.self)
        var texts: [GeneratedText] = []
        node["result"]?["generations"]?.forEachElement { texts.append(GeneratedText($0)) }
        self.texts = texts
    }
}

/// One generated text.
public struct GeneratedText: Sendable, Hashable {
    /// The UUID of its row in `generations`.
    public let id: String
    /// Its number within the task.
    public let sample: Int
    /// Which prompt it continues.
    public let promptIndex: Int
    /// The text as returned.
    public let text: String
    /// `eos`, `length` or `stop`.
    public let finishReason: String

    init(_ node: Node) {
        id = node["id"]?.stringValue ?? ""
        sample = Int(clamping: node["sample"]?.integerValue ?? 0)
        promptIndex = Int(clamping: node["prompt_index"]?.integerValue ?? 0)
        text = node["text"]?.stringValue ?? ""
        finishReason = node["finish_reason"]?.stringValue ?? ""
    }
}

extension ServiceError {
    init(_ node: Node) {
        self.init(code: node["code"]?.stringValue ?? "internal", message: node["message"]?.stringValue ?? "", field: node["field"]?.stringValue)
    }
}
