internal import Encodings
internal import Messaging
internal import Synchronization

/// A Scriptorium service, as another Swift program uses it.
///
/// ```swift
/// let client = try ScriptoriumClient(brokers: ["tcp://127.0.0.1:5570"])
/// let task = try await client.submit(TaskRequest(kind: "generate", parameters: ["model": "demo", "prompt": "In the"]))
/// for text in try await client.wait(task.id).texts { print(text.text) }
/// ```
///
/// Several brokers may be named: any of them serves any task, and when one falls silent, or says `unavailable`, the next is asked. Requests
/// that may be repeated are then repeated, submits only where every task has a `key`. `busy` and `unavailable` are tried again until
/// ``ClientOptions/requestTimeout``.
///
/// All calls can be made from any task at once; they wait without blocking a thread of Swift's pool. Source of the protocol: docs/protocol.md.
public final class ScriptoriumClient: Sendable {
    private let thread: ClientThread
    private let options: ClientOptions
    private let lastID = Atomic<Int64>(0)

    /// Connects in the background: a service that is away is found by the first call.
    /// - Parameters:
    ///   - brokers: tasks endpoints, as `tcp://127.0.0.1:5570`; the first is asked first.
    ///   - options: how patient to be.
    /// - Throws: ``ClientError/broken(_:)`` for an endpoint that is none.
    public init(brokers: [String], options: ClientOptions = ClientOptions()) throws(ClientError) {
        guard !brokers.isEmpty else { throw .broken("no broker is named") }
        self.options = options
        let credentials = try options.keys?.credentials(for: brokers)
        do { thread = try ClientThread(brokers: brokers, options: options, credentials) } catch { throw .broken(error.description) }
    }

    deinit { thread.post(.close) }

    /// Ends the connection; calls under way fail with ``ClientError/cancelled``.
    public func close() { thread.post(.close) }

    /// Who answers, and how durable its commits are.
    public func ping() async throws(ClientError) -> BrokerGreeting {
        let reply = try await call(["op": "ping"])
        return BrokerGreeting(
            version: reply["version"]?.stringValue ?? "", broker: reply["broker"]?.stringValue ?? "",
            protocolVersion: Int(clamping: reply["protocol"]?.integerValue ?? 0),
            synchronousCommit: reply["durability"]?["synchronous_commit"]?.stringValue)
    }

    /// Submits one task; when this returns it is committed.
    public func submit(_ task: TaskRequest) async throws(ClientError) -> AcceptedTask {
        let reply = try await call(["op": "submit", "task": task.json], isRepeatable: task.key != nil)
        guard let accepted = Self.accepted(reply).first else { throw .broken("a submit's answer names no task") }
        return accepted
    }

    /// Submits up to 10,000 tasks: all are accepted, or none.
    /// - Returns: in the same order.
    public func submit(_ tasks: [TaskRequest]) async throws(ClientError) -> [AcceptedTask] {
        let reply = try await call(
            ["op": "submit", "tasks": .array(tasks.map(\.json))], isRepeatable: tasks.allSatisfy { $0.key != nil })
        return Self.accepted(reply)
    }

    private static func accepted(_ reply: Node) -> [AcceptedTask] {
        var tasks: [AcceptedTask] = []
        reply["tasks"]?.forEachElement {
            tasks.append(
                AcceptedTask(
                    id: $0["id"]?.stringValue ?? "", state: $0["state"]?.stringValue ?? "", isDuplicate: $0["duplicate"]?.boolValue ?? false))
        }
        return tasks
    }

    /// Where tasks stand.
    /// - Parameter results: whether results come along.
    public func get(_ ids: [String], results: Bool = true) async throws(ClientError) -> [TaskSnapshot] {
        let reply = try await call(["op": "get", "ids": strings(ids), "results": .bool(results)])
        var tasks: [TaskSnapshot] = []
        try reply["tasks"]?.forEachElement { node throws(ClientError) in tasks.append(try TaskSnapshot(node)) }
        return tasks
    }

    /// Waits until a task ends, or the time is over.
    /// - Parameter timeout: nil: as long as it takes.
    /// - Returns: the task as it is then: ask ``TaskSnapshot/isTerminal``.
    public func wait(_ id: String, timeout: Duration? = nil) async throws(ClientError) -> TaskSnapshot {
        let end = timeout.map { monotonicSeconds() + $0.seconds }
        while true {
            let left = end.map { max(0, $0 - monotonicSeconds()) } ?? .infinity
            let milliseconds = Int64(min(left * 1000, 60_000))
            let reply = try await call(
                ["op": "wait", "task": .string(id), "timeout_ms": .integer(milliseconds)], seconds: Double(milliseconds) / 1000 + 30)
            guard let node = reply["task"] else { throw .broken("a wait's answer holds no task") }
            let task = try TaskSnapshot(node)
            if task.isTerminal || Double(milliseconds) >= left * 1000 { return task }
        }
    }

