package import ArtifactStore
package import Encodings
import Kernels
package import TaskProtocol

/// The worker's engine and loader on the caller's thread, without brokers or sockets: one step at a time, for tests and measurements.
///
///     let engine = try LocalEngine(artifacts: store, cacheDirectory: folder)
///     engine.start(grant)
///     while engine.turn() {}
///     print(engine.takeReports())
package final class LocalEngine {
    private let engine: Engine
    private let loader: Loader
    private let state = State()
    /// Where the time comes from.
    package var clock: () -> Int64 = { MonotonicClock.milliseconds }
    /// Called whenever the loader says how far a model or a finetune's data is, once the engine has heard it: whatever else may befall the engine meanwhile.
    package var whileLoading: () -> Void = {}

    /// What the closures of engine and loader share with it.
    private final class State {
        var commands: [EngineCommand] = []
        var loading: () -> Void = {}
        var jobs: [LoadJob] = []
        var reports: [EngineReport] = []
        var complaints: [String] = []
        var tokens = 0
    }

    /// - Throws: where the cache folder cannot be used.
    package init(
        artifacts: ArtifactDirectory, cacheDirectory: String, cacheBytes: Int = 1 << 30, threads: Int = 1, slots: Int = 8,
        signingKey: SigningKey? = nil
    ) throws(TaskFault) {
        let pool = ThreadPool(threads: threads)
        let work = cacheDirectory + "/work"
        let mounted = MountedArtifacts(directory: artifacts)
        let cache = try ArtifactCache(artifacts: mounted, directory: cacheDirectory, byteLimit: cacheBytes)
        loader = Loader(cache: cache, pool: pool, workFolder: work) { [state] answer in
            state.commands.append(answer)
            switch answer {
            case .modelLoading, .finetunePreparing: state.loading()
            default: break
            }
        }
        engine = Engine(
            settings: Engine.Settings(slots: slots, modelBytes: cacheBytes, workFolder: work, signingKey: signingKey), pool: pool,
            checkpoints: { CheckpointStore(artifacts: mounted, workFolder: $1, prepared: $0) }, load: { [state] in state.jobs.append($0) },
            countTokens: { [state] in state.tokens += $0 }, complain: { [state] in state.complaints.append("\($0)") },
            report: { [state] in state.reports.append($0) })
    }

    /// Hands a task to the engine.
    package func start(_ grant: WorkerGrant) { command(.start(grant)) }

    /// Hands a model to the engine that is to be in memory and to make a token.
    package func preload(_ preload: Preload) { command(.preload(preload)) }

    /// Asks for a task's end.
    package func stop(_ lease: LeaseID, _ reason: StopReason) { command(.stop(lease, reason)) }

    /// One job of the loader and one step of the engine.
    /// - Returns: false where there was nothing to do and nothing is waited for.
    package func turn() -> Bool { turn(now: clock()) }

    /// The same at a given time: intervals between checkpoints count by it.
    package func turn(now: Milliseconds) -> Bool {
        let job = state.jobs.isEmpty ? nil : state.jobs.removeFirst()
        state.loading = { [unowned self] in
            handOver(now: clock())
            whileLoading()
        }
        if let job { _ = loader.perform(job) }
        state.loading = {}
        handOver(now: now)
        return engine.turn(now: now) || job != nil || engine.waitsUntil != nil
    }

    /// One step of the engine alone, as while its loader is at work in another thread.
    package func engineTurn() -> Bool { engine.turn(now: clock()) }

    /// What was reported since the last look.
    package func takeReports() -> [EngineReport] {
        defer { state.reports = [] }
        return state.reports
    }

    /// What this machine's keeper was told so far.
    package var complaints: [String] { state.complaints }

    /// The engine hears what the loader answered.
    private func handOver(now: Milliseconds) {
        let answers = state.commands
        state.commands = []
        for answer in answers { _ = engine.handle(answer, now: now) }
    }

    private func command(_ command: EngineCommand) { _ = engine.handle(command, now: clock()) }
}
