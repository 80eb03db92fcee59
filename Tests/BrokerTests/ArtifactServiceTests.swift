import ArtifactStore
import Broker
import Encodings
import Logging
import Messaging
import TaskProtocol
import TestSupport
import Testing

/// Artifacts over real sockets, with the store's threads behind.
@Suite(.serialized) struct ArtifactServiceTests {
    private func broker(_ store: ArtifactDirectory?) throws -> (service: BrokerService, endpoints: BrokerEndpoints) {
        var options = BrokerOptions()
        (options.tasksEndpoint, options.eventsEndpoint) = ("tcp://127.0.0.1:*", "tcp://127.0.0.1:*")
        (options.workersEndpoint, options.peersEndpoint) = ("tcp://127.0.0.1:*", "tcp://127.0.0.1:*")
        let service = try BrokerService(
            options: options, store: ModelGateway(), artifacts: store, logger: Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() }))
        return (service, try service.start())
    }

    /// What a worker's connection for artifacts says, and its answer.
    private func ask(_ socket: borrowing Socket, _ operation: ArtifactOperation, number: Int64) throws -> ArtifactAnswer? {
        _ = try socket.send([WorkerMessage.artifact(number: number, operation).encoded])
        var poller = Poller()
        poller.add(socket)
        for _ in 0..<200 {
            if let message = try socket.receive() {
                guard case .artifact(number, let answer) = try BrokerMessage.decode(Array(message.frames.joined())) else { return nil }
                return answer
            }
            try poller.wait(milliseconds: 100)
        }
        return nil
    }

    @Test("a worker's connection that never registered puts and fetches, while a worker beside it runs tasks")
    func wholePath() throws {
        let folder = try TemporaryDirectory()
        let store = try ArtifactDirectory(path: folder.path + "/store")
        let (service, endpoints) = try broker(store)
        defer { service.stop() }
        let context = try ZMQContext()
        let worker = try TestWorker(context, endpoints.workers)
        let socket = try Socket(context, .dealer)
        try socket.connect(endpoints.workers)
        var generator = SeededGenerator(seed: 1)
        let bytes = (0..<(3 << 20)).map { _ in UInt8(truncatingIfNeeded: generator.next()) }
        let digest = SHA256Digest.hex(of: bytes)
        for part in 0..<3 {
            let range = part << 20..<(part + 1) << 20
            let put = ArtifactPut(sha256: digest, size: Int64(bytes.count), offset: Int64(range.lowerBound), data: Array(bytes[range]))
            #expect(try ask(socket, .put(put), number: Int64(part)) == .have(Int64(range.upperBound)))
        }
        #expect(try store.bytes(digest) == bytes)
        let fetch = ArtifactFetch(sha256: digest, offset: 1 << 20, length: 1 << 20)
        #expect(try ask(socket, .fetch(fetch), number: 77) == .data(Array(bytes[1 << 20..<2 << 20]), size: Int64(bytes.count)))
        guard case .refused(let error)? = try ask(socket, .fetch(ArtifactFetch(sha256: String(repeating: "0", count: 64))), number: 78) else {
            return #expect(Bool(false), "not refused")
        }
        #expect(error.code == .notFound && error.field == "sha256")
        var client = try TestClient(context, endpoints.tasks)
        let task = #"{"kind":"generate","params":{"model":"demo","prompt":"In the"}}"#
        #expect(try client.ask(#""op":"submit","task":\#(task)"#)["ok"]?.boolValue == true)
        #expect(service.snapshot.malformedWorkerMessages == 0)
        worker.kill()
    }

    @Test("a broker without a store says so") func noStore() throws {
        let (service, endpoints) = try broker(nil)
        defer { service.stop() }
        let socket = try Socket(try ZMQContext(), .dealer)
        try socket.connect(endpoints.workers)
        guard case .refused(let error)? = try ask(socket, .fetch(ArtifactFetch(sha256: String(repeating: "0", count: 64))), number: 1) else {
            return #expect(Bool(false), "not refused")
        }
        #expect(error.code == .unavailable)
    }
}
