internal import Messaging
internal import TaskProtocol

/// The sockets that subscribe to other brokers, one a broker: each may have its own CURVE key, and what comes over one is known to come from there.
///
/// Lives on the reactor's thread, like its sockets.
struct PeerLinks {
    /// Keeps a socket, which cannot be copied, where a list of them is needed.
    private final class Link {
        let broker: BrokerID
        let socket: Socket
        /// Whether the other broker lets this one in.
        var judge: HandshakeJudge
        /// Its places in the wait.
        var place = 0
        var handshakes: Int?

        init(_ broker: BrokerID, _ socket: consuming Socket, _ judge: HandshakeJudge) {
            self.broker = broker
            self.socket = socket
            self.judge = judge
        }
    }

    private let context: ZMQContext
    private let security: BrokerSecurity?
    private var links: [Link] = []

    init(_ context: ZMQContext, _ security: BrokerSecurity?) {
        self.context = context
        self.security = security
    }

    /// Subscribes to a broker.
    /// - Throws: also where one of the two has CURVE keys and the other has none: they cannot speak.
    mutating func open(_ address: PeerAddress, topics: [[UInt8]]) throws(MessagingError) {
        close(address.broker)
        var options = SocketOptions()
        options.receiveHighWater = 10_000
        let key = address.publicKey.flatMap { CurvePublicKey($0) }
        guard (security == nil) == (address.publicKey == nil), security == nil || key != nil else {
            throw .connectFailed(endpoint: address.endpoint, reason: "of the two brokers only one has CURVE keys")
        }
        if let security, let key {
            options.security = security.link(toPeerWith: key)
            options.handshakes = .owner
        }
        let socket = try Socket(context, .subscriber, options)
        for topic in topics { try socket.subscribe(topic) }
        try socket.connect(address.endpoint)
        links.append(Link(address.broker, socket, HandshakeJudge(endpoint: address.endpoint, key: options.security.shownKey)))
    }

    /// Closes the link to a broker; the wait is to be made anew.
    mutating func close(_ broker: BrokerID) { links.removeAll { $0.broker == broker } }

    /// Subscribes to a prefix at all brokers, or ceases to.
    func subscribe(_ prefix: [UInt8], isAdded: Bool) throws(MessagingError) {
        for link in links { if isAdded { try link.socket.subscribe(prefix) } else { try link.socket.unsubscribe(prefix) } }
    }

    /// Adds all links to a wait.
    func join(_ poller: inout Poller) {
        for link in links {
            link.place = poller.add(link.socket)
            link.handshakes = poller.addHandshakes(of: link.socket)
        }
    }

    /// Brokers that do not let this one in, as far as their handshakes have told by now.
    func refusals(_ poller: borrowing Poller, now: Int64) throws(MessagingError) -> [KeyRefusal] {
        var found: [KeyRefusal] = []
        for link in links {
            guard let place = link.handshakes, poller.isReadable(place) else { continue }
            while let event = try link.socket.nextHandshake() { if let refusal = link.judge.take(event, now: now) { found.append(refusal) } }
        }
        return found
    }

    /// Links over which something came.
    func readable(_ poller: borrowing Poller) -> [BrokerID] { links.filter { poller.isReadable($0.place) }.map(\.broker) }

    /// The next message of a broker.
    func receive(from broker: BrokerID) throws(MessagingError) -> Multipart? {
        try links.first { $0.broker == broker }?.socket.receive(maximumFrames: 2, maximumBytes: 64 << 20)
    }
}
