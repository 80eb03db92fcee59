import ArgumentParser
import Client
import Encodings

/// The options of a task itself, whatever it does.
struct TaskOptions: ParsableArguments {
    @Option(help: "The queue (default).")
    var queue: String?

    @Option(help: "-100 … 100, higher first (0).")
    var priority: Int?

    @Option(help: "Idempotency key: a second submit with it returns the first task.")
    var key: String?

    @Option(help: ArgumentHelp("Not before this time (RFC 3339).", valueName: "time"))
    var runAt: String?

    @Option(name: .customLong("timeout-s"), help: ArgumentHelp("Bounds one attempt from its start.", valueName: "seconds"))
    var timeoutSeconds: Double?

    @Option(help: "Bounds failed attempts (3).")
    var maxAttempts: Int?

    @Option(help: ArgumentHelp("A task that must have succeeded first; repeatable.", valueName: "id"))
    var after: [String] = []

    @Option(help: ArgumentHelp("A tag, as name=value; repeatable.", valueName: "name=value"))
    var tag: [String] = []

    @Option(help: ArgumentHelp("Parameters by the contract's names, as a JSON map; flags win over it.", valueName: "json"))
    var params: String?

    @Flag(help: "Wait for the end and print the result.")
    var wait = false

    @Flag(help: "Print JSON.")
    var json = false

    /// The task with these options.
    /// - Parameter parameters: what the command's own flags say.
    func task(kind: String, parameters: JSONObject) throws -> TaskRequest {
        var merged = try givenParameters()
        for (name, value) in parameters { merged[name] = value }
        var task = TaskRequest(kind: kind, parameters: merged)
        task.queue = queue
        task.priority = priority
        task.key = key
        task.runAt = runAt
        if let timeoutSeconds, !timeoutSeconds.isFinite { throw CommandFailure.usage("--timeout-s: \(timeoutSeconds) is not a finite number") }
        task.timeoutSeconds = timeoutSeconds
        task.maxAttempts = maxAttempts
        task.after = after
        for entry in tag {
            let parts = entry.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            guard parts.count == 2 else { throw CommandFailure.usage("--tag: \(entry) is not name=value") }
            task.tags[String(parts[0])] = String(parts[1])
        }
        return task
    }

    private func givenParameters() throws -> JSONObject {
        guard let params else { return [:] }
        do {
            guard let object = try JSONValue.parse(params).objectValue else { throw CommandFailure.usage("--params is not a JSON map") }
            return object
        } catch let error as DocumentError { throw CommandFailure.usage("--params: \(error)") }
    }

    /// Submits the task and, with `--wait`, follows it to its end.
    func submit(_ task: TaskRequest, _ service: ServiceOptions) async throws {
        try await service.withClient { client in
            let accepted = try await client.submit(task)
            if wait {
                try await TaskReport(isJSON: json).follow(accepted.id, client)
            } else if json {
                let map: JSONValue = ["id": .string(accepted.id), "state": .string(accepted.state), "duplicate": .bool(accepted.isDuplicate)]
                print(String(decoding: map.serialised, as: UTF8.self))
            } else {
                print(accepted.id)
            }
        }
    }
}

extension JSONObject {
    /// Sets a member where a flag was given.
    mutating func set(_ name: String, _ value: String?) { if let value { self[name] = .string(value) } }
    mutating func set(_ name: String, _ value: Int?) { if let value { self[name] = .integer(Int64(value)) } }
    mutating func set(_ name: String, _ value: Bool?) { if let value { self[name] = .bool(value) } }
    mutating func set(_ name: String, _ values: [String]) { if !values.isEmpty { self[name] = .array(values.map { .string($0) }) } }
    mutating func set(_ name: String, _ values: [Int]) { if !values.isEmpty { self[name] = .array(values.map { .integer(Int64($0)) }) } }

    /// - Throws: a usage error for what JSON has no number for: it would be left out, and the default would be taken.
    /// - Parameter flag: what gave it, where that is not named as the member.
    mutating func set(_ name: String, number value: Double?, flag: String? = nil) throws {
        guard let value else { return }
        guard value.isFinite else { throw CommandFailure.usage("--\(flag ?? name.replacing("_", with: "-")): \(value) is not a finite number") }
        self[name] = .real(value)
    }
}
