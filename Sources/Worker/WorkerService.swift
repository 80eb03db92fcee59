import ArtifactStore
import Encodings
import FoundationEssentials
import Generation
import Glibc
import Kernels
package import Logging
package import Messaging
import Synchronization
import TaskProtocol

/// A worker process: a reactor's thread that talks to brokers, an engine's thread that runs tasks, a loader's thread that prepares them.
///
/// It holds no database credentials and nothing on disk but a cache of artifacts by digest: it may be killed at any moment. Where the artifact store
/// is not mounted, artifacts come and go through its broker.
///
///     let worker = try WorkerService(options, log: log)
///     try worker.start()
///     worker.drain()          // at SIGTERM
///     worker.join()           // until everything is given back or recorded
package final class WorkerService: Sendable {
    private let options: WorkerOptions
    private let log: Logger
    private let shared: WorkerShared
    private let toLoader: Mailbox<LoadJob>
    private let waits: ThreadWaits
    private let threads = Mutex<[ServiceThread]>([])
    private let session = SessionID.random()
    private let work = Mutex<CachedFolder?>(nil)

    /// - Parameter waits: how its inner threads wait; the product's own where not told.
    /// - Throws: where the system refuses what threads need.
    package init(_ options: WorkerOptions, log: Logger, waits: ThreadWaits = ThreadWaits()) throws(MessagingError) {
        self.options = options
        self.waits = waits
        self.log = log
        shared = try WorkerShared()
        toLoader = try Mailbox()
    }

    /// Starts the threads.
    /// - Throws: where the store or the cache folder cannot be used.
    package func start() throws {
        let work = workFolder
        let context = try ZMQContext()
        let artifacts = try artifacts(context)
        let cache = try ArtifactCache(artifacts: artifacts, directory: options.cacheDirectory, byteLimit: options.cacheBytes)
        try takeWorkFolder()
        let core = WorkerCore(
            WorkerCore.Settings(
                registration: registration, brokers: options.brokers, drainMilliseconds: Milliseconds(options.drainTimeoutSeconds * 1000),
                preloads: options.preloads))
        let loader = try thread("loader") { [shared, toLoader, waits] () throws(MessagingError) in
            try runLoader(cache: cache, workFolder: work, shared: shared, mailbox: toLoader, wait: waits.loader)
        }
        let engine = try thread("engine") { [shared, toLoader, options, waits, log] () throws(MessagingError) in
            try runEngine(options: options, artifacts: artifacts, workFolder: work, shared: shared, loader: toLoader, log: log, wait: waits.engine)
        }
        let reactor = try thread("reactor") { [shared, toLoader, log, credentials = options.credentials] () throws(MessagingError) in
            defer {
                shared.end()
                shared.toEngine.put(.end)
                toLoader.put(.end)
            }
            var reactor = WorkerReactor(core: core, context: context, shared: shared, log: log, credentials: credentials)
            try reactor.run()
        }
        threads.withLock { $0 = [reactor, engine, loader] }
    }

    /// A thread without which there is no worker: where it fails, the whole worker ends and says why. Its leases then lapse like those of a
    /// worker that was killed, as nobody can say what became of its tasks.
    private func thread(_ name: String, _ body: @escaping @Sendable () throws(MessagingError) -> Void) throws -> ServiceThread {
        try ServiceThread(name: "worker-\(name)") { [shared, log] in
            do throws(MessagingError) { try body() } catch {
                log.critical("a thread of the worker failed", metadata: ["thread": "\(name)", "error": "\(error)"])
                shared.fail("the \(name)'s thread failed: \(error)")
            }
        }
    }

    /// SIGTERM: no new work; what can end in time ends, the rest goes back.
    package func drain() { shared.toReactor.put(.drain) }

    /// Waits until the worker has left. Blocks its thread.
    /// - Returns: why it left, where that was not a drain.
    @discardableResult
    package func join() -> String? {
        let threads = threads.withLock { $0 }
        for (place, thread) in threads.enumerated() {
            // The loader comes last, and may be at a model for minutes that no task waits for any more.
            if place == threads.count - 1, shared.isLoading { break }
            thread.join()
            // The reactor is joined first and ends at once where a thread failed; another one may be at work for minutes, for nothing.
            if shared.failure != nil { break }
        }
        try? FileManager.default.removeItem(atPath: workFolder)
        work.withLock { $0 = nil }
        return shared.failure
    }

    /// Where this worker alone writes. It is named after the session: in containers that share the cache all workers have the same process id.
    private var workFolder: String { "\(options.cacheDirectory)/work-\(session)" }

    /// Makes the work folder and holds it, so that a worker that tidies the cache up can tell it from those of dead ones.
    private func takeWorkFolder() throws {
        try FileManager.default.createDirectory(atPath: workFolder, withIntermediateDirectories: true)
        work.withLock { $0 = CachedFolder(path: workFolder) }
    }

    /// What it looks like now.
    package var snapshot: WorkerSnapshot { shared.snapshot }

    private func artifacts(_ context: ZMQContext) throws(ArtifactError) -> any WorkerArtifacts {
        guard let folder = options.artifacts else { return BrokeredArtifacts(context: context, shared: shared) }
        return MountedArtifacts(directory: try ArtifactDirectory(madeElsewhere: folder))
    }

    private var registration: WorkerRegistration {
        let host = ProcessInfo.processInfo.hostName
        return WorkerRegistration(
            session: session, host: options.label.isEmpty ? host : "\(host)/\(options.label)", pid: Int(getpid()),
            version: options.version,
            numerics: Numerics.all, instructionSet: InstructionSet.current.rawValue, threads: options.threads, slots: options.slots,
            parameters: TaskParameters.knownNames)
    }
}

