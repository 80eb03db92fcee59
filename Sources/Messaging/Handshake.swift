internal import CZeroMQ

/// How a handshake ended, and that a connection did: a socket monitor's news (zmq_socket_monitor(3)).
package enum HandshakeEvent: Sendable, Equatable {
    case succeeded
    case failed(HandshakeFailure)
    /// The connection is no more, whether its handshake had succeeded or not. The next one, if any, says so by its own handshake.
    case disconnected

    /// - Parameters:
    ///   - event: `ZMQ_EVENT_…`.
    ///   - value: what comes with it: a ZAP status or a protocol error.
    /// - Returns: nil for all other events.
    init?(event: UInt16, value: UInt32) {
        switch Int32(event) {
        case ZMQ_EVENT_HANDSHAKE_SUCCEEDED: self = .succeeded
        case ZMQ_EVENT_DISCONNECTED: self = .disconnected
        case ZMQ_EVENT_HANDSHAKE_FAILED_AUTH: self = .failed(.refused)
        case ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL where value == UInt32(bitPattern: ZMQ_PROTOCOL_ERROR_ZMTP_MECHANISM_MISMATCH):
            self = .failed(.otherMechanism)
        case ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL where value == UInt32(bitPattern: ZMQ_PROTOCOL_ERROR_ZMTP_CRYPTOGRAPHIC):
            self = .failed(.undecipherable)
        case ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL: self = .failed(.malformed)
        case ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL: self = .failed(.cut)
        default: return nil
        }
    }
}

/// Why a handshake failed, as far as this side can know.
package enum HandshakeFailure: Sendable, Hashable, CustomStringConvertible {
    /// The server's ZAP handler said no.
    case refused
    /// One side speaks CURVE, the other does not.
    case otherMechanism
    /// The other side used a key that is not the one expected.
    case undecipherable
    /// No ZMTP, or a broken one.
    case malformed
    /// The connection was closed in the middle. A client with a wrong server key sees no more than this.
    case cut

    package var description: String {
        switch self {
        case .refused: "the key was refused"
        case .otherMechanism: "one side speaks CURVE and the other does not"
        case .undecipherable: "the peer was given another server key than this broker's"
        case .malformed: "the peer does not speak ZMTP 3"
        case .cut: "the connection was closed during the handshake"
        }
    }
}

/// Why an endpoint does not let this process in, as a sentence that says what to mend.
package struct KeyRefusal: Error, Sendable, Hashable, CustomStringConvertible {
    package enum Reason: Sendable, Hashable {
        /// The key is not in the endpoint's list.
        case notListed
        /// The endpoint takes CURVE only, and no key was given.
        case keysWanted
        /// A key was given, and the endpoint has none.
        case keysUnknown
        /// The endpoint ends every handshake: most likely it has another key than the one given for it.
        case wrongServerKey
    }

    package let endpoint: String
    /// The key that was shown; nil where none was.
    package let key: CurvePublicKey?
    package let reason: Reason

    package init(endpoint: String, key: CurvePublicKey?, reason: Reason) {
        self.endpoint = endpoint
        self.key = key
        self.reason = reason
    }

    package var description: String {
        let shown = key?.fingerprint ?? "(none)"
        return switch reason {
        case .notListed:
            "\(endpoint) refused the key \(shown): it must stand in the list of that endpoint (--curve-clients, --curve-workers or --curve-brokers of its broker)"
        case .keysWanted: "\(endpoint) takes CURVE keys only, and none was given: say --curve-key FILE and --curve-server-key KEY"
        case .keysUnknown: "\(endpoint) has no CURVE keys, so the key \(shown) cannot be shown to it: start its broker with --curve-key"
        case .wrongServerKey:
            "\(endpoint) ends every handshake with the key \(shown): is the server key (--curve-server-key) really its broker's public key?"
        }
    }
}

/// Decides from a connection's handshakes whether its keys are at fault. Pure; one for each socket and endpoint.
///
/// A refusal or another mechanism is certain at once, and libzmq does not even try again. A connection that is cut may also be a broker that is
/// starting behind a proxy: that is held against the keys only after it has gone on for a while.
package struct HandshakeJudge: Sendable {
    /// How long handshakes must be cut, and nothing else, before the keys are blamed: below the three seconds in which a refusal is told.
    package static let patience: Int64 = 2_000

    private let endpoint: String
    private let key: CurvePublicKey?
    private var firstCut: Int64?
    private var cuts = 0

    /// - Parameter key: the key that is shown; nil where the socket speaks without CURVE.
    package init(endpoint: String, key: CurvePublicKey?) {
        self.endpoint = endpoint
        self.key = key
    }

    /// Takes one event.
    /// - Parameter now: monotonic milliseconds.
    /// - Returns: the refusal, once it is certain.
    package mutating func take(_ event: HandshakeEvent, now: Int64) -> KeyRefusal? {
        switch event {
        case .succeeded:
            (firstCut, cuts) = (nil, 0)
            return nil
        case .failed(.refused): return refusal(key == nil ? .keysWanted : .notListed)
        case .failed(.otherMechanism): return refusal(key == nil ? .keysWanted : .keysUnknown)
        case .failed(.undecipherable): return key == nil ? nil : refusal(.wrongServerKey)
        case .failed(.malformed), .disconnected: return nil
        case .failed(.cut):
            guard key != nil else { return nil }
            let first = firstCut ?? now
            firstCut = first
            cuts += 1
            return now - first >= Self.patience && cuts > 2 ? refusal(.wrongServerKey) : nil
        }
    }

    private func refusal(_ reason: KeyRefusal.Reason) -> KeyRefusal { KeyRefusal(endpoint: endpoint, key: key, reason: reason) }
}
