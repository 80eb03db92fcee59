package import Messaging

/// A broker's four sockets, by the names under which its lists and its log know them.
package enum BrokerDoor: String, Sendable, CaseIterable {
    case tasks, events, workers, peers
}

/// A broker's own CURVE pair and whom it lets in where.
///
/// Clients come to tasks and events, workers to workers, brokers to peers, and nobody elsewhere. Brokers may share one pair; the own key is
/// always among the brokers', so such an installation needs no list of them.
package struct BrokerSecurity: Sendable {
    package let keys: CurveKeyPair
    package let access: AccessControl

    /// - Parameters: files of keys, which are read again whenever they change.
    /// - Throws: ``KeyFileError`` where a file is no list now; ``MessagingError`` where the system refuses a wake-up.
    package init(keys: CurveKeyPair, clients: [String], workers: [String], brokers: [String] = []) throws {
        self.keys = keys
        access = try AccessControl([
            .init(domains: Self.names(.tasks, .events), files: clients), .init(domains: Self.names(.workers), files: workers),
            .init(domains: Self.names(.peers), files: brokers, keys: [keys.publicKey]),
        ])
    }

    /// The same with lists that never change: for benchmarks and tests.
    package init(keys: CurveKeyPair, clients: Set<CurvePublicKey>, workers: Set<CurvePublicKey>) throws {
        self.keys = keys
        access = try AccessControl([
            .init(domains: Self.names(.tasks, .events), keys: clients), .init(domains: Self.names(.workers), keys: workers),
            .init(domains: Self.names(.peers), keys: [keys.publicKey]),
        ])
    }

    private static func names(_ doors: BrokerDoor...) -> [String] { doors.map(\.rawValue) }

    /// How this broker's SUB socket towards a peer's `peers` endpoint is set up: it shows the own pair and expects the key that stands in the
    /// peer's row of `brokers`. A link that was refused never tries again by itself: close it and make a new one.
    package func link(toPeerWith key: CurvePublicKey) -> SocketSecurity { .client(keys, server: key) }
}

extension BrokerOptions {
    /// How one of the broker's own sockets is set up.
    func socketOptions(_ door: BrokerDoor) -> SocketOptions {
        var options = SocketOptions()
        options.sendHighWater = 10_000
        switch door {
        // Nothing comes in there but subscriptions, each byte of which libzmq keeps as a node of a tree.
        case .events, .peers: options.maximumMessageBytes = 4_096
        // What clients ask may be large, and so may what they do not take: the reactor counts the bytes of both, libzmq only messages.
        case .tasks: (options.sendHighWater, options.receiveHighWater) = (256, 256)
        case .workers: break
        }
        guard let security else { return options }
        options.security = .server(security.keys, domain: door.rawValue)
        options.handshakes = .endpoint(Authenticator.monitorEndpoint(of: door.rawValue))
        return options
    }
}
