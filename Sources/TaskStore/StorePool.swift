internal import Glibc
package import TaskProtocol

/// Threads with one connection each, which answer store requests in the order asked.
///
/// Nothing here blocks the caller: a request is queued, and its reply is handed to a closure on one of the threads. While the database is
/// away requests are answered `unavailable` at once, and the threads try to reconnect with growing pauses.
package final class StorePool: Sendable {
    private let queue = WorkQueue()
    private let workers: [PoolThread]

    /// Starts the threads; they connect by themselves.
    /// - Parameters:
    ///   - url: as of ``StoreConnection/init(_:setup:)``.
    ///   - connections: how many threads and connections.
    ///   - artifacts: asked for each artifact that a task is pinned to.
    package init(url: String, connections: Int, artifacts: ArtifactLookup? = nil) {
        let queue = queue
        workers = (0..<max(1, connections)).map { index in
            PoolThread(name: "store-\(index)") {
                var lane = StoreLane(url: url, artifacts: artifacts)
                while let work = queue.take() { lane.run(work) }
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

    /// Finishes what is queued, then ends the threads and waits for them.
    package func close() {
        queue.close()
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
    private var connection: StoreConnection?
    private var pauseMilliseconds: Int64 = 0
    private var nextTry: Int64 = 0
    private var lastProblem = "not connected yet"

    init(url: String, artifacts: ArtifactLookup? = nil) {
        self.url = url
        self.artifacts = artifacts
    }

    mutating func run(_ work: Work) {
        if let refusal = work.check?() { return work.reply(refusal) }
        guard let connection = current() else {
            work.reply(.failed(.unavailable(lastProblem)))
            return
        }
        let reply = StoreSession(connection, artifacts: artifacts).perform(work.request)
        if case .failed(.unavailable(let why)) = reply {
            lastProblem = why
            self.connection = nil
        } else if !connection.isAlive {
            self.connection = nil
        }
        work.reply(reply)
    }

    /// The connection, or nil while the next attempt to make one is not due. Pauses: 50 ms doubling to 2 s.
    private mutating func current() -> StoreConnection? {
        if let connection { return connection }
        let now = Self.monotonicMilliseconds()
        guard now >= nextTry else { return nil }
        do throws(StoreError) {
            let made = try StoreConnection(url)
            connection = made
            pauseMilliseconds = 0
            return made
        } catch {
            lastProblem = error.description
            pauseMilliseconds = min(2000, max(50, pauseMilliseconds * 2))
            nextTry = Self.monotonicMilliseconds() + pauseMilliseconds
            return nil
        }
    }

    private static func monotonicMilliseconds() -> Int64 {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return Int64(time.tv_sec) * 1000 + Int64(time.tv_nsec) / 1_000_000
    }
}
