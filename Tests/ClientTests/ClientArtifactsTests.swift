import ArtifactStore
import Client
import Encodings
import FoundationEssentials
import Messaging
import Synchronization
import TaskProtocol
import TestSupport
import Testing

/// A broker that serves `put` and `fetch` from a store, forgets every n-th request, and answers nothing else.
private final class ArtifactBroker: Sendable {
    let endpoint: String
    private let loop: Loop
    private let thread: ServiceThread

    private final class Bound: Sendable {
        let endpoint = Mutex<String>("")
        let isBound: Wakeup
        init() throws(MessagingError) { isBound = try Wakeup() }
    }

    init(_ store: ArtifactDirectory, forgetting every: Int = .max) throws {
        let bound = try Bound()
        let loop = Loop(store: store, every: every)
        let made = try ServiceThread(name: "scripted") { try? loop.run(bound.endpoint, bound.isBound) }
        var poller = Poller()
        poller.add(bound.isBound)
        _ = try poller.wait(milliseconds: 10_000)
        endpoint = bound.endpoint.withLock { $0 }
        thread = made
        self.loop = loop
    }

    deinit { loop.stop() }

    var bytes: Int { loop.seen.withLock { $0.bytes } }
    var forgotten: Int { loop.seen.withLock { $0.forgotten } }

    private final class Loop: Sendable {
        let store: ArtifactDirectory
        let every: Int
        let seen = Mutex<(requests: Int, bytes: Int, forgotten: Int)>((0, 0, 0))
        private let stopped = Atomic<Bool>(false)

        init(store: ArtifactDirectory, every: Int) {
            self.store = store
            self.every = every
        }

        func stop() { stopped.store(true, ordering: .releasing) }

        func run(_ endpoint: borrowing Mutex<String>, _ bound: Wakeup) throws {
            let socket = try Socket(try ZMQContext(), .router)
            let address = try socket.bind("tcp://127.0.0.1:*")
            endpoint.withLock { $0 = address }
            bound.signal()
            var server = ArtifactServer(store)
            var poller = Poller()
            poller.add(socket)
            while !stopped.load(ordering: .acquiring) {
                try poller.wait(milliseconds: 50)
                while let frames = try socket.receive()?.frames, frames.count == 2 {
                    if let reply = answer(Request.decode(frames[1]), &server) { _ = try socket.send([frames[0], reply]) }
                }
            }
        }

        private func answer(_ request: Request, _ server: inout ArtifactServer) -> [UInt8]? {
            let isForgotten = seen.withLock { seen in
                seen.requests += 1
                let isForgotten = seen.requests % every == 0
                if isForgotten { seen.forgotten += 1 }
                return isForgotten
            }
            if isForgotten { return nil }
            switch request.operation {
            case .success(.artifact(let operation)):
                seen.withLock { $0.bytes += operation.byteCount }
                let reply: Reply
                do throws(ArtifactError) {
                    switch try server.perform(operation) {
                    case .have(let have): reply = .have(have)
                    case .data(let data, let size): reply = .data(data, size: size)
                    case .refused(let error): reply = .error(error)
                    }
                } catch { reply = .error(error.contractError) }
                return reply.encode(re: request.id, as: request.encoding)
            case .success(.ping):
                return Reply.pong(.init(version: "9", broker: UUIDValue(hi: 1, lo: 1), synchronousCommit: nil, synchronousStandbys: []))
                    .encode(re: request.id, as: request.encoding)
            case .success, .failure: return Reply.error(ContractError(.badRequest, "unscripted")).encode(re: request.id, as: request.encoding)
            }
        }
    }
}

@Suite("the client's artifacts", .timeLimit(.minutes(2)))
struct ClientArtifactsTests {
    private let folder: TemporaryDirectory
    private let store: ArtifactDirectory

    init() throws {
        folder = try TemporaryDirectory()
        store = try ArtifactDirectory(path: folder.path + "/store")
    }

    private func noise(_ count: Int, _ seed: UInt64) -> [UInt8] {
        var generator = SeededGenerator(seed: seed)
        return (0..<(count / 8)).flatMap { _ in withUnsafeBytes(of: generator.next()) { Array($0) } }
    }

