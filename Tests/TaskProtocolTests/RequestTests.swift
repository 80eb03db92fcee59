import Encodings
import TaskProtocol
import TestSupport
import Testing

private let id = "0190b5a0-0000-7000-8000-00000000000a"

@Suite("requests")
struct RequestTests {
    @Test(
        "every op takes its own members and refuses others",
        arguments: [
            (#"{"op":"ping"}"#, "accepted"), (#"{"op":"ping","id":null}"#, "accepted"), (#"{"op":"ping","task":1}"#, "invalid_argument task"),
            (#"{"op":"models"}"#, "accepted"), (#"{"op":"models","ids":[]}"#, "invalid_argument ids"), (#"{"op":"nope"}"#, "bad_request op"),
            (#"{"op":5}"#, "bad_request op"), (#"{}"#, "bad_request op"), (#"{"op":null}"#, "bad_request op"), (#"[]"#, "bad_request -"),
            (#"5"#, "bad_request -"), (#""x""#, "bad_request -"), (#"null"#, "bad_request -"), (#"nonsense"#, "bad_request -"), ("", "bad_request -"),
            (#"{"op":"ping","op":"ping"}"#, "bad_request -"),
            (#"{"op":"get","ids":["\#(id)"]}"#, "accepted"), (#"{"op":"get","ids":["\#(id)"],"results":false}"#, "accepted"),
            (#"{"op":"get","ids":["\#(id)"],"results":1}"#, "bad_request results"), (#"{"op":"get"}"#, "bad_request ids"),
            (#"{"op":"get","ids":[]}"#, "invalid_argument ids"), (#"{"op":"get","ids":"x"}"#, "bad_request ids"),
            (#"{"op":"get","ids":["\#(id)","\#(id)","x"]}"#, "invalid_argument ids[2]"), (#"{"op":"get","ids":["\#(id)",3]}"#, "bad_request ids[1]"),
            (#"{"op":"get","ids":["\#(id)"],"result":true}"#, "invalid_argument result"),
            (#"{"op":"wait","task":"\#(id)"}"#, "accepted"), (#"{"op":"wait","task":"\#(id)","timeout_ms":0}"#, "accepted"),
            (#"{"op":"wait","task":"\#(id)","timeout_ms":3600000}"#, "accepted"),
            (#"{"op":"wait","task":"\#(id)","timeout_ms":3600001}"#, "invalid_argument timeout_ms"),
            (#"{"op":"wait","task":"\#(id)","timeout_ms":-1}"#, "invalid_argument timeout_ms"),
            (#"{"op":"wait","task":"\#(id)","timeout_ms":"1"}"#, "bad_request timeout_ms"), (#"{"op":"wait"}"#, "bad_request task"),
            (#"{"op":"wait","task":"x"}"#, "invalid_argument task"), (#"{"op":"wait","task":{}}"#, "bad_request task"),
            (#"{"op":"watch","task":"\#(id)"}"#, "accepted"), (#"{"op":"watch"}"#, "bad_request task"), (#"{"op":"unwatch","watch":5}"#, "accepted"),
            (#"{"op":"unwatch","watch":"w"}"#, "accepted"), (#"{"op":"unwatch"}"#, "bad_request watch"),
            (#"{"op":"unwatch","watch":[]}"#, "bad_request watch"),
            (#"{"op":"cancel","ids":["\#(id)"]}"#, "accepted"), (#"{"op":"cancel"}"#, "bad_request ids"),
            (#"{"op":"retry","ids":["\#(id)"]}"#, "accepted"),
            (#"{"op":"submit"}"#, "bad_request task"), (#"{"op":"submit","task":5}"#, "bad_request task"),
            (#"{"op":"submit","tasks":5}"#, "bad_request tasks"),
            (#"{"op":"submit","tasks":[]}"#, "invalid_argument tasks"), (#"{"op":"submit","tasks":[5]}"#, "bad_request tasks[0]"),
            (#"{"op":"submit","task":{},"tasks":[]}"#, "invalid_argument tasks"), (#"{"op":"submit","task":{}}"#, "bad_request task.kind"),
            (#"{"op":"submit","task":{"kind":"dance","params":{}}}"#, "invalid_argument task.kind"),
            (#"{"op":"submit","task":{"kind":"generate"}}"#, "bad_request task.params"),
            (#"{"op":"submit","task":{"kind":"generate","params":[]}}"#, "bad_request task.params"),
            (#"{"op":"submit","task":{"kind":"verify","params":{"task":"\#(id)"}}}"#, "accepted"),
            (#"{"op":"submit","task":{"kind":"verify","params":{"generation":"\#(id)","method":"replay"}}}"#, "accepted"),
            (#"{"op":"submit","task":{"kind":"verify","params":{"task":"\#(id)","method":"guess"}}}"#, "invalid_argument task.params.method"),
            (
                #"{"op":"submit","task":{"kind":"verify","params":{"task":"\#(id)","generation":"\#(id)"}}}"#,
                "invalid_argument task.params.generation"
            ),
            (#"{"op":"submit","task":{"kind":"verify","params":{"task":"\#(id)","seed":1}}}"#, "invalid_argument task.params.seed"),
            (#"{"op":"submit","task":{"kind":"verify","params":{"task":"x"}}}"#, "invalid_argument task.params.task"),
            (#"{"op":"submit","task":{"kind":"verify","params":{}}}"#, "invalid_argument task.params.generation"),
            (#"{"op":"submit","tasks":[{"kind":"generate","params":{"model":"m"}}],"watch":true}"#, "invalid_argument watch"),
            (#"{"op":"register"}"#, "bad_request model"), (#"{"op":"register","model":{},"dataset":{}}"#, "invalid_argument dataset"),
            (#"{"op":"register","dataset":{"name":"d"}}"#, "invalid_argument dataset.sha256"),
            (#"{"op":"register","dataset":{"name":"d","sha256":"abc"}}"#, "invalid_argument dataset.sha256"),
            (#"{"op":"register","dataset":{"name":"d","path":"x"}}"#, "invalid_argument dataset.path"),
            (#"{"op":"register","model":{"name":"a/b"}}"#, "invalid_argument model.name"), (#"{"op":"register","model":[]}"#, "bad_request model"),
        ])
    func ops(json: String, expected: String) throws {
        #expect(short(refusal(json)) == expected)
        guard let value = try? JSONValue.parse(json), value.objectValue != nil else { return }
        var packed: ContractError?
        if case .failure(let error) = try decodePacked(json).operation { packed = error }
        #expect(short(packed) == expected)
    }

    private static let digest = String(repeating: "ab", count: 32)

    /// A request of `put` or `fetch` in MessagePack, with bytes where the JSON has the text `bytes:` and their count.
    private func artifact(_ json: String) throws -> Result<TaskProtocol.Operation, ContractError> {
        guard let members = try JSONValue.parse(json).objectValue else { throw ContractError(.internalError, "no map") }
        var writer = MessagePackWriter()
        writer.beginMap(members.count)
        for (name, value) in members {
            writer.key(name)
            if let count = value.stringValue.flatMap({ $0.hasPrefix("bytes:") ? Int($0.dropFirst(6)) : nil }) {
                writer.binary([UInt8](repeating: 7, count: count))
            } else {
                value.write(to: &writer)
            }
        }
        writer.endMap()
        return Request.decode(writer.bytes).operation
    }

    @Test("put and fetch are asked in MessagePack alone, and every member is checked")
    func artifacts() throws {
        let accepted: [(String, ArtifactOperation)] = [
            (
                #"{"op":"put","sha256":"\#(Self.digest)","size":9,"offset":4,"data":"bytes:5"}"#,
                .put(ArtifactPut(sha256: Self.digest, size: 9, offset: 4, data: [7, 7, 7, 7, 7]))
            ),
            (#"{"op":"put","sha256":"sha256:\#(Self.digest)","size":9,"offset":0}"#, .put(ArtifactPut(sha256: Self.digest, size: 9))),
            (#"{"op":"put","sha256":"\#(Self.digest)"}"#, .put(ArtifactPut(sha256: Self.digest, size: nil))),
            (#"{"op":"fetch","sha256":"\#(Self.digest)","offset":3,"length":10}"#, .fetch(ArtifactFetch(sha256: Self.digest, offset: 3, length: 10))),
            (#"{"op":"fetch","sha256":"\#(Self.digest)"}"#, .fetch(ArtifactFetch(sha256: Self.digest))),
            (#"{"op":"fetch","sha256":"\#(Self.digest)","offset":0,"length":99999999}"#, .fetch(ArtifactFetch(sha256: Self.digest))),
        ]  // swift-format-ignore
        for (json, operation) in accepted {
            #expect(try artifact(json).get() == .artifact(operation), "\(json)")
            #expect(short(refusal(json)) == "bad_request op", "\(json)")
        }
        let refused = [
            (#"{"op":"put","size":9}"#, "bad_request sha256"), (#"{"op":"put","sha256":"abc","size":9}"#, "invalid_argument sha256"),
            (#"{"op":"put","sha256":"\#(Self.digest)","size":-1}"#, "invalid_argument size"),
            (#"{"op":"put","sha256":"\#(Self.digest)","data":"bytes:1"}"#, "bad_request size"),
            (#"{"op":"put","sha256":"\#(Self.digest)","size":9,"offset":10,"data":"bytes:0"}"#, "invalid_argument offset"),
            (#"{"op":"put","sha256":"\#(Self.digest)","size":9,"offset":9,"data":"bytes:1"}"#, "invalid_argument data"),
            (#"{"op":"put","sha256":"\#(Self.digest)","size":9999999,"data":"bytes:1048577"}"#, "invalid_argument data"),
            (#"{"op":"put","sha256":"\#(Self.digest)","size":9,"data":"text"}"#, "bad_request data"),
            (#"{"op":"put","sha256":"\#(Self.digest)","size":9,"name":"x"}"#, "invalid_argument name"),
            (#"{"op":"fetch","sha256":"../../x"}"#, "invalid_argument sha256"), (#"{"op":"fetch"}"#, "bad_request sha256"),
            (#"{"op":"fetch","sha256":"\#(Self.digest)","length":-1}"#, "invalid_argument length"),
            (#"{"op":"fetch","sha256":"\#(Self.digest)","offset":0.5}"#, "bad_request offset"),
            (#"{"op":"fetch","sha256":"\#(Self.digest)","data":"bytes:1"}"#, "invalid_argument data"),
        ]
        for (json, expected) in refused {
            guard case .failure(let error) = try artifact(json) else {
                Issue.record("accepted: \(json)")
                continue
            }
            #expect(short(error) == expected, "\(json)")
        }
    }

    @Test("a path names the task and the element in it")
    func paths() {
        let good = #"{"kind":"generate","params":{"model":"m"}}"#
        func tasks(_ last: String) -> String { #"{"op":"submit","tasks":[\#(good),\#(good),\#(good),\#(last)]}"# }
        #expect(short(refusal(tasks(#"{"kind":"generate","params":{"model":"m","top_p":2}}"#))) == "invalid_argument tasks[3].params.top_p")
        #expect(short(refusal(tasks(#"{"kind":"generate","params":{"model":"m"},"colour":1}"#))) == "invalid_argument tasks[3].colour")
        do throws(ContractError) {
            _ = try TaskParameters.decodeStored(kind: "generate", params: Array(#"{"model":"m","top_p":2}"#.utf8))
        } catch { #expect(short(error) == "invalid_argument params.top_p") }
        do throws(ContractError) { _ = try TaskParameters.decodeStored(kind: "dance", params: []) } catch {
            #expect(short(error) == "invalid_argument kind")
        }
    }

    @Test(
        "a task's own members are checked",
        arguments: [
            ("queue", #""fast""#, "accepted"), ("queue", #""a b""#, "invalid_argument task.queue"), ("queue", "5", "bad_request task.queue"),
            ("priority", "-100", "accepted"), ("priority", "100", "accepted"), ("priority", "101", "invalid_argument task.priority"),
            ("priority", "-101", "invalid_argument task.priority"), ("priority", "\"1\"", "bad_request task.priority"), ("key", #""k""#, "accepted"),
            ("key", #""""#, "invalid_argument task.key"), ("key", "5", "bad_request task.key"), ("key", "null", "accepted"),
            ("run_at", #""2026-11-24T12:00:00Z""#, "accepted"), ("run_at", #""2026-11-24T12:00:00.5+01:00""#, "accepted"),
            ("run_at", #""2026-11-24T12:00:00""#, "invalid_argument task.run_at"), ("run_at", #""tomorrow""#, "invalid_argument task.run_at"),
            ("run_at", #""2026-02-30T12:00:00Z""#, "invalid_argument task.run_at"), ("run_at", "5", "bad_request task.run_at"),
            ("timeout_s", "1", "accepted"), ("timeout_s", "0.5", "accepted"), ("timeout_s", "0", "invalid_argument task.timeout_s"),
            ("timeout_s", "-1", "invalid_argument task.timeout_s"), ("timeout_s", "\"1\"", "bad_request task.timeout_s"),
            ("max_attempts", "1", "accepted"), ("max_attempts", "100", "accepted"), ("max_attempts", "0", "invalid_argument task.max_attempts"),
            ("max_attempts", "101", "invalid_argument task.max_attempts"), ("after", "[]", "accepted"), ("after", #"["\#(id)"]"#, "accepted"),
            ("after", #"["\#(id)","x"]"#, "invalid_argument task.after[1]"), ("after", #""x""#, "bad_request task.after"),
            ("tags", #"{"a":"b"}"#, "accepted"),
            ("tags", #"{"a":5}"#, "bad_request task.tags.a"), ("tags", "[]", "bad_request task.tags"), ("id", "5", "invalid_argument task.id"),
        ])
    func members(name: String, value: String, expected: String) {
        #expect(short(refusal(#"{"op":"submit","task":{"kind":"generate","params":{"model":"m"},"\#(name)":\#(value)}}"#)) == expected)
    }

    @Test("limits of counts and lengths are those of the contract")
    func limits() {
        func task(_ member: String) -> String { #"{"op":"submit","task":{"kind":"generate","params":{"model":"m"},\#(member)}}"# }
        func ids(_ count: Int) -> String { "[" + repeatElement("\"\(id)\"", count: count).joined(separator: ",") + "]" }
        func tags(_ count: Int) -> String { "{" + (0..<count).map { "\"t\($0)\":\"\"" }.joined(separator: ",") + "}" }
        func text(_ count: Int) -> String { "\"" + String(repeating: "k", count: count) + "\"" }
        #expect(short(refusal(task("\"after\":" + ids(100)))) == "accepted")
        #expect(short(refusal(task("\"after\":" + ids(101)))) == "invalid_argument task.after")
        #expect(short(refusal(task("\"tags\":" + tags(32)))) == "accepted")
        #expect(short(refusal(task("\"tags\":" + tags(33)))) == "invalid_argument task.tags")
        #expect(short(refusal(task("\"tags\":{\"a\":" + text(256) + "}"))) == "accepted")
        #expect(short(refusal(task("\"tags\":{\"a\":" + text(257) + "}"))) == "invalid_argument task.tags.a")
        #expect(short(refusal(task("\"key\":" + text(256)))) == "accepted")
        #expect(short(refusal(task("\"key\":" + text(257)))) == "invalid_argument task.key")
        #expect(short(refusal(#"{"op":"get","ids":\#(ids(10_000))}"#)) == "accepted")
        #expect(short(refusal(#"{"op":"get","ids":\#(ids(10_001))}"#)) == "invalid_argument ids")
        let tasks = repeatElement(#"{"kind":"generate","params":{"model":"m"}}"#, count: 10_001).joined(separator: ",")
        #expect(short(refusal(#"{"op":"submit","tasks":[\#(tasks)]}"#)) == "invalid_argument tasks")
        #expect(short(refusal(String(repeating: " ", count: 16 << 20) + "x")) == "too_large -")
    }

    @Test("the id comes back even where the rest is wrong")
    func ids() throws {
        #expect(decode(#"{"op":"nope","id":7}"#).id == .integer(7))
        #expect(decode(#"{"op":"nope","id":"a"}"#).id == .string("a"))
        #expect(decode(#"{"op":"ping"}"#).id == .none)
        #expect(short(refusal(#"{"op":"ping","id":1.5}"#)) == "bad_request id")
        #expect(short(refusal(#"{"op":"ping","id":[]}"#)) == "bad_request id")
        let long = String(repeating: "x", count: 256)
        #expect(short(refusal(#"{"op":"ping","id":"\#(long)"}"#)) == "accepted")
        #expect(short(refusal(#"{"op":"ping","id":"\#(long)x"}"#)) == "invalid_argument id")
        #expect(try decodePacked(#"{"op":"ping","id":-5}"#).id == .integer(-5))
    }

    @Test("nor may a request that is refused whole leave its sender without its id: U+0000, or too deep")
    func idsOfUnread() throws {
        let deep = String(repeating: "[", count: 40) + String(repeating: "]", count: 40)
        for broken in [#""a\u0000b""#, deep] {
            let request = decode(#"{"op":"ping","id":7,"x":\#(broken)}"#)
            #expect(request.id == .integer(7))
            guard case .failure(let error) = request.operation else {
                Issue.record("accepted")
                continue
            }
            #expect(error.code == .badRequest)
        }
        let abyss = String(repeating: "[", count: 100_000) + String(repeating: "]", count: 100_000)
        for broken in [#"{"op":"ping","id":7"#, #"{"op":"ping","id":7,"x":\#(abyss)}"#] { #expect(decode(broken).id == .none) }
    }

    @Test("nothing can be watched behind REQ's delimiter")
    func delimiter() {
        #expect(short(refusal(#"{"op":"watch","task":"\#(id)"}"#, delimited: true)) == "bad_request op")
        let watching = #"{"op":"submit","task":{"kind":"generate","params":{"model":"m"}},"watch":true}"#
        #expect(short(refusal(watching, delimited: true)) == "bad_request watch")
        #expect(short(refusal(watching)) == "accepted")
    }

    @Test("a registration is read whole")
    func registration() throws {
        let digest = String(repeating: "ab", count: 32)
        let json =
            #"{"op":"register","model":{"name":"m","sha256":"\#(digest)","checkpoint_sha256":"sha256:\#(digest)","architecture":"gpt2","parameters":5,"context_length":64,"bytes":9,"config":{"b":1,"a":2}}}"#
        guard case .registerModel(let model) = try decode(json).operation.get() else { throw ContractError(.internalError, "another op") }
        #expect(model.name == "m" && model.manifest == digest && model.sha256 == digest && model.contextLength == 64 && !model.lineByLine)
        #expect(model.config == Array(#"{"a":2,"b":1}"#.utf8))
        guard
            case .registerDataset(let dataset) = try decode(
                #"{"op":"register","dataset":{"name":"d","sha256":"\#(digest)","bytes":3,"line_by_line":true}}"#
            ).operation.get()
        else { throw ContractError(.internalError, "another op") }
        #expect(dataset == DatasetRegistration(name: "d", manifest: digest, bytes: 3, lineByLine: true))
    }

    @Test(
        "envelopes end with the first empty frame",
        arguments: [
            ([5], 0), ([0, 5], 1), ([4, 0, 5], 2), ([1, 2, 3, 4, 5, 6, 7, 0, 9], 8), ([], nil), ([0], nil), ([5, 5], nil), ([0, 5, 5], nil),
            ([0, 0, 5], nil),
            ([1, 2, 3, 4, 5, 6, 7, 8, 0, 9], nil), ([0, 0], 1),
        ] as [([Int], Int?)])
    func envelopes(sizes: [Int], expected: Int?) {
        #expect((try? Envelope.split(frameSizes: sizes))?.frameCount == expected)
    }
}

@Suite("submissions")
struct SubmissionTests {
    private func submission(_ json: String) throws -> TaskSubmission {
        guard case .submit(let request) = try decode(json).operation.get() else { throw ContractError(.internalError, "not a submit") }
        return request.tasks[0]
    }

    @Test("a whole task is read")
    func whole() throws {
        let task = try submission(
            #"{"op":"submit","task":{"kind":"generate","params":{"prompt":"x","model":"m","seed":null},"queue":"q","priority":-3,"key":"k","run_at":"2026-11-24T12:00:00.25+01:00","timeout_s":1.5,"max_attempts":7,"after":["\#(id)"],"tags":{"b":"2","a":"1"}}}"#
        )
        #expect(task.queue == "q" && task.priority == -3 && task.key == "k" && task.timeoutSeconds == 1.5 && task.maxAttempts == 7)
        #expect(task.runAt == 1_795_518_000_250)
        #expect(task.after == [UUIDValue(id)!])
        #expect(String(decoding: task.tagsJSON, as: UTF8.self) == #"{"b":"2","a":"1"}"#)
        #expect(String(decoding: task.submittedParams, as: UTF8.self) == #"{"model":"m","prompt":"x"}"#)
    }

    @Test(
        "null means absent, whatever the member is called",
        arguments: [
            #"{"op":"ping","bogus":null}"#,
            #"{"op":"submit","bogus":null,"task":{"kind":"generate","bogus":null,"params":{"model":"m","bogus":null}}}"#,
            submit(
                finetune:
                    #"{"config":"gpt2-cpu","output":"o","bogus":null,"dataset":{"text":"abc","bogus":null},"tokenizer":{"train":{"bogus":null},"bogus":null}}"#
            ),
        ])
    func nullIsAbsent(json: String) throws {
        #expect(short(refusal(json)) == "accepted")
        let given = json.replacing(#""bogus":null"#, with: #""bogus":0"#)
        #expect(try #require(refusal(given)).code == .invalidArgument)
        #expect(short(refusal(json.replacing(#""bogus":null"#, with: #""bogus":null,"bogus":null"#))).hasPrefix("bad_request"))
    }

    @Test("the digest is of kind and params as submitted: order, nulls, spelling and encoding do not matter, values do")
    func digests() throws {
        let base = try submission(submit(generate: #"{"model":"m","prompt":"é","top_p":1}"#)).paramsDigest
        #expect(try submission(submit(generate: #"{"top_p":1.0,"prompt":"\u00e9","model":"m","seed":null}"#)).paramsDigest == base)
        guard case .submit(let packed) = try decodePacked(submit(generate: #"{"top_p":1,"model":"m","prompt":"é"}"#)).operation.get() else {
            throw ContractError(.internalError, "another shape than expected")
        }
        #expect(packed.tasks[0].paramsDigest == base)
        #expect(try submission(submit(generate: #"{"model":"m","prompt":"é"}"#)).paramsDigest != base)
        #expect(try submission(submit(generate: #"{"model":"m","prompt":"e","top_p":1}"#)).paramsDigest != base)
        #expect(
            TaskSubmission.digest(kind: .verify, canonicalParams: Array("{}".utf8))
                != TaskSubmission.digest(kind: .generate, canonicalParams: Array("{}".utf8)))
    }

    @Test("random submissions decode alike from JSON and MessagePack, and their effective values decode to themselves", arguments: 1...40)
    func property(seed: Int) throws {
        var generator = SeededGenerator(seed: UInt64(seed))
        for _ in 0..<50 {
            let json = String(decoding: randomSubmit(&generator).serialised, as: UTF8.self)
            guard case .submit(let fromJSON) = try decode(json).operation.get(), case .submit(let fromPack) = try decodePacked(json).operation.get()
            else { throw ContractError(.internalError, "another shape than expected") }
            #expect(fromJSON == fromPack, "seed \(seed): \(json)")
            for task in fromJSON.tasks {
                var writer = JSONWriter()
                task.parameters.write(to: &writer)
                #expect(try TaskParameters.decodeStored(kind: task.kind.rawValue, params: writer.bytes) == task.parameters, "seed \(seed)")
                #expect(try JSONValue.parse(writer.bytes).canonical == writer.bytes, "seed \(seed)")
                #expect(try TaskParameters.decodeStored(kind: task.kind.rawValue, params: task.submittedParams) == task.parameters, "seed \(seed)")
            }
        }
    }

    @Test("mutated requests never crash the decoder, and what it refuses has a code", arguments: 1...16)
    func fuzz(seed: Int) throws {
        var generator = SeededGenerator(seed: UInt64(seed))
        for _ in 0..<1500 {
            let value = randomSubmit(&generator)
            var writer = MessagePackWriter()
            value.write(to: &writer)
            for var bytes in [value.serialised, writer.bytes] {
                for _ in 0..<Int.random(in: 1...3, using: &generator) {
                    let place = Int.random(in: 0..<bytes.count, using: &generator)
                    if Bool.random(using: &generator) { bytes[place] = UInt8.random(in: 0...255, using: &generator) } else { bytes.remove(at: place) }
                }
                if case .failure(let error) = Request.decode(bytes).operation {
                    #expect([.badRequest, .invalidArgument, .tooLarge].contains(error.code))
                }
            }
        }
    }

    private func randomSubmit(_ generator: inout SeededGenerator) -> JSONValue {
        let tasks = (0..<Int.random(in: 1...3, using: &generator)).map { _ in randomTask(&generator) }
        return tasks.count == 1 ? ["op": "submit", "id": 1, "task": tasks[0]] : ["op": "submit", "tasks": .array(tasks)]
    }

    private func randomTask(_ generator: inout SeededGenerator) -> JSONValue {
        let choices: [(String, JSONValue)] = [
            ("prompt", "In the é"), ("n", 3), ("min_length", 2), ("max_length", 99), ("temperature", [0.5, 1, 1.25]), ("temperature", 0.25),
            ("top_k", 40),
            ("top_p", 0.95), ("min_p", 0.01), ("typical_p", 0.9), ("repetition_penalty", 1.1), ("no_repeat_ngram_size", 3),
            ("bad_words", ["x", "yy"]),
            ("banned_tokens", [1, 70_000]), ("stop", ["\n", "€"]), ("seed", 9_007_199_254_740_991), ("prepend_bos", true), ("lstrip", false),
            ("truncate", "t"),
            ("nonempty_output", false), ("logprobs", 0), ("return_token_ids", true), ("stream", nil), ("deduplicate", true), ("rng", "philox"),
        ]
        var params: JSONObject = ["model": "demo"]
        for (name, value) in choices.shuffled(using: &generator).prefix(Int.random(in: 0..<12, using: &generator)) { params[name] = value }
        var task: JSONObject = ["kind": "generate", "params": .object(params)]
        if Bool.random(using: &generator) { task["priority"] = .integer(Int64.random(in: -100...100, using: &generator)) }
        if Bool.random(using: &generator) { task["tags"] = ["run": "7", "é": ""] }
        if Bool.random(using: &generator) { task["key"] = .string("key \(Int.random(in: 0..<9, using: &generator))") }
        return .object(task)
    }
}