    /// Follows a task until it ends. Ending the loop early ends the watch.
    public func watch(_ id: String) -> AsyncThrowingStream<WatchMessage, any Error> {
        let number = lastID.add(1, ordering: .relaxed).newValue
        return AsyncThrowingStream(bufferingPolicy: .bufferingNewest(100_000)) { continuation in
            let payload = request(number, ["op": "watch", "task": .string(id)])
            let call = CallTable.Call(payload: payload, isRepeatable: true, isStream: true) { answer in
                switch answer {
                case .failure(.cancelled): continuation.finish()
                case .failure(let error): continuation.finish(throwing: error)
                case .success(let reply): Self.forward(reply, to: continuation)
                }
            }
            continuation.onTermination = { [self] reason in
                guard case .cancelled = reason else { return }
                thread.post(.forget(number))
                let next = lastID.add(1, ordering: .relaxed).newValue
                post(request(next, ["op": "unwatch", "watch": .integer(number)]), number: next, seconds: 5) { _ in }
            }
            thread.post(.call(number, call))
        }
    }

    private static func forward(_ reply: Node, to continuation: AsyncThrowingStream<WatchMessage, any Error>.Continuation) {
        if let node = reply["event"] {
            guard let update = TaskUpdate(node) else { return }
            continuation.yield(.update(update))
            if update.isTerminal { continuation.finish() }
        } else if let node = reply["task"], let task = try? TaskSnapshot(node) {
            continuation.yield(.status(task))
        }
    }

    /// Asks for cancellation.
    /// - Returns: the state of each: a running task ends within two seconds.
    public func cancel(_ ids: [String]) async throws(ClientError) -> [AcceptedTask] {
        Self.accepted(try await call(["op": "cancel", "ids": strings(ids)]))
    }

    /// Queues failed or cancelled tasks anew.
    public func retry(_ ids: [String]) async throws(ClientError) -> [AcceptedTask] {
        Self.accepted(try await call(["op": "retry", "ids": strings(ids)], isRepeatable: false))
    }

    /// A task's life: each try and how it ended, and what it waits for.
    public func explain(_ id: String) async throws(ClientError) -> TaskExplanation {
        guard let node = try await call(["op": "explain", "task": .string(id)])["explanation"] else { throw .broken("an answer explains no task") }
        return try TaskExplanation(node)
    }

    /// All models that have a name.
    public func models() async throws(ClientError) -> [RegisteredModel] {
        var models: [RegisteredModel] = []
        try await call(["op": "models"])["models"]?.forEachElement { models.append(RegisteredModel($0)) }
        return models
    }

    /// All datasets that have a name.
    public func datasets() async throws(ClientError) -> [RegisteredDataset] {
        var datasets: [RegisteredDataset] = []
        try await call(["op": "datasets"])["datasets"]?.forEachElement { datasets.append(RegisteredDataset($0)) }
        return datasets
    }

    /// Files a model, whose artifacts are stored, under a name.
    public func register(_ model: ModelFiling) async throws(ClientError) -> RegisteredModel {
        let reply = try await call(["op": "register", "model": try model.json()])
        guard let node = reply["model"] else { throw .broken("a register's answer holds no model") }
        return RegisteredModel(node)
    }

    /// Files a dataset, whose artifacts are stored, under a name.
    /// - Returns: JSON of the stored row.
    public func register(_ dataset: DatasetFiling) async throws(ClientError) -> String {
        let reply = try await call(["op": "register", "dataset": dataset.json])
        guard let node = reply["dataset"] else { throw .broken("a register's answer holds no dataset") }
        return String(decoding: node.json, as: UTF8.self)
    }

    // MARK: Calls

    private func strings(_ values: [String]) -> JSONValue { .array(values.map { .string($0) }) }

    private func request(_ number: Int64, _ map: JSONObject) -> [UInt8] {
        var map = map
        map["id"] = .integer(number)
        return JSONValue.object(map).serialised
    }

    /// Asks what may be asked twice; `payload` is given the call's number.
    func post(seconds: Double, payload: (Int64) -> [UInt8], answer: @escaping @Sendable (Result<Node, ClientError>) -> Void) {
        let number = lastID.add(1, ordering: .relaxed).newValue
        post(payload(number), number: number, seconds: seconds, answer: answer)
    }

    private func post(
        _ payload: [UInt8], number: Int64, isRepeatable: Bool = true, seconds: Double, answer: @escaping @Sendable (Result<Node, ClientError>) -> Void
    ) {
        let call = CallTable.Call(
            payload: payload, isRepeatable: isRepeatable, isStream: false, deadline: monotonicSeconds() + seconds, answer: answer)
        thread.post(.call(number, call))
    }

    func call(_ map: JSONObject, isRepeatable: Bool = true, seconds: Double? = nil) async throws(ClientError) -> Node {
        if Task.isCancelled { throw .cancelled }
        let number = lastID.add(1, ordering: .relaxed).newValue
        let payload = request(number, map)
        let answer = await withTaskCancellationHandler {
            await withCheckedContinuation { (continuation: CheckedContinuation<Result<Node, ClientError>, Never>) in
                post(payload, number: number, isRepeatable: isRepeatable, seconds: seconds ?? options.requestTimeout.seconds) {
                    continuation.resume(returning: $0)
                }
                // Cancelled meanwhile: then the handler below has perhaps been there already, and had nothing to forget yet.
                if Task.isCancelled { thread.post(.forget(number)) }
            }
        } onCancel: {
            thread.post(.forget(number))
        }
        return try answer.get()
    }
}
