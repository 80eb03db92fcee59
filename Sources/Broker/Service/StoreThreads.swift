internal import Messaging
internal import Synchronization
internal import TaskProtocol

/// Threads that wait for the store so that the reactor need not: each has one session and the lanes that it serves.
///
/// A lane has one request under way at a time, so a thread's line is never longer than its lanes. Beats have a thread of their own.
final class StoreThreads: Sendable {
    /// An answer on its way back.
    struct Answer: Sendable {
        let ticket: Int
        let reply: StoreReply
        let kind: String
        let seconds: Double
    }

    private struct Job: Sendable {
        let ticket: Int
        let request: StoreRequest
    }

    private let threads: [StoreThread]
    private let listener: StoreListener

    /// Starts all threads.
    /// - Parameters:
    ///   - answered: called on a store's thread.
    ///   - notified: called on the listening thread.
    init(_ access: StoreAccess, answered: @escaping @Sendable (Answer) -> Void, notified: @escaping @Sendable () -> Void) throws(MessagingError) {
        var started: [StoreThread] = []
        for index in 0..<Self.count { started.append(try StoreThread(name: "store-\(index)", access, answered)) }
        threads = started
        listener = try StoreListener(access, notified)
    }

    func perform(_ ticket: Int, _ lane: StoreLane, _ request: StoreRequest) { threads[Self.thread(of: lane)].add(ticket, request) }

    /// Ends all threads; what they have not begun is dropped.
    func stop() {
        for thread in threads { thread.stop() }
        listener.stop()
        for thread in threads { thread.join() }
        listener.join()
    }

    private static let count = 8

    private static func thread(of lane: StoreLane) -> Int {
        switch lane {
        case .beat: 0
        case .submit: 1
        case .keyedSubmit, .cancel, .retry, .catalogue: 2
        case .claim, .due, .unchecked, .adopt: 3
        case .complete: 4
        case .settle, .training, .progress: 5
        case .read, .results: 6
        case .sessions, .reconcile, .sweep, .outlines, .figures: 7
        }
    }
}

/// One thread with one session.
private final class StoreThread: Sendable {
    private struct Line: Sendable {
        var jobs: [(ticket: Int, request: StoreRequest)] = []
        var isStopped = false
    }

    private let line = Mutex(Line())
    private let wakeup: Wakeup
    private let thread: Mutex<ServiceThread?>

    init(name: String, _ access: StoreAccess, _ answered: @escaping @Sendable (StoreThreads.Answer) -> Void) throws(MessagingError) {
        wakeup = try Wakeup()
        thread = Mutex(nil)
        let started = try ServiceThread(name: name) { [self] in run(access, answered) }
        thread.withLock { $0 = started }
    }

    func add(_ ticket: Int, _ request: StoreRequest) {
        line.withLock { $0.jobs.append((ticket, request)) }
        wakeup.signal()
    }

    func stop() {
        line.withLock { $0.isStopped = true }
        wakeup.signal()
    }

    func join() { thread.withLock { $0 }?.join() }

    private func run(_ access: StoreAccess, _ answered: (StoreThreads.Answer) -> Void) {
        var session: StoreAccess.Session?
        var poller = Poller()
        poller.add(wakeup)
        while true {
            let (jobs, isStopped) = line.withLock { line in
                defer { line.jobs.removeAll(keepingCapacity: true) }
                return (line.jobs, line.isStopped)
            }
            if isStopped { return }
            for job in jobs {
                let start = ContinuousClock.now
                let reply = perform(job.request, &session, access)
                if case .failed(.unavailable) = reply { session = nil }
                let taken = ContinuousClock.now - start
                answered(StoreThreads.Answer(ticket: job.ticket, reply: reply, kind: job.request.name, seconds: taken / .seconds(1)))
            }
            guard jobs.isEmpty else { continue }
            _ = try? poller.wait(milliseconds: 1_000)
            wakeup.drain()
        }
    }

    private func perform(_ request: StoreRequest, _ session: inout StoreAccess.Session?, _ access: StoreAccess) -> StoreReply {
        do throws(StoreFailure) {
            if session == nil { session = try access.open() }
            return session?(request) ?? .failed(.unavailable("no session"))
        } catch {
            return .failed(error)
        }
    }
}

/// The thread that hears notifications.
private final class StoreListener: Sendable {
    private let isStopped = Atomic(false)
    private let thread: Mutex<ServiceThread?>
    private let wakeup: Wakeup

    init(_ access: StoreAccess, _ notified: @escaping @Sendable () -> Void) throws(MessagingError) {
        wakeup = try Wakeup()
        thread = Mutex(nil)
        let started = try ServiceThread(name: "store-listen") { [self] in run(access, notified) }
        thread.withLock { $0 = started }
    }

    func stop() {
        isStopped.store(true, ordering: .releasing)
        wakeup.signal()
    }

    func join() { thread.withLock { $0 }?.join() }

    private func run(_ access: StoreAccess, _ notified: () -> Void) {
        var poller = Poller()
        poller.add(wakeup)
        while !isStopped.load(ordering: .acquiring) {
            do throws(StoreFailure) {
                let wait = try access.listen()
                // What was published while nobody listened is looked for once.
                notified()
                while !isStopped.load(ordering: .acquiring) {
                    if try wait(250) { notified() }
                }
            } catch {
                _ = try? poller.wait(milliseconds: 500)
                wakeup.drain()
            }
        }
    }
}

extension StoreRequest {
    /// A word for metrics.
    var name: String {
        switch self {
        case .submit: "submit"
        case .claim: "claim"
        case .beat: "beat"
        case .sweep: "sweep"
        case .registerBroker, .endBroker, .markIdle: "broker"
        case .registerSession, .endSession: "session"
        case .leases: "leases"
        case .complete: "complete"
        case .fail: "fail"
        case .release: "release"
        case .confirmCancel, .cancel: "cancel"
        case .retry: "retry"
        case .progress: "progress"
        case .trainingSteps: "training_steps"
        case .checkpoint: "checkpoint"
        case .get: "get"
        case .states: "states"
        case .models, .datasets, .registerModel, .registerDataset: "catalogue"
        case .unchecked, .adopt: "adopt"
        case .dueSweep: "due"
        case .figures, .durability: "figures"
        }
    }
}
