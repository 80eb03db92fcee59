import Client
import Encodings
import Testing

private let id = "0190b5a0-0000-7000-8000-00000000000a"

private func status(_ state: String) -> JSONValue {
    [
        "id": .string(id), "kind": "generate", "queue": "default", "state": .string(state), "attempt": 1,
        "result": ["generations": [["id": .string(id), "sample": 0, "prompt_index": 0, "text": "In the é", "finish_reason": "eos"]]],
    ]
}

private func impatient() -> ClientOptions {
    var options = ClientOptions()
    options.silence = .seconds(15)
    options.patience = .seconds(2)
    options.requestTimeout = .seconds(20)
    return options
}

private func failure(_ body: () async throws(ClientError) -> Void) async -> ClientError? {
    do throws(ClientError) { try await body() } catch { return error }
    return nil
}

@Suite("client", .timeLimit(.minutes(2)))
struct ScriptoriumClientTests {
    @Test("typed calls carry their members and read their answers")
    func calls() async throws {
        let broker = try ScriptedBroker { request, _ in
            switch request["op"]?.stringValue {
            case "ping": [["version": "9", "broker": "b", "protocol": 1, "durability": ["synchronous_commit": "on"]]]
            case "submit": [["tasks": [["id": .string(id), "state": "queued", "duplicate": true]]]]
            case "get": [["tasks": [status("running")]]]
            case "wait": [["task": status("succeeded")]]
            case "cancel": [["tasks": [["id": .string(id), "state": "cancelled"]]]]
            case "models":
                [["models": [["name": "demo", "checkpoint": "c", "sha256": "s", "architecture": "gpt2", "parameters": 5, "context_length": 64]]]]
            case "register": [["dataset": ["name": "d"]]]
            default: []
            }
        }
        let client = try ScriptoriumClient(brokers: [broker.endpoint])
        let greeting = try await client.ping()
        #expect(greeting.version == "9" && greeting.broker == "b" && greeting.protocolVersion == 1 && greeting.synchronousCommit == "on")
        var task = TaskRequest(kind: "generate", parameters: ["model": "demo", "n": 2, "stop": ["\n"]])
        task.key = "k"
        task.tags = ["a": "b"]
        let accepted = try await client.submit(task)
        #expect(accepted.id == id && accepted.isDuplicate)
        #expect(try await client.get([id])[0].state == "running")
        let done = try await client.wait(id)
        #expect(done.isTerminal && done.texts.map(\.text) == ["In the é"])
        #expect(try await client.cancel([id])[0].state == "cancelled")
        #expect(try await client.models()[0].contextLength == 64)
        #expect(try await client.register(DatasetFiling(name: "d", manifest: "m", bytes: 1)) == #"{"name":"d"}"#)
        let submitted = broker.requests.first { $0["op"] == "submit" }
        #expect(submitted?["task"] == ["kind": "generate", "params": ["model": "demo", "n": 2, "stop": ["\n"]], "key": "k", "tags": ["a": "b"]])
    }

