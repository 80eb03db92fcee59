/// The roles of sockets that the service uses (zmq_socket(3)).
package enum SocketKind: Sendable {
    case router, dealer, publisher, subscriber, extendedPublisher, pair, request, reply
}

/// How a socket is set up before it is bound or connected. The defaults are those of a socket that faces strangers.
package struct SocketOptions: Sendable {
    /// Messages held for a peer before sends would block (or, on XPUB, drop); 0 is without bound and is never used.
    package var sendHighWater = 1_000
    /// Messages held from a peer before its sender is made to wait.
    package var receiveHighWater = 1_000
    /// A larger frame closes the peer's connection. Unset, a header of nine bytes could claim 8 GiB.
    package var maximumMessageBytes: Int64 = 64 << 20
    /// How long closing waits for what is not sent yet.
    package var lingerMilliseconds = 0
    /// ROUTER: a send to a peer that is gone or full says so instead of being dropped in silence.
    package var isMandatory = true
    /// Seconds of silence before the system probes a TCP peer; nil leaves keepalive off.
    package var keepaliveSeconds: Int? = 60
    /// First and longest pause between attempts to reconnect.
    package var reconnectMilliseconds = (first: 50, longest: 1_000)
    /// DEALER, REQ: a message waits for a live connection instead of being queued for one that may never come up.
    package var sendsOnlyWhenConnected = false
    /// Who is let in, or whose key is shown.
    package var security = SocketSecurity.none
    /// Who is told how handshakes end.
    package var handshakes = HandshakeReport.nobody

    package init() {}
}

/// A socket's part in CURVE (RFC 26): encryption, and keys that say who is at the other end.
package enum SocketSecurity: Sendable {
    /// Neither.
    case none
    /// Lets in whom the process's ``Authenticator`` finds in the lists of this domain. Without an authenticator nobody is let in.
    case server(CurveKeyPair, domain: String)
    /// Shows its own key, and talks to nobody but the holder of the other one. A SUB towards a peer broker uses the broker's own pair and the
    /// key that stands in the peer's row of `brokers`. A socket that was refused never tries again: make a new one.
    case client(CurveKeyPair, server: CurvePublicKey)

    /// The key that a client shows.
    package var shownKey: CurvePublicKey? {
        guard case .client(let pair, _) = self else { return nil }
        return pair.publicKey
    }
}

/// Where a socket's handshakes are reported.
package enum HandshakeReport: Sendable {
    case nobody
    /// To the socket's own thread: ``Socket/nextHandshake()``.
    case owner
    /// To another thread, the failures only, at this `inproc` endpoint: ``Authenticator`` watches all server sockets so.
    case endpoint(String)
}

/// What became of a message that was sent without blocking.
package enum SendOutcome: Sendable, Equatable {
    /// The library took it.
    case sent
    /// The peer's queue is full (or, for a DEALER, nobody is connected): try again when the socket is writable.
    case wouldBlock
    /// No such peer is connected (ROUTER).
    case unreachable
}

/// One message of several frames.
package struct Multipart: Sendable, Equatable {
    /// The frames; a ROUTER's first is the peer's routing id.
    package var frames: [[UInt8]]
    /// True where the message had more frames or bytes than were asked for: the rest was read and dropped.
    package var isTruncated: Bool
    /// The public key of its sender, in Z85, which CURVE has proved; nil where there are no keys, or nobody asked.
    package var user: String?

    package init(_ frames: [[UInt8]], isTruncated: Bool = false, user: String? = nil) {
        self.frames = frames
        self.isTruncated = isTruncated
        self.user = user
    }
}
