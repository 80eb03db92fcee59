package import Messaging

/// Where a broker listens and how it behaves. The defaults are the contract's.
package struct BrokerOptions: Sendable {
    package var tasksEndpoint = "tcp://127.0.0.1:5570"
    package var eventsEndpoint = "tcp://127.0.0.1:5571"
    package var workersEndpoint = "tcp://127.0.0.1:5572"
    package var peersEndpoint = "tcp://127.0.0.1:5574"
    /// CURVE on all four sockets; nil: anyone who reaches them is served.
    package var security: BrokerSecurity?
    /// `--insecure`: listening beyond loopback without keys.
    package var allowsInsecure = false
    /// How long a drain may take before what is left is dropped (it is in the database, or was never accepted).
    package var drainSeconds = 10.0
    package var version = "0.1.0"
    /// The host's name as others see it in `brokers`.
    package var host = ""
    /// Stands in `brokers` for this broker's address where it listens on all of its machine's (`*`, `0.0.0.0`); nil: ``host``.
    package var advertisedHost: String?
    package var settings = BrokerSettings()

    package init() {}

    /// Throws where an endpoint would be open to other machines without keys: the command line ends with 2.
    package func check() throws(MessagingError) {
        for endpoint in [tasksEndpoint, eventsEndpoint, workersEndpoint, peersEndpoint] {
            try Listening.check(endpoint, hasKeys: security != nil, isInsecureAllowed: allowsInsecure)
        }
    }
}

/// Where a broker really listens, with the ports that the system chose.
package struct BrokerEndpoints: Sendable, Equatable {
    package var tasks: String
    package var events: String
    package var workers: String
    package var peers: String

    /// By name, as `brokers` holds them for others to connect to.
    /// - Parameter host: stands for the address where a socket listens on all of them.
    func named(reachableAt host: String) -> [String: String] {
        ["tasks": tasks, "events": events, "workers": workers, "peers": peers].mapValues { endpoint in
            guard let wildcard = ["tcp://0.0.0.0:", "tcp://[::]:", "tcp://*:"].first(where: endpoint.hasPrefix), !host.isEmpty else {
                return endpoint
            }
            return "tcp://\(host):\(endpoint.dropFirst(wildcard.count))"
        }
    }
}
