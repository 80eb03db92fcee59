internal import Messaging
internal import Synchronization
internal import TaskProtocol

/// What other threads hand to the reactor, and what they may read of it.
final class ReactorInbox: Sendable {
    /// The store's answer on its way back.
    struct Answer: Sendable {
        let ticket: Int
        let reply: StoreReply
        let kind: String
        let seconds: Double
    }

    struct Items: Sendable {
        var answers: [Answer] = []
        var artifacts: [(ticket: Int, answer: ArtifactAnswer)] = []
        var isNotified = false
        var isDraining = false
    }

    /// How far the reactor is.
    enum Phase: Sendable {
        case starting
        /// Its sockets are bound, and it takes requests; or its database lets it wait.
        case serving(BrokerEndpoints)
        case failed(MessagingError)
        case ended
    }

    let wakeup: Wakeup
    private let items = Mutex(Items())
    private let stopped = Atomic(false)
    private let phaseAndShot: Mutex<(phase: Phase, snapshot: BrokerSnapshot)>
    private let changed: Wakeup

    init(_ snapshot: BrokerSnapshot) throws(MessagingError) {
        wakeup = try Wakeup()
        changed = try Wakeup()
        phaseAndShot = Mutex((.starting, snapshot))
    }

    func add(_ answer: Answer) {
        items.withLock { $0.answers.append(answer) }
        wakeup.signal()
    }

    func add(ticket: Int, _ answer: ArtifactAnswer) {
        items.withLock { $0.artifacts.append((ticket, answer)) }
        wakeup.signal()
    }

    func notify() {
        items.withLock { $0.isNotified = true }
        wakeup.signal()
    }

    func drain() {
        items.withLock { $0.isDraining = true }
        wakeup.signal()
    }

    func stop() {
        stopped.store(true, ordering: .releasing)
        wakeup.signal()
    }

    var isStopped: Bool { stopped.load(ordering: .acquiring) }

    func take() -> Items {
        items.withLock { items in
            defer { items = Items() }
            return items
        }
    }

    func enter(_ phase: Phase) {
        phaseAndShot.withLock {
            // Why it could not start is what its starter is to hear, not that it has ended.
            if case .failed = $0.phase { return }
            $0.phase = phase
        }
        changed.signal()
    }

    func publish(_ snapshot: BrokerSnapshot) { phaseAndShot.withLock { $0.snapshot = snapshot } }

    var phase: Phase { phaseAndShot.withLock { $0.phase } }
    var snapshot: BrokerSnapshot { phaseAndShot.withLock { $0.snapshot } }

    /// Waits until it serves, or cannot.
    func waitUntilServing() throws(MessagingError) -> BrokerEndpoints {
        var poller = Poller()
        poller.add(changed)
        while true {
            switch phase {
            case .serving(let endpoints): return endpoints
            case .failed(let error): throw error
            case .ended: throw .terminated
            case .starting:
                try poller.wait(milliseconds: 1_000)
                changed.drain()
            }
        }
    }
}
