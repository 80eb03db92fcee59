internal import Glibc
package import TaskProtocol

/// Threads with one connection each, which answer store requests in the order asked.
///
/// Nothing here blocks the caller: a request is queued, and its reply is handed to a closure on one of the threads. While the database is
/// away requests are answered `unavailable` at once, and the threads try to reconnect with growing pauses.
package final class StorePool: Sendable {
    private let queue = WorkQueue()
    private let interruption = Interruption()
    private let workers: [PoolThread]
    /// How long ``close()`` lets answers come that are under way.
    private static let graceSeconds = 2.0

    /// Starts the threads; they connect by themselves.
    /// - Parameters:
    ///   - url: as of ``StoreConnection/init(_:setup:)``.
    ///   - connections: how many threads and connections.
    ///   - artifacts: asked for each artifact that a task is pinned to.
    ///   - patience: how many seconds one answer of the server may take.
    package init(url: String, connections: Int, artifacts: ArtifactLookup? = nil, patience: Double = StorePatience.ofRequests) {
        let queue = queue
        let patience = StorePatience(seconds: patience, interruption: interruption)
        workers = (0..<max(1, connections)).map { index in
            PoolThread(name: "store-\(index)") {
                var lane = StoreLane(url: url, artifacts: artifacts, patience: patience)
                var isBack = false
                var isCounted = false
                while true {
                    queue.count(lane.isConnected, &isCounted)
                    // Without a connection (their number may be limited) it leaves the work to threads that have one.
                    while !lane.isConnected, queue.isServed, !lane.connect() { usleep(50_000) }
                    queue.count(lane.isConnected, &isCounted)
                    switch queue.take(isBack: isBack, isConnected: isCounted) {
                    case .work(let work):
                        lane.run(work)
                        isBack = true
                    // It comes here only without a connection, while another thread has just got one.
                    case .elsewhere: isBack = false
                    case .end: return
                    }
                }
            }
        }
    }

    /// Asks. The reply comes on a store thread.
    /// - Parameter check: called on that thread first; what it returns is the reply, and the request is not made.
    package func perform(
        _ request: StoreRequest, check: (@Sendable () -> StoreReply?)? = nil, reply: @escaping @Sendable (StoreReply) -> Void
    ) {
        queue.put(Work(request: request, check: check, reply: reply))
    }

    /// Finishes what is queued, then ends the threads and waits for them. What has no answer within two seconds is given up: its outcome is unknown.
    package func close() {
        queue.close()
        let deadline = MonotonicTime.milliseconds() + Int64(Self.graceSeconds * 1_000)
        while queue.isAnyoneAtWork, MonotonicTime.milliseconds() < deadline { usleep(5_000) }
        interruption.raise()
        workers.forEach { $0.join() }
    }

    /// How many requests wait for a thread.
    package var waiting: Int { queue.count }
}

/// A request and where its reply goes.
struct Work: Sendable {
    let request: StoreRequest
    let check: (@Sendable () -> StoreReply?)?
    let reply: @Sendable (StoreReply) -> Void
}

/// One thread's connection, made anew when it is lost.
struct StoreLane {
    private let url: String
    private let artifacts: ArtifactLookup?
    private let patience: StorePatience
    private var connection: StoreConnection?
    private var pauseMilliseconds: Int64 = 0
    private var nextTry: Int64 = 0
    private var lastProblem = "not connected yet"

    init(url: String, artifacts: ArtifactLookup?, patience: StorePatience) {
        self.url = url
        self.artifacts = artifacts
        self.patience = patience
    }

    var isConnected: Bool { connection != nil }

    /// Tries to connect, where the next attempt is due.
    mutating func connect() -> Bool { current() != nil }

    mutating func run(_ work: Work) {
        if let refusal = work.check?() { return work.reply(refusal) }
        let old = connection
        var reply = ask(work.request)
        // A connection that served before may have died long ago (a restart of the server): that is found out only now, and says nothing of the server.
        let mayBeDone = reply.absence?.mayBeDone ?? true
        if let old, connection == nil, !old.isUnresponsive, !mayBeDone || work.request.isRepeatable {
            reply = ask(work.request)
            if mayBeDone {
                // What holds the lock may be the first sending itself, whose commit nobody knows of yet: `busy` would say that nothing was accepted.
                if reply.isBusy { reply = .failed(.unavailable("a connection was lost, and what it was asked last is not settled yet")) }
                if let (why, _) = reply.absence { reply = .failed(.unavailable(why)) }
            }
        }
        work.reply(reply)
    }

    private mutating func ask(_ request: StoreRequest) -> StoreReply {
        guard let connection = current() else { return .failed(.unreached(lastProblem)) }
        connection.beginRequest()
        let reply = StoreSession(connection, artifacts: artifacts).perform(request)
        if let (why, _) = reply.absence {
            lastProblem = why
            self.connection = nil
        } else if !connection.isAlive {
            self.connection = nil
        }
        return reply
    }

    /// The connection, or nil while the next attempt to make one is not due. Pauses: 50 ms doubling to 2 s.
    private mutating func current() -> StoreConnection? {
        if let connection { return connection }
        guard MonotonicTime.milliseconds() >= nextTry else { return nil }
        do throws(StoreError) {
            let made = try StoreConnection(url, patience: patience)
            connection = made
            pauseMilliseconds = 0
            return made
        } catch {
            lastProblem = error.description
            pauseMilliseconds = min(2000, max(50, pauseMilliseconds * 2))
            nextTry = MonotonicTime.milliseconds() + pauseMilliseconds
            return nil
        }
    }
}

extension StoreRequest {
    /// Whether it can be sent twice without harm. The leases that a claim hands out are named in it: sent twice, one name might stand for two tasks.
    /// What removes a schedule finds none the second time: only who sends it again on purpose can tell that from one that was never there.
    fileprivate var isRepeatable: Bool {
        switch self {
        case .claim, .administer(.removeSchedule): false
        default: true
        }
    }
}

/// A clock that nobody steps.
enum MonotonicTime {
    static func milliseconds() -> Int64 {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return Int64(time.tv_sec) * 1000 + Int64(time.tv_nsec) / 1_000_000
    }
}
