import Messaging
import Synchronization
import TaskProtocol

/// What the worker's threads share: their mailboxes and what is told outside.
final class WorkerShared: Sendable {
    let toReactor: Mailbox<WorkerInput>
    let toEngine: Mailbox<EngineCommand>
    private let seen = Mutex(WorkerSnapshot())
    private let tokens = Atomic<UInt64>(0)

    init() throws(MessagingError) {
        toReactor = try Mailbox()
        toEngine = try Mailbox()
    }

    /// The engine's voice.
    func report(_ report: EngineReport) { toReactor.put(.engine(report)) }

    func countTokens(_ count: Int) { tokens.wrappingAdd(UInt64(clamping: count), ordering: .relaxed) }

    func update(_ snapshot: WorkerSnapshot, malformed: UInt64, refusal: String?) {
        var snapshot = snapshot
        snapshot.refusal = refusal
        snapshot.malformedTotal = malformed
        seen.withLock { $0 = snapshot }
    }

    var snapshot: WorkerSnapshot {
        var snapshot = seen.withLock { $0 }
        snapshot.tokensTotal = tokens.load(ordering: .relaxed)
        return snapshot
    }
}
