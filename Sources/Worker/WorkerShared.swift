import Messaging
import Synchronization
import TaskProtocol

/// What the worker's threads share: their mailboxes and what is told outside.
final class WorkerShared: Sendable {
    let toReactor: Mailbox<WorkerInput>
    let toEngine: Mailbox<EngineCommand>
    private let seen = Mutex(WorkerSnapshot())
    private let failed = Mutex<String?>(nil)
    private let tokens = Atomic<UInt64>(0)
    private let modelLoads = Atomic<UInt64>(0)
    private let modelLoadFailures = Atomic<UInt64>(0)
    private let joined = Mutex<Broker?>(nil)
    private let ending = Atomic<Bool>(false)
    private let loading = Atomic<Bool>(false)
    private let unwanted = Mutex<Set<LeaseID>>([])

    /// The broker that the reactor talks to.
    struct Broker: Sendable {
        let link: LinkID
        let endpoint: String
        /// The keys to come to it with.
        let security: SocketSecurity
    }

    init() throws(MessagingError) {
        toReactor = try Mailbox()
        toEngine = try Mailbox()
    }

    /// Where artifacts come from and go to, for a worker without the store.
    var broker: Broker? {
        get { joined.withLock { $0 } }
        set { joined.withLock { $0 = newValue } }
    }

    /// The process ends: whatever blocks lets go.
    var isEnding: Bool { ending.load(ordering: .sequentiallyConsistent) }
    func end() { ending.store(true, ordering: .sequentiallyConsistent) }

    /// The loader is at a model or a finetune's data, which may take minutes and cannot be cut short everywhere.
    var isLoading: Bool { loading.load(ordering: .sequentiallyConsistent) }

    /// - Returns: false where the process ends: nothing is begun. Whoever sees the end before this sees no load after it.
    func beginLoading() -> Bool {
        loading.store(true, ordering: .sequentiallyConsistent)
        if isEnding { endLoading() }
        return isLoading
    }

    func endLoading() { loading.store(false, ordering: .sequentiallyConsistent) }

    /// Notes that a task is to be stopped and that nobody wants its state, until the engine has heard of it.
    func isUnwanted(_ lease: LeaseID) -> Bool { unwanted.withLock { $0.contains(lease) } }
    func markUnwanted(_ lease: LeaseID) { _ = unwanted.withLock { $0.insert(lease) } }
    func forgetUnwanted(_ lease: LeaseID) { _ = unwanted.withLock { $0.remove(lease) } }

    /// The engine's voice.
    func report(_ report: EngineReport) { toReactor.put(.engine(report)) }

    func countTokens(_ count: Int) { tokens.wrappingAdd(UInt64(clamping: count), ordering: .relaxed) }

    /// A thread has failed; the first reason stands. The reactor ends with it.
    func fail(_ reason: String) {
        failed.withLock { $0 = $0 ?? reason }
        toReactor.wakeup.signal()
    }

    /// Why the worker cannot go on.
    var failure: String? { failed.withLock { $0 } }

    /// The loader's voice.
    func answer(_ answer: EngineCommand) {
        switch answer {
        case .modelLoaded(_, .success): modelLoads.wrappingAdd(1, ordering: .relaxed)
        case .modelLoaded(_, .failure): modelLoadFailures.wrappingAdd(1, ordering: .relaxed)
        default: break
        }
        toEngine.put(answer)
    }

    func update(_ snapshot: WorkerSnapshot, malformed: UInt64, refusal: String?) {
        var snapshot = snapshot
        snapshot.refusal = refusal
        snapshot.malformedTotal = malformed
        seen.withLock { $0 = snapshot }
    }

    var snapshot: WorkerSnapshot {
        var snapshot = seen.withLock { $0 }
        snapshot.tokensTotal = tokens.load(ordering: .relaxed)
        snapshot.modelLoadsTotal = modelLoads.load(ordering: .relaxed)
        snapshot.modelLoadFailuresTotal = modelLoadFailures.load(ordering: .relaxed)
        return snapshot
    }
}
