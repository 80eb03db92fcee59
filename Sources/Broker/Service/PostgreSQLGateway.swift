package import ArtifactStore
internal import Encodings
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
    private let presence: ArtifactPresence?
    private let web: WebArtifacts?
    private let connections = Mutex<Connections?>(nil)

    /// - Parameters:
    ///   - url: libpq's connection string or address; empty leaves all to its `PG…` variables.
    ///   - connections: of the pool; two more are made.
    ///   - artifacts: where the files of whatever is named or pinned must stand; nil asks nobody.
    ///   - web: fetches datasets by web address; nil refuses those.
    package init(url: String, connections: Int = 6, artifacts: ArtifactDirectory? = nil, web: WebArtifacts? = nil) {
        self.web = web
        self.url = url
        self.artifacts = artifacts
        presence = artifacts.map { ArtifactPresence($0) }
        count = connections
    }

    package func open(notified: @escaping @Sendable () -> Void) {
        let (url, count) = (url, count)
        let lookup = artifactLookup
        connections.withLock {
            $0 = Connections(
                pool: StorePool(url: url, connections: count, artifacts: lookup),
                beats: StorePool(url: url, connections: 1, patience: StorePatience.ofBeats),
                listener: NotificationListener(url: url, wake: notified))
        }
    }

    package func perform(_ request: StoreRequest, lane: StoreLane, reply: @escaping @Sendable (StoreReply) -> Void) {
        guard let open = connections.withLock({ $0 }) else { return reply(.failed(.unreached("not open"))) }
        (lane == .beat ? open.beats : open.pool).perform(request, check: artifactCheck(request), reply: reply)
    }

    private var artifactLookup: ArtifactLookup? {
        guard let presence else { return nil }
        return { [web] artifact in
            guard Names.isWebAddress(artifact) else { return presence.standing(of: artifact) }
            return web?.standing(of: artifact) ?? .refused("web addresses are refused here: the operator allows none (--allow-uri)")
        }
    }

    /// What refuses to name in the database what is not in the store, and renews the age of what is: in a step of its own, before the transaction.
    private func artifactCheck(_ request: StoreRequest) -> (@Sendable () -> StoreReply?)? {
        guard let artifacts else { return nil }
        switch request {
        case .registerModel(let model): return { Self.refusal(of: [model.manifest], in: artifacts, field: "model.sha256") }
        case .registerDataset(let dataset): return { Self.refusal(of: [dataset.manifest], in: artifacts, field: "dataset.sha256") }
        case .checkpoint(let commits): return { Self.refusal(of: commits.flatMap(\.manifests), in: artifacts, field: nil) }
        default: return nil
        }
    }

    private static func refusal(of manifests: [String], in artifacts: ArtifactDirectory, field: String?) -> StoreReply? {
        if manifests.allSatisfy({ artifacts.renewAll(ofManifest: $0) }) { return nil }
        guard artifacts.isReachable else {
            return .refused(ContractError(.unavailable, "the artifact store cannot be looked into: nothing was accepted, try again"))
        }
        return .refused(ContractError(.notFound, "the artifact store does not hold this manifest with all its files", field: field))
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

extension CheckpointCommit {
    /// The manifests that its rows will name.
    fileprivate var manifests: [String] {
        let resumed = resume.flatMap { try? JSONValue.parse($0) }?["manifest"]?.stringValue
        return [record?.manifest, resumed].compactMap { $0 }
    }
}