private func runLoader(
    cache: ArtifactCache, workFolder: String, shared: WorkerShared, mailbox: Mailbox<LoadJob>, wait: ThreadWaits.Wait
) throws(MessagingError) {
    let loader = Loader(cache: cache, pool: ThreadPool(threads: 1), workFolder: workFolder) { shared.answer($0) }
    var poller = Poller()
    poller.add(mailbox.wakeup)
    while true {
        for job in mailbox.takeAll() {
            guard shared.beginLoading() else { return }
            defer { shared.endLoading() }
            guard loader.perform(job) else { return }
        }
        try wait(&poller, -1)
    }
}

private func runEngine(
    options: WorkerOptions, artifacts: any WorkerArtifacts, workFolder: String, shared: WorkerShared, loader: Mailbox<LoadJob>,
    log: Logger, wait: ThreadWaits.Wait
) throws(MessagingError) {
    var complaints = ComplaintLog(log)
    let engine = Engine(
        settings: Engine.Settings(slots: options.slots, modelBytes: options.cacheBytes, workFolder: workFolder, signingKey: options.signingKey),
        pool: ThreadPool(threads: options.threads),
        checkpoints: { prepared, folder in CheckpointStore(artifacts: artifacts, workFolder: folder, prepared: prepared) },
        load: { loader.put($0) }, countTokens: { shared.countTokens($0) }, isUnwanted: { shared.isUnwanted($0) },
        complain: { complaints.take($0) }, report: { shared.report($0) })
    var poller = Poller()
    poller.add(shared.toEngine.wakeup)
    while true {
        for command in shared.toEngine.takeAll() {
            if case .stop(let lease, _) = command { shared.forgetUnwanted(lease) }
            guard engine.handle(command, now: MonotonicClock.milliseconds) else { return }
        }
        if engine.turn(now: MonotonicClock.milliseconds) { continue }
        try wait(&poller, engine.waitsUntil.map { Int(max(0, $0 - MonotonicClock.milliseconds)) } ?? -1)
    }
}
