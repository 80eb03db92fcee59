import ArtifactStore
import DurableFiles
import Glibc
import Logging
import Messaging
import TaskProtocol
import TestSupport
import Testing
import Worker

/// The whole worker, with its threads and sockets, against a broker that the test plays.
@Suite(.serialized) struct WorkerServiceTests {
    @Test("a worker joins the broker that answers, runs a task, and leaves in order")
    func joinsAndRuns() async throws {
        let bench = try EngineBench()
        let model = try bench.model()
        let (resolved, folder) = (Self.task(model), bench.folder)
        let story = try await onThreadOfItsOwn { try Self.play(resolved: resolved, folder: folder) }
        #expect(story.session != nil)
        #expect(story.confirmed && story.started && story.saidGoodbye)
        #expect(story.heartbeats >= 1)
        #expect(story.texts.count == 2 && story.texts.allSatisfy { $0.hasPrefix("Granite violet") })
        #expect(story.problem == nil)
        #expect(story.snapshot.tokensTotal > 0 && story.snapshot.modelsLoaded == [model.sha256])
    }

    private static func task(_ model: ResolvedModel) -> [UInt8] {
        ResolvedTask(parameters: EngineBench.generate { $0.n = 2 }, seed: 1, seedAssigned: false, model: model).json
    }

    private struct Story: Sendable {
        var session: SessionID?
        var confirmed = false
        var started = false
        var saidGoodbye = false
        var heartbeats = 0
        var texts: [String] = []
        var problem: String?
        var snapshot = WorkerSnapshot()
    }

    @Test("a worker whose engine or loader cannot go on ends, says why and takes no leave", arguments: ["engine", "loader"])
    func innerThreadFails(thread: String) async throws {
        let folder = try TemporaryDirectory()
        let failing: ThreadWaits.Wait = { _, _ throws(MessagingError) in throw .failed(call: "zmq_poll", reason: "no descriptor") }
        let waits = thread == "engine" ? ThreadWaits(engine: failing) : ThreadWaits(loader: failing)
        let (problem, said) = try await onThreadOfItsOwn { try Self.endWithoutLeave(folder, waits) }
        #expect(problem == "the \(thread)'s thread failed: zmq_poll: no descriptor")
        #expect(said == [])
    }

    /// Starts a worker that cannot go on, and waits for its end.
    private static func endWithoutLeave(_ folder: TemporaryDirectory, _ waits: ThreadWaits) throws -> (problem: String?, leaves: [WorkerMessage]) {
        let socket = try Socket(try ZMQContext(), .router)
        let options = WorkerOptions(
            brokers: [try socket.bind("tcp://127.0.0.1:*")], threads: 1, artifacts: folder.path, cacheDirectory: folder.path + "/cache")
        let worker = try WorkerService(options, log: Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() }), waits: waits)
        try worker.start()
        let problem = worker.join()
        var leaves: [WorkerMessage] = []
        while let frames = try socket.receive()?.frames {
            let message = try WorkerMessage.decode(Array(frames[1...].joined()))
            if case .goodbye = message { leaves.append(message) }
        }
        return (problem, leaves)
    }

    @Test("a store's folder that is not there is refused at the start and not made: it may be mounted later")
    func refusesAbsentStore() throws {
        let folder = try TemporaryDirectory()
        let store = folder.path + "/mnt/store"
        let options = WorkerOptions(threads: 1, artifacts: store, cacheDirectory: folder.path + "/cache")
        let worker = try WorkerService(options, log: Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() }))
        #expect(throws: ArtifactError.absent(path: store)) { try worker.start() }
        #expect(!FileTree.isFolder(store) && !FileTree.isFolder(folder.path + "/mnt"))
        #expect("\(ArtifactError.absent(path: store))".contains("is it mounted there?"))
    }

    @Test("a worker leaves alone what another one with its process id has in the same cache, and takes its own with it")
    func sharesCache() async throws {
        let folder = try TemporaryDirectory()
        let others = "\(folder.path)/cache/work-\(getpid())/lease"
        try FileTree.makeFolders(others)
        let names = try await onThreadOfItsOwn { () throws -> [String] in
            let options = WorkerOptions(threads: 1, artifacts: folder.path, cacheDirectory: folder.path + "/cache", drainTimeoutSeconds: 0)
            let worker = try WorkerService(options, log: Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() }))
            try worker.start()
            let names = FileTree.names(folder.path + "/cache")
            worker.drain()
            worker.join()
            return names
        }
        #expect(names.count { $0.hasPrefix("work-") } == 2)
        #expect(FileTree.names(folder.path + "/cache").filter { $0.hasPrefix("work-") } == ["work-\(getpid())"])
        #expect(FileTree.isFolder(others))
    }

    /// Plays two brokers, of which one never answers, until the worker has said goodbye; 30 seconds at most.
    private static func play(resolved: [UInt8], folder: TemporaryDirectory) throws -> Story {
        let context = try ZMQContext()
        let silent = try Socket(context, .router)
        let socket = try Socket(context, .router)
        let endpoints = [try silent.bind("tcp://127.0.0.1:*"), try socket.bind("tcp://127.0.0.1:*")]
        let options = WorkerOptions(
            brokers: endpoints, threads: 1, slots: 4, artifacts: folder.path + "/artifacts", cacheDirectory: folder.path + "/cache",
            drainTimeoutSeconds: 2)
        let worker = try WorkerService(options, log: Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() }))
        try worker.start()
        var story = Story()
        var poller = Poller()
        poller.add(socket)
        var rounds = 0
        while !story.saidGoodbye, rounds < 300 {
            rounds += try poller.wait(milliseconds: 100) == 0 ? 1 : 0
            while let frames = try socket.receive()?.frames, frames.count >= 2 {
                for answer in hear(try WorkerMessage.decode(Array(frames[1...].joined())), resolved, worker, &story) {
                    _ = try socket.send([frames[0], answer.encoded])
                }
            }
        }
        if !story.saidGoodbye { worker.drain() }
        story.problem = worker.join()
        return story
    }

    private static func hear(_ message: WorkerMessage, _ resolved: [UInt8], _ worker: WorkerService, _ story: inout Story) -> [BrokerMessage] {
        let grant = WorkerGrant(task: TaskID(hi: 5, lo: 5), lease: LeaseID(hi: 6, lo: 6), attempt: 1, resolved: resolved)
        switch message {
        case .register(let registration):
            story.session = registration.session
            return [.welcome(broker: BrokerID(hi: 4, lo: 4), heartbeatMilliseconds: 200), .grant(grant)]
        case .heartbeat:
            story.heartbeats += 1
            return [.heartbeat(beatsOK: true)]
        case .confirm(_, grant.lease): story.confirmed = true
        case .started(grant.held): story.started = true
        case .complete(grant.held, let generations, _, _):
            story.texts = generations.map(\.text)
            story.snapshot = worker.snapshot
            worker.drain()
            return [.recorded(lease: grant.lease)]
        case .goodbye: story.saidGoodbye = true
        default: break
        }
        return []
    }
}

/// Runs what blocks on a thread of its own, not on one of Swift's pool.
private func onThreadOfItsOwn<Value: Sendable>(_ body: @escaping @Sendable () throws -> Value) async throws -> Value {
    try await withCheckedThrowingContinuation { continuation in
        do {
            _ = try ServiceThread(name: "test") { continuation.resume(with: Result { try body() }) }
        } catch { continuation.resume(throwing: error) }
    }
}