    @Test("many calls at once are matched by id")
    func concurrent() async throws {
        let broker = try ScriptedBroker { request, _ in [["tasks": [["id": request["ids"]?.arrayValue?[0] ?? .null, "state": "queued"]]]] }
        let client = try ScriptoriumClient(brokers: [broker.endpoint])
        try await withThrowingTaskGroup(of: Bool.self) { group in
            for number in 0..<200 { group.addTask { try await client.cancel(["\(number)"])[0].id == "\(number)" } }
            for try await isRight in group { #expect(isRight) }
        }
    }

    @Test("an error of the contract is thrown with its code and field, and is not the service's absence")
    func refused() async throws {
        let broker = try ScriptedBroker { _, _ in [["ok": false, "error": ["code": "invalid_argument", "message": "bad", "field": "task.params.n"]]] }
        let client = try ScriptoriumClient(brokers: [broker.endpoint])
        let error = await failure { () throws(ClientError) in _ = try await client.submit(TaskRequest(kind: "generate", parameters: [:])) }
        #expect(error == .refused(ServiceError(code: "invalid_argument", message: "bad", field: "task.params.n")))
        #expect(error?.isServiceAway == false)
    }

    @Test("a request that the broker could not read at all ends with its reason, not never")
    func unread() async throws {
        let broker = try ScriptedBroker { _, _ in
            [["re": .null, "ok": false, "error": ["code": "too_large", "message": "the request has 9 bytes", "field": .null]]]
        }
        let client = try ScriptoriumClient(brokers: [broker.endpoint])
        let error = await failure { () throws(ClientError) in _ = try await client.submit(TaskRequest(kind: "generate", parameters: [:])) }
        #expect(error == .refused(ServiceError(code: "too_large", message: "the request has 9 bytes", field: nil)))
    }

    @Test("busy and unavailable are tried again", arguments: ["busy", "unavailable"])
    func busy(code: String) async throws {
        let broker = try ScriptedBroker { _, number in
            number < 3 ? [["ok": false, "error": ["code": .string(code), "message": "later", "field": nil]]] : [["models": []]]
        }
        let client = try ScriptoriumClient(brokers: [broker.endpoint])
        #expect(try await client.models().isEmpty)
        #expect(broker.ops == ["models", "models", "models"])
    }

    @Test("a database that stays away is told as such")
    func away() async throws {
        let broker = try ScriptedBroker { _, _ in [["ok": false, "error": ["code": "unavailable", "message": "the database is away", "field": nil]]] }
        var options = impatient()
        options.requestTimeout = .milliseconds(250)
        let client = try ScriptoriumClient(brokers: [broker.endpoint], options: options)
        let error = await failure { () throws(ClientError) in _ = try await client.models() }
        #expect(error?.isServiceAway == true)
    }

    private static let draining: JSONObject = [
        "ok": false, "error": ["code": "unavailable", "message": "the broker is shutting down", "field": nil],
    ]

    @Test("a broker that is unavailable is left for the next, and what is sent twice only with a key is sent once")
    func elsewhere() async throws {
        let draining = try ScriptedBroker { _, _ in [Self.draining] }
        let other = try ScriptedBroker { request, _ in
            request["op"] == "submit" ? [["tasks": [["id": .string(id), "state": "queued", "duplicate": false]]]] : [["models": []]]
        }
        let client = try ScriptoriumClient(brokers: [draining.endpoint, other.endpoint], options: impatient())
        #expect(try await client.models().isEmpty)
        #expect(try await client.submit(TaskRequest(kind: "generate", parameters: ["model": "m"])).id == id)
        #expect(draining.ops == ["models"] && other.ops == ["models", "submit"])
    }

    @Test("a watch goes on at another broker when its own shuts down, and at the same one where there is no other", arguments: [1, 2])
    func watchMovesOn(brokers: Int) async throws {
        let end: JSONObject = ["event": ["task": .string(id), "attempt": 1, "seq": 9, "event": "succeeded", "at": "2026-11-24T11:00:00.000Z"]]
        let first = try ScriptedBroker { _, number in
            number == 1 || brokers == 2 ? [["task": status("running")], Self.draining] : [["task": status("running")], end]
        }
        let second = try ScriptedBroker { _, _ in [["task": status("running")], end] }
        let client = try ScriptoriumClient(brokers: Array([first.endpoint, second.endpoint].prefix(brokers)), options: impatient())
        var states: [String] = []
        for try await message in client.watch(id) { if case .status(let task) = message { states.append(task.state) } }
        #expect(states == ["running", "running"])
    }

    @Test("a broker that is started anew at once loses no watch: the new one is asked again, though it answers pings at once")
    func watchOutlivesRestart() async throws {
        let end: JSONObject = ["event": ["task": .string(id), "attempt": 1, "seq": 9, "event": "succeeded", "at": "2026-11-24T11:00:00.000Z"]]
        let broker = try ScriptedBroker(restartAfter: 1) { request, number in
            guard request["op"] == "watch" else { return [[:]] }
            return number == 1 ? [["task": status("running")]] : [["task": status("running")], end]
        }
        let client = try ScriptoriumClient(brokers: [broker.endpoint], options: impatient())
        var states: [String] = []
        for try await message in client.watch(id) { if case .status(let task) = message { states.append(task.state) } }
        // What the first one answered may be lost with its connection.
        #expect(states.last == "running" && broker.ops == ["watch", "watch"])
    }

    @Test("of what a broker was asked before it was started anew, what may be repeated is asked again, and of the rest the outcome is unknown")
    func callsOutliveRestart() async throws {
        let accepted: JSONObject = ["tasks": [["id": .string(id), "state": "queued", "duplicate": false]]]
        let broker = try ScriptedBroker(restartAfter: 2) { request, number in
            request["op"] == "ping" ? [[:]] : number <= 2 ? [] : [accepted]
        }
        let client = try ScriptoriumClient(brokers: [broker.endpoint], options: impatient())
        var keyed = TaskRequest(kind: "generate", parameters: ["model": "m"])
        let unkeyed = keyed
        keyed.key = "k"
        async let unknown = failure { () throws(ClientError) in _ = try await client.submit(unkeyed) }
        async let repeated = client.submit(keyed)
        #expect(try await repeated.id == id)
        let error = await unknown
        #expect(error?.isServiceAway == true && error?.description.contains("unknown") == true)
        #expect(broker.ops == ["submit", "submit", "submit"])
    }

    @Test("what the new broker took is not counted as lost with the connection to the old one")
    func sentToTheNewOne() async throws {
        let accepted: JSONObject = ["tasks": [["id": .string(id), "state": "queued", "duplicate": false]]]
        for round in 0..<50 {
            let broker = try ScriptedBroker(restartAfter: 1) { request, _ in request["op"] == "submit" ? [accepted] : [["models": []]] }
            let client = try ScriptoriumClient(brokers: [broker.endpoint], options: impatient())
            _ = try await client.models()
            let error = await failure { () throws(ClientError) in
                _ = try await client.submit(TaskRequest(kind: "generate", parameters: ["model": "m"]))
            }
            // The old one takes nothing more: where the request went there, nobody took it.
            #expect(error == nil || !broker.ops.contains("submit"), "round \(round)")
        }
    }

    @Test("a watch that is refused for longer than a request may take fails with the reason")
    func watchGivesUp() async throws {
        let broker = try ScriptedBroker { _, _ in [Self.draining] }
        var options = impatient()
        options.requestTimeout = .seconds(3)
        let client = try ScriptoriumClient(brokers: [broker.endpoint], options: options)
        await #expect(throws: ClientError.self) { for try await _ in client.watch(id) {} }
        #expect(broker.ops.count > 1)
    }

    @Test("where nobody listens the service is away")
    func nobody() async throws {
        var options = impatient()
        options.silence = .milliseconds(300)
        let client = try ScriptoriumClient(brokers: [deadEndpoint], options: options)
        let error = await failure { () throws(ClientError) in _ = try await client.ping() }
        #expect(error?.isServiceAway == true)
        #expect(error?.description.contains(deadEndpoint) == true)
    }

    @Test("a dead broker is passed over, even for a submit without a key: nothing was sent to it")
    func failover() async throws {
        let broker = try ScriptedBroker { _, _ in [["tasks": [["id": .string(id), "state": "queued", "duplicate": false]]]] }
        let client = try ScriptoriumClient(brokers: [deadEndpoint, broker.endpoint], options: impatient())
        #expect(try await client.submit(TaskRequest(kind: "generate", parameters: ["model": "m"])).id == id)
    }

    @Test("a broker that falls silent is given up: what may be repeated goes to the next, of the rest the outcome is unknown")
    func silent() async throws {
        let mute = try ScriptedBroker { _, _ in [] }
        let broker = try ScriptedBroker { request, _ in
            request["op"] == "ping" ? [[:]] : [["tasks": [["id": .string(id), "state": "queued", "duplicate": false]]]]
        }
        let client = try ScriptoriumClient(brokers: [mute.endpoint, broker.endpoint], options: impatient())
        var keyed = TaskRequest(kind: "generate", parameters: ["model": "m"])
        let unkeyed = keyed
        keyed.key = "k"
        async let unknown = failure { () throws(ClientError) in _ = try await client.submit(unkeyed) }
        async let accepted = client.submit(keyed)
        #expect(try await accepted.id == id)
        let error = await unknown
        #expect(error?.isServiceAway == true && error?.description.contains("unknown") == true)
        #expect(broker.ops == ["submit"])
    }

    @Test("a wait goes on until the task ends")
    func waits() async throws {
        let broker = try ScriptedBroker { _, number in number < 3 ? [["task": status("running"), "timed_out": true]] : [["task": status("failed")]] }
        let client = try ScriptoriumClient(brokers: [broker.endpoint])
        #expect(try await client.wait(id).state == "failed")
        #expect(try await client.wait(id, timeout: .zero).state == "failed")
        #expect(broker.requests.last?["timeout_ms"] == 0)
    }

    @Test("a watch gives the status, then events to the terminal one; unknown events are skipped")
    func watching() async throws {
        let broker = try ScriptedBroker { _, _ in
            func event(_ name: String, _ more: JSONObject = [:]) -> JSONObject {
                var event: JSONObject = ["task": .string(id), "attempt": 1, "seq": 0, "event": .string(name), "at": "2026-11-24T11:00:00.000Z"]
                for (key, value) in more { event[key] = value }
                return ["event": .object(event)]
            }
            return [
                ["task": status("running")], event("started"), event("sung"),
                event("token", ["sample": 0, "draw": 0, "index": 3, "token_id": 9, "text": "é"]),
                event("failed", ["error": ["code": "lost", "message": "x", "field": nil]]),
                event("queued"),
            ]
        }
        let client = try ScriptoriumClient(brokers: [broker.endpoint])
        var seen: [String] = []
        for try await message in client.watch(id) {
            switch message {
            case .status(let task): seen.append(task.state)
            case .update(let update): seen.append("\(update.body)")
            }
        }
        #expect(seen.count == 4 && seen[0] == "running" && seen[1] == "started" && seen[2].contains("é") && seen[3].contains("lost"))
    }

    @Test("leaving a watch ends it at the broker")
    func leaving() async throws {
        let broker = try ScriptedBroker { request, _ in request["op"] == "watch" ? [["task": status("running")]] : [[:]] }
        let client = try ScriptoriumClient(brokers: [broker.endpoint])
        for try await _ in client.watch(id) { break }
        while !broker.ops.contains("unwatch") {
            try Task.checkCancellation()
            await Task.yield()
        }
        #expect(broker.requests.last { $0["op"] == "unwatch" }?["watch"] == broker.requests.first?["id"])
    }

    @Test("a cancelled task's call returns, and a closed client's calls fail")
    func cancelled() async throws {
        let broker = try ScriptedBroker { _, _ in [] }
        let client = try ScriptoriumClient(brokers: [broker.endpoint])
        let call = Task { await failure { () throws(ClientError) in _ = try await client.wait(id) } }
        while broker.ops.isEmpty {
            try Task.checkCancellation()
            await Task.yield()
        }
        call.cancel()
        #expect(await call.value == .cancelled)
        client.close()
        #expect(await failure { () throws(ClientError) in _ = try await client.ping() } == .cancelled)
    }

    @Test("a call of a task that is cancelled already ends at once, and asks nothing")
    func cancelledBefore() async throws {
        let broker = try ScriptedBroker { _, _ in [] }
        var options = impatient()
        options.requestTimeout = .seconds(2)
        let client = try ScriptoriumClient(brokers: [broker.endpoint], options: options)
        let call = Task {
            withUnsafeCurrentTask { $0?.cancel() }
            return await failure { () throws(ClientError) in _ = try await client.models() }
        }
        #expect(await call.value == .cancelled)
        #expect(broker.ops.isEmpty)
    }

    @Test("an endpoint that is none is found at once", arguments: ["", "nowhere", "tcp://", "http://x:1"])
    func endpoints(endpoint: String) { #expect(throws: ClientError.self) { try ScriptoriumClient(brokers: [endpoint]) } }
}
