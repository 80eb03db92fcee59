/// What a client or worker shows and expects: its own pair, and the public keys of its brokers.
package struct CurveCredentials: Sendable {
    package let keys: CurveKeyPair
    private let everyServer: CurvePublicKey?
    /// The keys that the operator gave, by endpoint.
    private let servers: [String: CurvePublicKey]
    /// What brokers said of each other, the oldest first.
    private var learned: [(endpoint: String, key: CurvePublicKey)] = []
    private static let mostLearned = 256

    /// One key for whichever broker answers, unless that is learned to have another.
    package init(keys: CurveKeyPair, server: CurvePublicKey) {
        self.keys = keys
        everyServer = server
        servers = [:]
    }

    /// - Parameters:
    ///   - servers: one key that all brokers have, or one for each endpoint, in the same order. A single one is also tried with brokers that nobody
    ///     named a key of.
    /// - Returns: nil where their numbers do not fit.
    package init?(keys: CurveKeyPair, servers: [CurvePublicKey], endpoints: [String]) {
        guard let first = servers.first, servers.count == 1 || servers.count == endpoints.count else { return nil }
        self.keys = keys
        everyServer = servers.count == 1 ? first : nil
        self.servers = Dictionary(zip(endpoints, servers.count == 1 ? endpoints.map { _ in first } : servers)) { _, last in last }
    }

    /// Keeps the key of a broker that another one named; what the operator gave for an endpoint stands. Of an endpoint that was named before the
    /// new key counts: a broker with other keys may have taken it over.
    package mutating func learn(_ key: CurvePublicKey, of endpoint: String) {
        guard servers[endpoint] == nil else { return }
        learned.removeAll { $0.endpoint == endpoint }
        if learned.count >= Self.mostLearned { learned.removeFirst() }
        learned.append((endpoint, key))
    }

    /// How a socket to an endpoint is to be set up; nil where that broker's key is not known, so that it cannot be talked to.
    package func security(for endpoint: String) -> SocketSecurity? {
        (servers[endpoint] ?? learned.first { $0.endpoint == endpoint }?.key ?? everyServer).map { .client(keys, server: $0) }
    }
}
