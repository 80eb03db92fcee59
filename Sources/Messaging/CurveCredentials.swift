/// What a client or worker shows and expects: its own pair, and the public keys of its brokers.
package struct CurveCredentials: Sendable {
    package let keys: CurveKeyPair
    private let everyServer: CurvePublicKey?
    private var servers: [String: CurvePublicKey]
    private static let mostServers = 256

    /// One key for whichever broker answers.
    package init(keys: CurveKeyPair, server: CurvePublicKey) {
        self.keys = keys
        everyServer = server
        servers = [:]
    }

    /// - Parameters:
    ///   - servers: one key that all brokers have, or one for each endpoint, in the same order.
    /// - Returns: nil where their numbers do not fit.
    package init?(keys: CurveKeyPair, servers: [CurvePublicKey], endpoints: [String]) {
        guard let first = servers.first, servers.count == 1 || servers.count == endpoints.count else { return nil }
        self.keys = keys
        everyServer = servers.count == 1 ? first : nil
        self.servers = servers.count == 1 ? [:] : Dictionary(zip(endpoints, servers)) { _, last in last }
    }

    /// Keeps the key of a broker that another one named; what the operator gave for an endpoint stands.
    package mutating func learn(_ key: CurvePublicKey, of endpoint: String) {
        guard servers[endpoint] == nil, servers.count < Self.mostServers else { return }
        servers[endpoint] = key
    }

    /// How a socket to an endpoint is to be set up; nil where that broker's key is not known, so that it cannot be talked to.
    package func security(for endpoint: String) -> SocketSecurity? {
        (servers[endpoint] ?? everyServer).map { .client(keys, server: $0) }
    }
}
