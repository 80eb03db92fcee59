package import Encodings
package import Messaging
package import TaskProtocol

/// How a worker process is set up; the command line fills it.
package struct WorkerOptions: Sendable {
    /// Workers endpoints of the brokers; which is tried first depends on the session, so that many workers spread.
    package var brokers: [String]
    /// Threads of the engine.
    package var threads: Int
    /// Sequences that run at once.
    package var slots: Int
    /// The artifact store's directory, mounted here and never made here; nil: artifacts come and go through the broker.
    package var artifacts: String?
    /// Where artifacts are laid out as files, by digest.
    package var cacheDirectory: String
    /// Bytes of the cache directory, and bytes of models in memory, above which the least recently used go.
    package var cacheBytes: Int
    /// How long generates may go on after SIGTERM.
    package var drainTimeoutSeconds: Double
    /// Shown beside the host's name.
    package var label: String
    /// The program's version, told to brokers.
    package var version: String
    /// The CURVE keys to come to brokers with; nil: without keys.
    package var credentials: CurveCredentials?
    /// Signs the proof record of every text that is generated here; nil: they stay unsigned.
    package var signingKey: SigningKey?
    /// Models that must have made a token before the worker calls itself ready; it takes tasks before that.
    package var preloads: [PreloadRequest]

    package init(
        brokers: [String] = ["tcp://127.0.0.1:5572"], threads: Int, slots: Int = 16, artifacts: String? = nil, cacheDirectory: String,
        cacheBytes: Int = 16 << 30, drainTimeoutSeconds: Double = 10, label: String = "", version: String = "", credentials: CurveCredentials? = nil,
        signingKey: SigningKey? = nil, preloads: [PreloadRequest] = []
    ) {
        self.brokers = brokers
        self.threads = threads
        self.slots = slots
        self.artifacts = artifacts
        self.cacheDirectory = cacheDirectory
        self.cacheBytes = cacheBytes
        self.drainTimeoutSeconds = drainTimeoutSeconds
        self.label = label
        self.version = version
        self.credentials = credentials
        self.signingKey = signingKey
        self.preloads = preloads
    }
}

/// What a worker looks like from outside at one moment, for `/readyz` and `/metrics`.
package struct WorkerSnapshot: Sendable, Equatable {
    /// Joined to a broker.
    package var joined = false
    /// Why the broker tried last does not let this worker in; nil where none has said so, or one has since.
    package var refusal: String?
    /// It takes no new work any more.
    package var draining = false
    /// Models that are to be preloaded and have made no token yet, a sentence each.
    package var preloadsOutstanding: [String] = []
    /// What is to be mended on this machine before it takes work again; nil where nothing is known to be wrong.
    package var mend: String?
    package var tasksRunning = 0
    package var tasksWaiting = 0
    /// Ends that no broker has recorded yet.
    package var tasksUnrecorded = 0
    package var slots = 0
    package var slotsTaken = 0
    /// Tokens generated or trained on since the start.
    package var tokensTotal: UInt64 = 0
    /// Checkpoint digests of the models in memory.
    package var modelsLoaded: [String] = []
    /// Models loaded since the start, and those that could not be.
    package var modelLoadsTotal: UInt64 = 0
    package var modelLoadFailuresTotal: UInt64 = 0
    /// Messages that could not be read.
    package var malformedTotal: UInt64 = 0

    package init() {}
}

extension WorkerCore {
    /// The core's part of a ``WorkerSnapshot``.
    package var snapshot: WorkerSnapshot {
        var snapshot = WorkerSnapshot()
        snapshot.joined = link.joined != nil
        snapshot.draining = drain != .working
        snapshot.mend = fitness.mend
        snapshot.tasksRunning = tasks.running.count
        snapshot.tasksWaiting = tasks.waitingCount
        snapshot.tasksUnrecorded = tasks.unreportedCount
        snapshot.slots = slots
        snapshot.slotsTaken = tasks.slotsTaken
        snapshot.modelsLoaded = models
        snapshot.preloadsOutstanding = preloads.outstanding
        return snapshot
    }

    /// Whether every model of ``Settings/preloads`` has made its token.
    package var hasPreloaded: Bool { preloads.isDone }

    /// Whether ``WorkerAction/exit`` was said.
    package var isGone: Bool { drain == .gone }

    /// The leases held now: waiting, running, or ended and not yet recorded.
    package var leases: [WorkerLease] { tasks.leases }
}
