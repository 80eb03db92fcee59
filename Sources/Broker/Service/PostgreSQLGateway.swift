package import ArtifactStore
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
    private let artifacts: ArtifactDirectory?
    private let connections = Mutex<Connections?>(nil)

    /// - Parameters:
    ///   - url: libpq's connection string or address; empty leaves all to its `PG…` variables.
    ///   - connections: of the pool; two more are made.
    ///   - artifacts: where the files of a model or dataset must stand before its name is filed; nil files any.
    package init(url: String, connections: Int = 6, artifacts: ArtifactDirectory? = nil) {
        self.url = url
        self.artifacts = artifacts
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
        (lane == .beat ? open.beats : open.pool).perform(request, check: artifactCheck(request), reply: reply)
    }

    /// What refuses a name whose files are not in the store: a task that named it could never run.
    private func artifactCheck(_ request: StoreRequest) -> (@Sendable () -> StoreReply?)? {
        let (manifest, field): (String, String)
        switch request {
        case .registerModel(let model): (manifest, field) = (model.manifest, "model.sha256")
        case .registerDataset(let dataset): (manifest, field) = (dataset.manifest, "dataset.sha256")
        default: return nil
        }
        guard let artifacts else { return nil }
        return {
            if artifacts.hasAll(ofManifest: manifest) { return nil }
            return .refused(ContractError(.notFound, "the artifact store does not hold this manifest with all its files", field: field))
        }
    }

    package func listenAnew() { connections.withLock { $0 }?.listener.reconnect() }

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
