import ArtifactStore
import Encodings
import FoundationEssentials
import Logging
import Messaging
import Synchronization
import TaskProtocol
import TestSupport
import Testing
import Worker

/// A worker with nothing but brokers' addresses, against brokers that the test plays: one that goes silent in the middle of a transfer, and one
/// that goes on.
@Suite(.serialized) struct BrokeredArtifactsTests {
    /// What the two brokers saw.
    private struct Story: Sendable {
        var texts: [String] = []
        var checkpoints: [CheckpointRecord] = []
        var failure: ContractError?
        /// Bytes asked of each broker, by digest: where the first request to it began.
        var firstOffsets: [[String: Int64]] = [[:], [:]]
        var operations = [0, 0]
        var mostUnderWay = 0
        var loadingBytes: [Int] = []
        var savingBytes: [Int] = []
        var problem: String?
    }

    /// Both brokers' keys, and those of the only worker that they let in.
    private struct Keys: Sendable {
        let server: CurveKeyPair
        let worker: CurveKeyPair
        static let domain = "workers"

        init() throws { (server, worker) = (try .generate(), try .generate()) }
    }

    /// Plays both until the worker has said goodbye, or 60 seconds are over.
    private static func play(_ resolved: [UInt8], store: ArtifactDirectory, cache: String, silentAfter: Int, keys: Keys? = nil) throws -> Story {
        let context = try ZMQContext()
        let authenticator = try keys.map {
            try Authenticator(context, try AccessControl([.init(domains: [Keys.domain], keys: [$0.worker.publicKey])]), domains: []) { _ in }
        }
        defer { authenticator?.stop() }
        var door = SocketOptions()
        if let keys { door.security = .server(keys.server, domain: Keys.domain) }
        let one = try Socket(context, .router, door)
        let other = try Socket(context, .router, door)
        let endpoints = [try one.bind("tcp://127.0.0.1:*"), try other.bind("tcp://127.0.0.1:*")]
        let worker = try WorkerService(
            WorkerOptions(
                brokers: endpoints, threads: 1, slots: 4, cacheDirectory: cache, drainTimeoutSeconds: 2,
                credentials: keys.map { CurveCredentials(keys: $0.worker, server: $0.server.publicKey) }),
            log: Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() }))
        try worker.start()
        var play = Play(resolved: resolved, server: ArtifactServer(store), silentAfter: silentAfter)
        var poller = Poller()
        poller.add(one)
        poller.add(other)
        var quiet = 0
        while !play.isOver, quiet < 600 {
            quiet = try poller.wait(milliseconds: 100) == 0 ? quiet + 1 : 0
            try play.serve(one, 0, worker)
            try play.serve(other, 1, worker)
        }
        if !play.isOver { worker.drain() }
        play.story.problem = worker.join()
        return play.story
    }

    /// Both brokers' side of the talk.
    private struct Play {
        let resolved: [UInt8]
        var server: ArtifactServer
        /// The broker that is joined first serves so many requests for artifacts, then says nothing any more.
        let silentAfter: Int
        var story = Story()
        var first: Int?
        var isOver = false
        private var isSilent = false
        private let grant: WorkerGrant

        init(resolved: [UInt8], server: ArtifactServer, silentAfter: Int) {
            self.resolved = resolved
            self.server = server
            self.silentAfter = silentAfter
            grant = WorkerGrant(task: TaskID(hi: 5, lo: 5), lease: LeaseID(hi: 6, lo: 6), attempt: 1, resolved: resolved)
        }

        mutating func serve(_ socket: borrowing Socket, _ place: Int, _ worker: WorkerService) throws {
            var waiting: [(address: [UInt8], Int64, ArtifactOperation)] = []
            while let frames = try socket.receive()?.frames, frames.count >= 2 {
                if place == first, isSilent { continue }
                let message = try WorkerMessage.decode(Array(frames[1...].joined()))
                if case .artifact(let number, let operation) = message {
                    waiting.append((frames[0], number, operation))
                    continue
                }
                for answer in hear(message, place, worker) { _ = try socket.send([frames[0], answer.encoded]) }
            }
            story.mostUnderWay = max(story.mostUnderWay, waiting.count)
            for (address, number, operation) in waiting {
                if place == first, story.operations[place] >= silentAfter { isSilent = true }
                guard !(place == first && isSilent) else { return }
                note(operation, place)
                let answer: ArtifactAnswer
                do throws(ArtifactError) { answer = try server.perform(operation) } catch { answer = .refused(error.contractError) }
                _ = try socket.send([address, BrokerMessage.artifact(number: number, answer).encoded])
            }
        }

        private mutating func note(_ operation: ArtifactOperation, _ place: Int) {
            story.operations[place] += 1
            let offset: Int64
            switch operation {
            case .put(let put):
                guard put.data != nil else { return }
                offset = put.offset
            case .fetch(let fetch): offset = fetch.offset
            }
            if story.firstOffsets[place][operation.sha256] == nil { story.firstOffsets[place][operation.sha256] = offset }
        }

        private mutating func hear(_ message: WorkerMessage, _ place: Int, _ worker: WorkerService) -> [BrokerMessage] {
            switch message {
            case .register(let registration):
                if first == nil { first = place }
                let isGranted = registration.leases.contains { $0.lease == grant.lease }
                return [.welcome(broker: BrokerID(hi: 4, lo: UInt64(place)), heartbeatMilliseconds: 200)] + (isGranted ? [] : [.grant(grant)])
            case .heartbeat: return [.heartbeat(beatsOK: true)]
            case .progress(_, let progress, _):
                if progress.phase == .loading { story.loadingBytes.append(progress.done) }
                if progress.phase == .saving { story.savingBytes.append(progress.done) }
            case .checkpoint(_, let step, let record, _):
                if let record, !story.checkpoints.contains(record) { story.checkpoints.append(record) }
                return [.checkpointRecorded(lease: grant.lease, step: step, checkpoint: UUIDValue(hi: 7, lo: UInt64(step)))]
            case .complete(grant.held, let generations, _, _):
                story.texts = generations.map(\.text)
                worker.drain()
                return [.recorded(lease: grant.lease)]
            case .failed(_, let error, _):
                story.failure = error
                worker.drain()
                return [.recorded(lease: grant.lease)]
            case .goodbye: isOver = true
            default: break
            }
            return []
        }
    }

    @Test("a broker that falls silent in mid-transfer costs no byte: the next goes on from what is there", .timeLimit(.minutes(2)))
    func brokerChange() async throws {
        let bench = try EngineBench()
        // A tensor that nobody reads makes the model large enough to be broken off.
        let model = try bench.model(try paddedModel(bench.folder, bytes: 6 << 20))
        let resolved = ResolvedTask(parameters: EngineBench.generate { $0.n = 2 }, seed: 1, seedAssigned: false, model: model).json
        let (store, cache) = (bench.store, bench.folder.path + "/bare")
        let weights = try store.manifest(model.manifest).files.first { $0.path == "model.safetensors" }?.sha256 ?? ""
        let story = try await onOwnThread { try Self.play(resolved, store: store, cache: cache, silentAfter: 9) }
        #expect(story.failure == nil && story.problem == nil)
        #expect(story.texts.count == 2 && story.texts.allSatisfy { $0.hasPrefix("Granite violet") })
        #expect(story.operations.min() ?? 0 > 0, "both were asked")
        let offsets = story.firstOffsets.compactMap { $0[weights] }.sorted()
        #expect(offsets.count == 2 && offsets[0] == 0 && offsets[1] > 0, "\(offsets)")
        #expect(story.mostUnderWay <= TransferPace.widest)
        // What was fetched is what the store holds.
        let copy = try Data(contentsOf: URL(filePath: cache + "/artifacts/" + model.manifest + "/model.safetensors"))
        #expect(SHA256Digest.hex(of: [UInt8](copy)) == weights)
    }

    @Test("a finetune's checkpoints go up through the broker, also when that one changes, and are what the store then holds", .timeLimit(.minutes(2)))
    func checkpoints() async throws {
        let bench = try EngineBench()
        let parameters = try EngineBench.finetune {
            $0.numSteps = 4; $0.saveEvery = 2
        }
        let resolved = ResolvedTask(parameters: parameters, seed: 3, seedAssigned: false).json
        let (store, cache) = (bench.store, bench.folder.path + "/bare")
        let story = try await onOwnThread { try Self.play(resolved, store: store, cache: cache, silentAfter: 6) }
        #expect(story.failure == nil && story.problem == nil)
        #expect(story.checkpoints.map(\.step) == [2, 4])
        for record in story.checkpoints { #expect(store.hasAll(ofManifest: record.manifest)) }
        #expect(try FileManager.default.contentsOfDirectory(atPath: store.path + "/tmp") == [])
        #expect(!story.savingBytes.isEmpty)
        #expect(story.operations.min() ?? 0 > 0)
    }

    @Test("a worker with keys shows them for its transfers too, to each broker", .timeLimit(.minutes(2)))
    func keys() async throws {
        let bench = try EngineBench()
        let parameters = try EngineBench.finetune {
            $0.numSteps = 2; $0.saveEvery = 0
        }
        let resolved = ResolvedTask(parameters: parameters, seed: 3, seedAssigned: false).json
        let (store, cache, keys) = (bench.store, bench.folder.path + "/bare", try Keys())
        let story = try await onOwnThread { try Self.play(resolved, store: store, cache: cache, silentAfter: 3, keys: keys) }
        #expect(story.failure == nil && story.problem == nil)
        #expect(story.checkpoints.map(\.step) == [2])
        for record in story.checkpoints { #expect(store.hasAll(ofManifest: record.manifest)) }
        #expect(story.operations.min() ?? 0 > 0, "both were asked")
    }

    @Test("an artifact that nobody stored is a final error that names its parameter", .timeLimit(.minutes(2)))
    func missing() async throws {
        let bench = try EngineBench()
        let parameters = try EngineBench.finetune { $0.dataset = .uri("sha256:" + String(repeating: "0", count: 64)) }
        var task = ResolvedTask(parameters: parameters, seed: 3, seedAssigned: false)
        task.dataset = ResolvedDataset(name: nil, sha256: String(repeating: "0", count: 64), lineByLine: false)
        let resolved = task.json
        let (store, cache) = (bench.store, bench.folder.path + "/bare")
        let story = try await onOwnThread { try Self.play(resolved, store: store, cache: cache, silentAfter: .max) }
        #expect(story.failure?.code == .notFound && story.failure?.field == "params.dataset.uri")
    }
}

/// The reference model with a tensor of so many bytes that no architecture has.
private func paddedModel(_ folder: TemporaryDirectory, bytes: Int) throws -> String {
    let path = folder.path + "/padded"
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    for name in ["config.json", "generation_config.json", "tokenizer.json"] {
        try Data(Fixtures.bytes("gpt2/" + name)).write(to: URL(filePath: path + "/" + name))
    }
    let file = try Fixtures.bytes("gpt2/model.safetensors")
    let length = file[..<8].reversed().reduce(0) { $0 << 8 | Int($1) }
    var header = try #require(JSONValue.parse(Array(file[8..<8 + length])).objectValue)
    let body = file[(8 + length)...]
    header["unused.padding"] = [
        "dtype": "F32", "shape": [.integer(Int64(bytes / 4))],
        "data_offsets": [.integer(Int64(body.count)), .integer(Int64(body.count + bytes))],
    ]
    var text = JSONValue.object(header).serialised
    while text.count % 8 != 0 { text.append(UInt8(ascii: " ")) }
    var generator = SeededGenerator(seed: 5)
    let padding = (0..<bytes / 8).flatMap { _ in withUnsafeBytes(of: generator.next()) { Array($0) } }
    let size = withUnsafeBytes(of: UInt64(text.count).littleEndian) { Array($0) }
    try Data(size + text + body + padding).write(to: URL(filePath: path + "/model.safetensors"))
    return path
}

/// Runs what blocks on a thread of its own, not on one of Swift's pool.
private func onOwnThread<Value: Sendable>(_ body: @escaping @Sendable () throws -> Value) async throws -> Value {
    try await withCheckedThrowingContinuation { continuation in
        do {
            _ = try ServiceThread(name: "test") { continuation.resume(with: Result { try body() }) }
        } catch { continuation.resume(throwing: error) }
    }
}
