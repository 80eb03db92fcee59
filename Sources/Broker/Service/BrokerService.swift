package import ArtifactStore
package import Logging
package import Messaging
internal import Glibc
internal import Synchronization
package import TaskProtocol

/// A running broker: one reactor thread with all sockets, a few threads that wait for the store.
///
///     let broker = BrokerService(options: options, store: PostgreSQLGateway(url: url), logger: logger)
///     let endpoints = try broker.start()
///     …
///     broker.drain()        // SIGTERM: commits what is under way, then ends
///     broker.waitUntilEnded()
package final class BrokerService: Sendable {
    /// This process start.
    package let id: BrokerID
    private let options: BrokerOptions
    private let store: any StoreGateway
    private let artifacts: ArtifactDirectory?
    private let logger: Logger
    private let inbox: ReactorInbox
    private let thread: Mutex<ServiceThread?>

    /// - Parameters:
    ///   - artifacts: what `put` and `fetch` reach; nil refuses both.
    ///   - id: a new one each start.
    package init(
        options: BrokerOptions, store: any StoreGateway, artifacts: ArtifactDirectory? = nil, logger: Logger, id: BrokerID = UUIDValue.random()
    ) throws(MessagingError) {
        self.id = id
        self.options = options
        self.store = store
        self.artifacts = artifacts
        var logger = logger
        logger[metadataKey: "broker"] = "\(id)"
        self.logger = logger
        inbox = try ReactorInbox(BrokerSnapshot(broker: id))
        thread = Mutex(nil)
    }

    /// Binds the sockets and begins to serve: once this has returned, requests are taken. Where the store is not there, or takes this broker for nobody yet,
    /// it returns as soon as that is known, within ten seconds; until the store is there, requests are answered `unavailable`.
    /// - Returns: where it really listens.
    /// - Throws: ``MessagingError/notLoopback(endpoint:)`` or ``MessagingError/bindFailed(endpoint:reason:)``.
    package func start() throws(MessagingError) -> BrokerEndpoints {
        try options.check()
        OpenFiles.allowAll()
        let context = try ZMQContext()
        let (options, store, artifacts, logger, inbox, id) = (options, store, artifacts, logger, inbox, id)
        let started = try ServiceThread(name: "broker") { Self.run(context, options, store, artifacts, logger, inbox, id) }
        thread.withLock { $0 = started }
        return try inbox.waitUntilServing()
    }

    /// Takes nothing new, commits what is under way, and ends; after ``BrokerOptions/drainSeconds`` it ends anyway.
    package func drain() { inbox.drain() }

    /// Ends at once: what was accepted is in the database, what was not is refused by nobody.
    package func stop() { inbox.stop() }

    /// Reads the lists of keys again, at once (SIGHUP; changes are found within a second anyway).
    package func reloadKeys() { options.security?.access.reload() }

    /// Waits until the threads have ended. Blocks: not for Swift's cooperative pool.
    package func waitUntilEnded() { thread.withLock { $0 }?.join() }

    /// Whether it has ended, drained or stopped.
    package var hasEnded: Bool {
        switch inbox.phase {
        case .ended, .failed: true;
        default: false
        }
    }

    /// What it knows of itself, at most a few tenths of a second old. From any thread.
    package var snapshot: BrokerSnapshot { inbox.snapshot }

    private static func run(
        _ context: ZMQContext, _ options: BrokerOptions, _ store: any StoreGateway, _ directory: ArtifactDirectory?, _ logger: Logger,
        _ inbox: ReactorInbox, _ id: BrokerID
    ) {
        defer { inbox.enter(.ended) }
        do throws(MessagingError) {
            // Before any socket, until after the last: a door without its keeper would open to nobody.
            let authenticator = try authenticator(context, options, logger)
            defer { authenticator?.stop() }
            let core = BrokerCore(id: id, version: options.version, settings: options.settings)
            let artifacts = try directory.map { folder throws(MessagingError) in try ArtifactThreads(folder, logger: logger) }
            defer { artifacts?.close() }
            var reactor = try Reactor(context, options, core, store, artifacts, inbox, logger)
            store.open(notified: { inbox.notify() })
            defer { store.close() }
            let registration = BrokerRegistration(
                id: id, host: options.host, pid: Int(getpid()), version: options.version,
                endpoints: reactor.endpoints.named(reachableAt: options.advertisedHost ?? options.host),
                publicKey: options.security?.keys.publicKey.text)
            try reactor.run(registration, drainMilliseconds: Int64(options.drainSeconds * 1_000))
        } catch {
            logger.error("the broker's sockets failed", metadata: ["error": "\(error)"])
            inbox.enter(.failed(error))
        }
    }

    private static func authenticator(_ context: ZMQContext, _ options: BrokerOptions, _ logger: Logger) throws(MessagingError) -> Authenticator? {
        guard let security = options.security else { return nil }
        return try Authenticator(context, security.access, domains: BrokerDoor.allCases.map(\.rawValue)) { logger.log($0) }
    }
}
