import Encodings
import TaskProtocol
import TestSupport
import Testing

@Suite struct WorkerProtocolTests {
    @Test("every message of a worker reads back as it was written", arguments: 0..<40 as Range<UInt64>)
    func workerRoundTrip(seed: UInt64) throws {
        var random = MessageMaker(seed: seed)
        for message in random.workerMessages() { #expect(try WorkerMessage.decode(message.encoded) == message, "seed \(seed)") }
    }

    @Test("a worker that says nothing of its epoch is in epoch 0, and what it says that nobody knows is passed over") func noEpoch() throws {
        var registration = WorkerRegistration(
            session: SessionID(hi: 1, lo: 2), host: "h", pid: 1, version: "1", numerics: ["float32/1"], instructionSet: "plain", threads: 1, slots: 2,
            parameters: [], epoch: 77)
        let bytes = WorkerMessage.register(registration).encoded
        let name = Array("epoch".utf8)
        let place = try #require(bytes.indices.last { bytes[$0...].starts(with: name) })
        registration.epoch = 0
        let renamed = bytes[..<place] + Array("ep_ch".utf8) + bytes[(place + name.count)...]
        #expect(try WorkerMessage.decode(Array(renamed)) == .register(registration))
    }

    @Test("every message of a broker reads back as it was written", arguments: 0..<40 as Range<UInt64>)
    func brokerRoundTrip(seed: UInt64) throws {
        var random = MessageMaker(seed: seed)
        for message in random.brokerMessages() { #expect(try BrokerMessage.decode(message.encoded) == message, "seed \(seed)") }
    }

    @Test("bytes cut off, changed or made up are an error or another message, never a crash", arguments: 0..<20 as Range<UInt64>)
    func fuzz(seed: UInt64) {
        var random = MessageMaker(seed: seed)
        let messages = random.workerMessages().map(\.encoded) + random.brokerMessages().map(\.encoded)
        var refused = 0
        for bytes in messages {
            for _ in 0..<60 {
                var bytes = bytes
                switch random.number(3) {
                case 0: bytes.removeLast(1 + random.number(bytes.count))
                case 1: bytes[random.number(bytes.count)] ^= UInt8(1 << random.number(8))
                default: for _ in 0..<4 { bytes[random.number(bytes.count)] = UInt8(random.number(256)) }
                }
                refused += read(bytes)
            }
        }
        for length in 0..<200 { refused += read((0..<length).map { _ in UInt8(random.number(256)) }) }
        #expect(refused > 500, "seed \(seed)")
    }

    private func read(_ bytes: [UInt8]) -> Int {
        let first = (try? WorkerMessage.decode(bytes)) == nil
        let second = (try? BrokerMessage.decode(bytes)) == nil
        return first && second ? 1 : 0
    }

    @Test("fields of a later version are passed over")
    func unknownField() throws {
        var writer = MessagePackWriter()
        writer.beginMap(3)
        writer.member("m", "heartbeat")
        writer.member("later", ["a", "b"])
        writer.member("beats_ok", true)
        writer.endMap()
        #expect(try BrokerMessage.decode(writer.bytes) == .heartbeat(beatsOK: true))
    }

    @Test("a malformed message names what is wrong with it")
    func namesFault() {
        var writer = MessagePackWriter()
        writer.beginMap(2)
        writer.member("m", "cancel")
        writer.member("lease", "not sixteen bytes")
        writer.endMap()
        #expect(throws: WorkerProtocolError.badField(message: "cancel", field: "lease")) { try BrokerMessage.decode(writer.bytes) }
        #expect(throws: WorkerProtocolError.notAMessage) { try BrokerMessage.decode([0x80]) }
        #expect(throws: WorkerProtocolError.unknownMessage("cancel")) { try WorkerMessage.decode(writer.bytes) }
    }

    @Test("a part of an artifact that is too large, ends behind the end or has no digest is malformed")
    func artifactParts() {
        let digest = String(repeating: "a", count: 64)
        let bad: [ArtifactPut] = [
            ArtifactPut(sha256: digest, size: 4 << 20, offset: 0, data: [UInt8](repeating: 0, count: (1 << 20) + 1)),
            ArtifactPut(sha256: digest, size: 5, offset: 4, data: [1, 2]), ArtifactPut(sha256: digest, size: 5, offset: 6, data: []),
            ArtifactPut(sha256: digest, size: nil, offset: 0, data: [1]), ArtifactPut(sha256: "../" + digest.dropFirst(3), size: 5),
            ArtifactPut(sha256: digest, size: -5), ArtifactPut(sha256: digest, size: 5, offset: -1),
        ]
        for put in bad {
            #expect(throws: WorkerProtocolError.self, "\(put.size ?? 0)") {
                try WorkerMessage.decode(WorkerMessage.artifact(number: 1, .put(put)).encoded)
            }
        }
    }

    @Test("an answer with a model that cannot be read is malformed, and a question of a later version is unknown: both are passed over")
    func models() {
        var writer = MessagePackWriter()
        writer.beginMap(3)
        writer.member("m", "resolved")
        writer.member("number", 0)
        writer.key("model")
        writer.binary(Array(#"{"checkpoint":"no id"}"#.utf8))
        writer.endMap()
        #expect(throws: WorkerProtocolError.badField(message: "resolved", field: "model")) { try BrokerMessage.decode(writer.bytes) }
        let question = WorkerMessage.resolve(session: UUIDValue(hi: 1, lo: 1), number: 0, model: "demo")
        #expect(throws: WorkerProtocolError.unknownMessage("resolve")) { try BrokerMessage.decode(question.encoded) }
    }

    @Test("the hash of leases does not depend on their order and notices each")
    func leasesHash() {
        var random = MessageMaker(seed: 5)
        let leases = (0..<50).map { _ in random.id() }
        let hash = WorkerLeases.hash(leases)
        #expect(hash == WorkerLeases.hash(leases.reversed()))
        for index in leases.indices {
            var fewer = leases
            fewer.remove(at: index)
            #expect(WorkerLeases.hash(fewer) != hash)
        }
        #expect(WorkerLeases.hash([UUIDValue]()) == 0)
    }
}

/// Messages with fields of every size, from a seed.
private struct MessageMaker {
    private var generator: SeededGenerator

    init(seed: UInt64) { generator = SeededGenerator(seed: seed) }

    mutating func number(_ bound: Int) -> Int { Int(generator.next() % UInt64(bound)) }
    mutating func id() -> UUIDValue { UUIDValue(hi: generator.next(), lo: generator.next()) }
    mutating func bytes() -> [UInt8] { (0..<number(400)).map { _ in UInt8(number(256)) } }
    mutating func text() -> String { String((0..<number(60)).map { _ in Character(["a", "é", "→", "😀", " ", "\n"][number(6)]) }) }
    mutating func digest() -> String { (0..<64).map { _ in String(number(16), radix: 16) }.joined() }
    mutating func digests() -> [String] { (0..<number(4)).map { _ in digest() } }
    mutating func tokens() -> [Int32] { (0..<number(300)).map { _ in Int32(number(50_257)) } }
    mutating func real() -> Double { Double(number(1 << 40)) / 1024 - 100_000 }
    mutating func flag() -> Bool { number(2) == 0 }
    mutating func maybe<Value>(_ value: Value) -> Value? { number(2) == 0 ? nil : value }
    mutating func lease() -> WorkerLease { WorkerLease(task: id(), lease: id(), attempt: number(100)) }

    mutating func generation() -> GenerationRecord {
        GenerationRecord(
            sample: number(64), promptIndex: number(8), draw: number(17), prompt: text(), text: text(), schema: maybe(bytes()),
            promptTokenIDs: tokens(),
            tokenIDs: tokens(), finishReason: FinishReason.allCases[number(3)], meanLogprob: maybe(real()), logprobs: maybe(bytes()),
            redrawn: maybe(number(17)), params: bytes(), recordSHA256: digest(), signature: maybe(text()), numerics: "float32/1",
            checkpointSHA256: digest(),
            tokenizerSHA256: digest())
    }

    mutating func checkpoint() -> CheckpointRecord {
        CheckpointRecord(
            step: number(5000), manifest: digest(), sha256: digest(), tokenizerSHA256: digest(), architecture: "gpt2",
            parameters: Int64(number(1 << 40)),
            contextLength: number(2048), bytes: Int64(number(1 << 40)), lineByLine: flag(), config: bytes(), loss: maybe(real()),
            averageLoss: maybe(real()))
    }

    mutating func step() -> TrainingStepRecord {
        TrainingStepRecord(
            step: number(5000), loss: real(), averageLoss: real(), learningRate: real(), gradientNorm: real(), tokensPerSecond: real())
    }

    mutating func event() -> WorkerEvent {
        flag()
            ? .token(sample: number(9), draw: number(3), index: number(256), tokenID: number(50_257), text: text())
            : .sample(sample: number(9), promptIndex: number(3), draw: number(17), text: text(), finishReason: "eos", step: maybe(number(100)))
    }

    mutating func model() -> ResolvedModel {
        ResolvedModel(
            name: maybe(text()), checkpoint: id(), sha256: digest(), manifest: digest(), tokenizerSHA256: maybe(digest()),
            contextLength: number(1 << 16), lineByLine: flag(), step: maybe(number(5000)))
    }

    mutating func put() -> ArtifactPut {
        let data = bytes()
        let offset = Int64(number(1 << 30))
        return ArtifactPut(sha256: digest(), size: offset + Int64(data.count) + Int64(number(9)), offset: offset, data: data)
    }

    mutating func workerMessages() -> [WorkerMessage] {
        let registration = WorkerRegistration(
            session: id(), host: text(), pid: number(99_999), version: text(), numerics: ["float32/1"], instructionSet: "avx2", threads: number(64),
            slots: number(256), parameters: [text(), text()], models: digests(), leases: (0..<number(9)).map { _ in lease() },
            epoch: number(1 << 20))
        let heartbeat = WorkerHeartbeat(
            session: id(), sequence: UInt64(number(1 << 40)), leasesCount: number(9), leasesHash: generator.next(), freeSlots: number(9) - 5,
            idle: flag(),
            models: digests(), draining: flag())
        let progress = WorkerProgress(
            phase: WorkerProgress.Phase.allCases[number(5)], done: number(1 << 30), total: maybe(number(1 << 30)), loss: maybe(real()),
            averageLoss: maybe(real()), tokensPerSecond: maybe(real()))
        let error = ContractError(ErrorCode.allCases[number(ErrorCode.allCases.count)], text(), field: maybe("params.prompt"))
        return [
            .register(registration), .heartbeat(heartbeat), .goodbye(session: id()), .confirm(session: id(), lease: id()), .started(lease()),
            .event(lease(), events: (0..<number(20)).map { _ in event() }), .progress(lease(), progress, steps: (0..<number(5)).map { _ in step() }),
            .checkpoint(lease(), step: number(5000), record: maybe(checkpoint()), resume: maybe(bytes())),
            .complete(lease(), generations: (0..<number(4)).map { _ in generation() }, result: maybe(bytes()), checkpoint: maybe(id())),
            .failed(lease(), error: error, final: flag()),
            .release(lease(), reason: ReleaseReason.allCases[number(3)], ran: flag(), resume: maybe(bytes())), .cancelled(lease()),
            .artifact(number: Int64(number(1 << 40)), .put(put())), .artifact(number: 5, .put(ArtifactPut(sha256: digest(), size: nil))),
            .artifact(
                number: Int64(number(1 << 40)), .fetch(ArtifactFetch(sha256: digest(), offset: Int64(number(1 << 40)), length: number(1 << 20)))),
            .resolve(session: id(), number: number(1 << 20), model: text()),
        ]
    }

    mutating func brokerMessages() -> [BrokerMessage] {
        let grant = WorkerGrant(
            task: id(), lease: id(), attempt: number(9), resolved: bytes(), timeoutSeconds: maybe(real()), stallSeconds: real(), alone: flag(),
            resume: maybe(bytes()))
        return [
            .welcome(broker: id(), heartbeatMilliseconds: number(5000)),
            .welcome(broker: id(), heartbeatMilliseconds: number(5000), peers: [BrokerAddress(endpoint: text(), publicKey: maybe(text()))]),
            .registerPlease, .heartbeat(beatsOK: flag()), .grant(grant),
            .cancel(lease: id()),
            .recorded(lease: id()), .checkpointRecorded(lease: id(), step: number(5000), checkpoint: maybe(id())), .stale(lease: id()),
            .leave(peers: [BrokerAddress(endpoint: text()), BrokerAddress(endpoint: text(), publicKey: text())]),
            .artifact(number: Int64(number(1 << 40)), .have(Int64(number(1 << 40)))),
            .artifact(number: 7, .data(bytes(), size: Int64(number(1 << 40)))),
            .artifact(number: 8, .refused(ContractError(ErrorCode.allCases[number(ErrorCode.allCases.count)], text(), field: maybe("sha256")))),
            .resolved(number: number(64), .success(model())),
            .resolved(
                number: number(64), .failure(ContractError(ErrorCode.allCases[number(ErrorCode.allCases.count)], text(), field: maybe("model")))),
        ]
    }
}