    private func write(_ bytes: [UInt8], _ name: String) throws -> String {
        let path = folder.path + "/" + name
        try Data(bytes).write(to: URL(filePath: path))
        return path
    }

    @Test("bytes, files and folders go there and come back, with their progress told")
    func thereAndBack() async throws {
        let broker = try ArtifactBroker(store)
        let client = try ScriptoriumClient(brokers: [broker.endpoint])
        let bytes = noise(2_500_000, 1)
        let told = Mutex<[Int64]>([])
        let stored = try await client.put(file: try write(bytes, "large")) { done, total in
            told.withLock { $0.append(done) }
            #expect(done <= total)
        }
        #expect(stored == StoredArtifact(sha256: SHA256Digest.hex(of: bytes), bytes: 2_500_000))
        #expect(told.withLock { $0.last == 2_500_000 && $0 == $0.sorted() })
        #expect(broker.bytes == 2_500_000)
        #expect(try await client.put(bytes) == stored)
        #expect(broker.bytes == 2_500_000, "what is there is not sent again")
        #expect(try await client.fetch(stored.sha256) == bytes)
        let files = [ArtifactFile(path: "b/large", source: folder.path + "/large"), ArtifactFile(path: "a", source: try write([1, 2], "small"))]
        let manifest = try await client.put(files: files)
        #expect(manifest.bytes == 2_500_002 && store.hasAll(ofManifest: manifest.sha256))
        try await client.fetch(manifest: manifest.sha256, into: folder.path + "/out")
        #expect([UInt8](try Data(contentsOf: URL(filePath: folder.path + "/out/b/large"))) == bytes)
        try await client.fetch(stored.sha256, toFile: folder.path + "/copy")
        #expect([UInt8](try Data(contentsOf: URL(filePath: folder.path + "/copy"))) == bytes)
    }

    @Test("answers that never come cost time, not bytes")
    func forgotten() async throws {
        let broker = try ArtifactBroker(store, forgetting: 7)
        let client = try ScriptoriumClient(brokers: [broker.endpoint])
        let bytes = noise(6_000_000, 2)
        #expect(try await client.put(bytes).bytes == 6_000_000)
        #expect(broker.forgotten > 0)
        #expect(broker.bytes < 12_000_000)
        #expect(try store.bytes(SHA256Digest.hex(of: bytes)) == bytes)
    }

    @Test("what is not there, is too large, is no file or is wanted no more ends with its reason")
    func ends() async throws {
        let broker = try ArtifactBroker(store)
        let client = try ScriptoriumClient(brokers: [broker.endpoint])
        func failure(_ body: () async throws(ClientError) -> Void) async -> ClientError? {
            do throws(ClientError) { try await body() } catch { return error }
            return nil
        }
        let unknown = String(repeating: "0", count: 64)
        guard case .refused(let error)? = await failure({ () async throws(ClientError) in _ = try await client.fetch(unknown) }) else {
            return #expect(Bool(false), "found")
        }
        #expect(error.code == "not_found" && error.field == "sha256")
        let stored = try await client.put(noise(100_000, 3))
        guard case .files? = await failure({ () async throws(ClientError) in _ = try await client.fetch(stored.sha256, limit: 99_999) }) else {
            return #expect(Bool(false), "took more than asked for")
        }
        let path = folder.path + "/none"
        guard case .files(let text)? = await failure({ () async throws(ClientError) in _ = try await client.put(file: path) }) else {
            return #expect(Bool(false), "put nothing")
        }
        #expect(text.contains("none"))
        // Nobody answers at all: said in the client's own words and time.
        var options = ClientOptions()
        options.silence = .seconds(1)
        options.patience = .milliseconds(300)
        let alone = try ScriptoriumClient(brokers: [deadEndpoint], options: options)
        guard case .unavailable? = await failure({ () async throws(ClientError) in _ = try await alone.put([1]) }) else {
            return #expect(Bool(false), "nobody answered, and it was put")
        }
        let waiting = Task { () -> ClientError? in
            do throws(ClientError) { _ = try await ScriptoriumClient(brokers: [deadEndpoint]).put([1]) } catch { return error }
            return nil
        }
        waiting.cancel()
        #expect(await waiting.value == .cancelled)
    }
}
