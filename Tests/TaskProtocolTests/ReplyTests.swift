import Encodings
import TaskProtocol
import TestSupport
import Testing

private let id = UUIDValue("0190b5a0-0000-7000-8000-00000000000a")!
private let now: Int64 = 1_795_518_000_250

private func status(result: [UInt8]? = nil) -> TaskStatus {
    TaskStatus(
        id: id, kind: "generate", queue: "default", state: .succeeded, priority: 5, key: "k\"1", attempt: 2, runAt: now, createdAt: now,
        startedAt: now + 1,
        finishedAt: nil, params: Array(#"{"model": "m", "seed": 12345678}"#.utf8), tags: Array(#"{"a": "b"}"#.utf8), waitingFor: .runAt,
        progress: nil, error: ContractError(.lost, "gone").json, result: result)
}

@Suite("replies")
struct ReplyTests {
    static let replies: [Reply] = [
        .pong(.init(version: "1", broker: id, synchronousCommit: "on", synchronousStandbys: ["a"])),
        .submitted([.init(id: id, state: .queued, duplicate: true)]),
        .statuses([status(), status(result: Array("{}".utf8))]), .status(status(), timedOut: true), .status(status(), timedOut: false),
        .stands([.init(id: id, state: .running)]),
        .models([
            ModelRow(name: "m", checkpoint: id, sha256: "ab", uri: "sha256:cd", architecture: "gpt2", parameters: 124_439_808, contextLength: 1024)
        ]), .done,
        .error(ContractError(.invalidArgument, "bad", field: "task.params.top_p")), .error(ContractError(.busy, "later")),
        .dataset(
            DatasetRow(
                name: "d", uri: "sha256:ab", sha256: "ab", bytes: 1, tokens: nil, blockSize: 8, lineByLine: true, tokenizerSHA256: nil,
                createdMilliseconds: now)),
        .have(5), .event(TaskEvent(task: id, attempt: 1, sequence: 0, at: now, body: .queued)),
    ]

    @Test("both encodings say the same", arguments: replies)
    func encodings(reply: Reply) throws {
        for re in [RequestID.none, .string("x"), .integer(-7)] {
            let json = reply.encode(re: re, as: .json)
            let packed = reply.encode(re: re, as: .messagePack)
            #expect(try JSONValue(Document.parse(messagePack: packed).root) == JSONValue.parse(json))
        }
    }

    @Test("bytes go back in MessagePack; JSON has no word for them")
    func bytes() throws {
        let reply = Reply.data([0, 255, 7], size: 9)
        let packed = try Document.parse(messagePack: reply.encode(re: .integer(5), as: .messagePack)).root
        #expect(packed["data"]?.binaryValue == [0, 255, 7] && packed["size"]?.integerValue == 9 && packed["re"]?.integerValue == 5)
        #expect(String(decoding: reply.encode(re: .none, as: .json), as: UTF8.self) == #"{"re":null,"ok":true,"data":null,"size":9}"#)
    }

    @Test("a reply is spelled as the contract spells it")
    func spelling() {
        func text(_ reply: Reply, _ re: RequestID = .integer(5)) -> String { String(decoding: reply.encode(re: re, as: .json), as: UTF8.self) }
        #expect(
            text(.submitted([.init(id: id, state: .queued, duplicate: false)]))
                == #"{"re":5,"ok":true,"tasks":[{"id":"\#(id)","state":"queued","duplicate":false}]}"#)
        #expect(
            text(.error(ContractError(.notFound, "no such model", field: "task.params.model")), .none)
                == #"{"re":null,"ok":false,"error":{"code":"not_found","message":"no such model","field":"task.params.model"}}"#)
        #expect(
            text(.status(status(), timedOut: true), .string("w"))
                == #"{"re":"w","ok":true,"task":{"id":"\#(id)","kind":"generate","queue":"default","state":"succeeded","priority":5,"key":"k\"1","attempt":2,"run_at":"2026-11-24T11:00:00.250Z","created_at":"2026-11-24T11:00:00.250Z","started_at":"2026-11-24T11:00:00.251Z","finished_at":null,"params":{"model": "m", "seed": 12345678},"tags":{"a": "b"},"waiting_for":"run_at","progress":null,"error":{"code":"lost","message":"gone","field":null},"result":null},"timed_out":true}"#
        )
    }

    @Test("a status reads back")
    func statusRoundTrip() throws {
        let reply = Reply.status(status(result: Array(#"{"generations":[]}"#.utf8)), timedOut: false)
        let node = try #require(try Document.parse(payload: reply.encode(re: .none, as: .messagePack)).root["task"])
        let read = try #require(TaskStatus(node))
        #expect(
            read.state == .succeeded && read.key == "k\"1" && read.runAt == now && read.waitingFor == .runAt
                && read.result == Array(#"{"generations":[]}"#.utf8))
        #expect(ContractError(json: read.error ?? []) == ContractError(.lost, "gone"))
    }

    static let bodies: [TaskEvent.Body] = [
        .queued, .started(worker: nil), .started(worker: "w"), .token(sample: 1, draw: 2, index: 3, tokenID: 4, text: "é\n"),
        .sample(sample: 1, promptIndex: 0, draw: 2, text: "x", finishReason: "eos", step: nil),
        .sample(sample: 0, promptIndex: 0, draw: 0, text: "", finishReason: nil, step: 1000),
        .progress(TaskProgress(phase: "training", step: 5, numSteps: 10, loss: 2.5, averageLoss: 3, tokensPerSecond: 28_000)),
        .progress(TaskProgress(step: 1)),
        .checkpoint(id: id, step: 9, uri: "sha256:ab", sha256: "cd", bytes: 1 << 40), .retrying(error: nil, runAt: nil),
        .retrying(error: nil, runAt: nil, numerics: "float32/2"),
        .retrying(error: ContractError(.timedOut, "slow"), runAt: now), .succeeded, .failed(ContractError(.modelError, "NaN", field: nil)),
        .cancelled,
    ]

    @Test("an event reads back from both encodings, with its map's members counted right", arguments: bodies)
    func events(body: TaskEvent.Body) throws {
        let event = TaskEvent(task: id, attempt: 3, sequence: 17, at: now, body: body)
        #expect(TaskEvent(try Document.parse(json: event.json).root) == event)
        var writer = MessagePackWriter()
        event.write(to: &writer)
        #expect(TaskEvent(try Document.parse(messagePack: writer.bytes).root) == event)
        #expect(event.topic == "task.\(id)")
    }

    @Test("events of a later version are no events here")
    func laterEvents() throws {
        #expect(
            TaskEvent(try Document.parse(json: Array(#"{"task":"\#(id)","event":"sung","attempt":1,"seq":0,"at":"2026-11-24T11:00:00Z"}"#.utf8)).root)
                == nil)
    }

    @Test("a reply over the limit says how many ids fit, and a single status loses its result")
    func limits() throws {
        let big = status(result: Array(#"{"generations":[1,2,3],"x":""#.utf8) + [UInt8](repeating: 0x61, count: 3000) + Array("\"}".utf8))
        let many = try Document.parse(json: Reply.statuses([big, big, big]).encode(re: .none, as: .json, maximumBytes: 9000)).root
        #expect(many["ok"]?.boolValue == false && many["error"]?["code"]?.stringValue == "too_large")
        #expect(many["error"]?["message"]?.stringValue?.contains("the first 2 of these 3 ids fit") == true)
        for reply in [Reply.status(big, timedOut: false), .statuses([big])] {
            let one = try JSONValue.parse(reply.encode(re: .none, as: .json, maximumBytes: 3000))
            let task = one["task"] ?? one["tasks"]?.arrayValue?.first
            #expect(task?["result"] == ["truncated": true, "generations": 3])
        }
    }
}

@Suite("resolved tasks")
struct ResolvedTaskTests {
    private let digest = String(repeating: "ab", count: 32)
    private var model: ResolvedModel {
        ResolvedModel(
            name: "demo", checkpoint: id, sha256: digest, manifest: digest, tokenizerSHA256: digest, contextLength: 64, lineByLine: true, step: 5)
    }

    @Test("pinning fills in what the model decides")
    func effective() throws {
        guard case .generate(let generate) = ResolvedTask.effective(.generate(GenerateParameters(model: "demo")), model: model, datasets: []) else {
            throw ContractError(.internalError, "another shape than expected")
        }
        #expect(generate.prependBOS == true && generate.maxLength == 64)
        let asked = FinetuneParameters(base: .model("demo"), output: "o", dataset: .name("d"))
        let dataset = ResolvedDataset(name: "d", sha256: digest, lineByLine: true)
        guard case .finetune(let finetune) = ResolvedTask.effective(.finetune(asked), model: model, datasets: [dataset]) else {
            throw ContractError(.internalError, "another shape than expected")
        }
        #expect(finetune.blockSize == 64 && finetune.lineByLine == true && finetune.header == true)
    }

    @Test("a resolved task is canonical and reads back, also in another order of members")
    func roundTrip() throws {
        let tasks = [
            ResolvedTask(parameters: .generate(GenerateParameters(model: "demo")), seed: 1 << 53 - 1, seedAssigned: true, model: model),
            ResolvedTask(
                parameters: .finetune(FinetuneParameters(base: .namedConfig("gpt2-cpu"), output: "o", dataset: .name("d")).withTokenizer), seed: 0,
                seedAssigned: false,
                dataset: ResolvedDataset(name: nil, sha256: digest, lineByLine: false, tokenizerSHA256: digest),
                tokenizer: ResolvedTokenizer(name: "t", sha256: digest)),
            ResolvedTask(
                parameters: .finetune(
                    FinetuneParameters(
                        base: .namedConfig("gpt2-cpu"), output: "o",
                        dataset: .crossTrain([.init(.merge([.init(.name("d"), lineByLine: true)], equalize: true)), .init(.name("e"))])
                    ).withTokenizer), seed: 0, seedAssigned: false,
                datasets: [
                    ResolvedDataset(name: "d", sha256: digest, lineByLine: true), ResolvedDataset(name: "e", sha256: digest, lineByLine: false),
                ]),
            ResolvedTask(
                parameters: .verify(VerifyParameters(subject: .task(id), method: .replay)), seed: 0, seedAssigned: false, model: model,
                texts: [
                    ResolvedText(generation: id, proof: Array(#"{"params":{"temperature":1e-7},"schema":["é"],"text":"a\nb"}"#.utf8)),
                    ResolvedText(generation: id, proof: Array("{}".utf8)),
                ]),
        ]
        for task in tasks {
            #expect(try JSONValue.parse(task.json).canonical == task.json)
            #expect(try ResolvedTask.decode(task.json) == task)
            guard case .object(let object) = try JSONValue.parse(task.json) else {
                throw ContractError(.internalError, "another shape than expected")
            }
            var reversed = JSONObject()
            for (key, value) in object.reversed() { reversed[key] = value }
            #expect(try ResolvedTask.decode(JSONValue.object(reversed).prettyPrinted) == task)
            var writer = MessagePackWriter()
            task.write(to: &writer)
            #expect(try Document.parse(messagePack: writer.bytes).root.canonical == task.json)
        }
    }

    @Test(
        "a broken resolved task is an error",
        arguments: [
            "", "{}", "[]", #"{"kind":"generate"}"#, #"{"kind":"generate","params":{"model":"m"},"seed":1,"model":{}}"#,
            #"{"kind":"verify","params":{"task":"01900000-0000-7000-8000-000000000000"},"seed":0,"texts":[{"generation":"x","proof":{}}]}"#,
            #"{"kind":"verify","params":{"task":"01900000-0000-7000-8000-000000000000"},"seed":0,"texts":[{"generation":"01900000-0000-7000-8000-000000000000"}]}"#,
        ])
    func broken(json: String) { #expect(throws: ContractError.self) { try ResolvedTask.decode(Array(json.utf8)) } }
}

extension FinetuneParameters {
    fileprivate var withTokenizer: FinetuneParameters {
        var copy = self
        copy.tokenizer = .name("t")
        return copy
    }
}

@Suite("identifiers, times and seeds")
struct IdentifierTests {
    @Test("a UUID reads back from its text in either case", arguments: 1...50)
    func uuids(seed: Int) {
        var generator = SeededGenerator(seed: UInt64(seed))
        let value = UUIDValue(hi: generator.next(), lo: generator.next())
        #expect(UUIDValue(value.description) == value && UUIDValue(value.description.uppercased()) == value)
        #expect(value.bytes.count == 16)
    }

    @Test(
        "other text is no UUID",
        arguments: [
            "", "x", "0190b5a0-0000-7000-8000-00000000000", "0190b5a0-0000-7000-8000-00000000000g", "0190b5a000007000800000000000000aabcd",
            "0190b5a0-0000-7000-8000-00000000000aa",
        ])
    func notUUIDs(text: String) { #expect(UUIDValue(text) == nil) }

    @Test("version 7 carries its time, sorts by it and is marked so; version 4 is marked so")
    func versions() {
        var generator = SeededGenerator(seed: 7)
        let values = (0..<100).map { UUIDValue.version7(milliseconds: now + Int64($0), random: &generator) }
        #expect(values == values.sorted() && values.allSatisfy { $0.version == 7 && $0.lo >> 62 == 2 })
        #expect(values[99].milliseconds == now + 99)
        #expect(UUIDValue.random(using: &generator).version == 4 && UUIDValue.random() != UUIDValue.random())
    }

    @Test(
        "RFC 3339 times become milliseconds",
        arguments: [
            ("1970-01-01T00:00:00Z", 0), ("2000-02-29T00:00:00Z", 951_782_400_000), ("2026-11-24T02:10:46.123Z", 1_795_486_246_123),
            ("2026-11-24t02:10:46.1239z", 1_795_486_246_123), ("2026-11-24 02:10:46+00:00", 1_795_486_246_000), ("1969-12-31T23:59:59.5Z", -500),
            ("2026-11-24T03:40:46+01:30", 1_795_486_246_000), ("2026-11-23T21:10:46-05:00", 1_795_486_246_000),
            ("1990-12-31T23:59:60Z", 662_688_000_000),
            ("2026-11-24", nil), ("2026-11-24T02:10:46", nil), ("2026-11-24T02:10Z", nil), ("2026-13-01T00:00:00Z", nil),
            ("2025-02-29T00:00:00Z", nil),
            ("2026-11-24T24:00:00Z", nil), ("2026-11-24T02:10:46.Z", nil), ("2026-11-24T02:10:46Zx", nil), ("", nil),
            ("2026-11-24T02:10:46+24:00", nil),
        ] as [(String, Int64?)])
    func times(text: String, expected: Int64?) { #expect(Timestamp.milliseconds(text) == expected) }

    @Test("milliseconds become text that reads back", arguments: 1...20)
    func timeText(seed: Int) {
        var generator = SeededGenerator(seed: UInt64(seed))
        for _ in 0..<100 {
            let value = Int64.random(in: -62_135_596_800_000...253_402_300_799_999, using: &generator)
            #expect(Timestamp.milliseconds(Timestamp.text(milliseconds: value)) == value)
        }
        #expect(Timestamp.text(milliseconds: -1) == "1969-12-31T23:59:59.999Z")
    }

    @Test("assigned seeds have eight digits and both ends of the range occur in sequence")
    func seeds() {
        var generator = SeededGenerator(seed: 3)
        let seeds = (0..<10_000).map { _ in Seed.assigned(using: &generator) }
        #expect(seeds.allSatisfy { String($0).count == 8 } && seeds.min()! < 10_100_000 && seeds.max()! > 99_900_000)
    }

    @Test("workers announce the parameters of every kind of task")
    func names() {
        for name in ["model", "top_p", "prompts", "num_steps", "stream", "schema_tokens", "precision", "lora", "cross_train", "method"] {
            #expect(TaskParameters.knownNames.contains(name))
        }
        #expect(TaskParameters.knownNames == Set(TaskParameters.knownNames).sorted())
    }
}
