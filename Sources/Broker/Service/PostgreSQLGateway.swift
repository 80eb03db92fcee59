internal import Synchronization
package import TaskProtocol
internal import TaskStore

/// The store in PostgreSQL: a pool of connections, one more for the beats, which nothing may make late, and one that listens.
package final class PostgreSQLGateway: StoreGateway {
    private struct Connections: Sendable {
        let pool: StorePool
        let beats: StorePool
        let listener: NotificationListener
    }

    private let url: String
    private let count: Int
    private let connections = Mutex<Connections?>(nil)

    /// - Parameters:
    ///   - url: libpq's connection string or address; empty leaves all to its `PG…` variables.
    ///   - connections: of the pool; two more are made.
    package init(url: String, connections: Int = 6) {
        self.url = url
        count = connections
    }

    package func open(notified: @escaping @Sendable () -> Void) {
        let (url, count) = (url, count)
        connections.withLock {
            $0 = Connections(
                pool: StorePool(url: url, connections: count), beats: StorePool(url: url, connections: 1),
                listener: NotificationListener(url: url, wake: notified))
        }
    }

    package func perform(_ request: StoreRequest, lane: StoreLane, reply: @escaping @Sendable (StoreReply) -> Void) {
        guard let open = connections.withLock({ $0 }) else { return reply(.failed(.unavailable("not open"))) }
        (lane == .beat ? open.beats : open.pool).perform(request, reply: reply)
    }

    package func close() {
        let open = connections.withLock { connections in
            defer { connections = nil }
            return connections
        }
        open?.listener.close()
        open?.pool.close()
        open?.beats.close()
    }
}
