/// What libzmq asks before it lets a peer in: the ZeroMQ Authentication Protocol, RFC 27.
///
///     version "1.0" · request id · domain · address · routing id · mechanism · credentials…
package struct ZAPRequest: Sendable, Equatable {
    package let id: [UInt8]
    /// The name that the asking socket has for its own policy.
    package let domain: String
    /// The peer's IP address.
    package let address: String
    /// `NULL`, `PLAIN` or `CURVE`.
    package let mechanism: String
    /// The peer's public key, of which libzmq has proved that it holds the secret half; nil where the mechanism is not CURVE.
    package let key: CurvePublicKey?

    /// - Parameter frames: what follows the empty delimiter.
    /// - Returns: nil where it is no request of version 1.0.
    package init?(_ frames: ArraySlice<[UInt8]>) {
        let frames = Array(frames)
        guard frames.count >= 6, frames[0] == Self.version else { return nil }
        id = frames[1]
        domain = String(decoding: frames[2], as: UTF8.self)
        address = String(decoding: frames[3], as: UTF8.self)
        mechanism = String(decoding: frames[5], as: UTF8.self)
        key = mechanism == "CURVE" && frames.count == 7 ? CurvePublicKey(bytes: frames[6]) : nil
    }

    /// The answer: who was let in is named as the `User-Id` of all its messages.
    package func reply(_ decision: AccessDecision) -> [[UInt8]] {
        switch decision {
        case .granted(let key): [Self.version, id, Array("200".utf8), Array("OK".utf8), Array(key.text.utf8), []]
        case .refused: [Self.version, id, Array("400".utf8), Array("this key is not let in here".utf8), [], []]
        }
    }

    private static let version = Array("1.0".utf8)
}

/// Whether a peer is let in.
package enum AccessDecision: Sendable, Equatable {
    case granted(CurvePublicKey)
    case refused(AccessRefusal)
}

/// Why a peer is not let in.
package enum AccessRefusal: Sendable, Hashable, CustomStringConvertible {
    /// The socket has a domain that no list belongs to.
    case unknownDomain
    /// It showed no CURVE key.
    case noKey
    /// Its key is in no list of this endpoint, but in that of another one: a worker at the clients' door, or the other way round.
    case otherRole
    /// Its key is in no list at all.
    case unknownKey

    package var description: String {
        switch self {
        case .unknownDomain: "no list of keys belongs to this endpoint"
        case .noKey: "it showed no CURVE key"
        case .otherRole: "its key is listed for another endpoint, not for this one"
        case .unknownKey: "its key is in no list"
        }
    }
}

/// Who is let in where: for each domain its keys. Pure: the decision of a ZAP handler.
package struct AccessPolicy: Sendable, Equatable {
    package var allowed: [String: Set<CurvePublicKey>]

    package init(_ allowed: [String: Set<CurvePublicKey>] = [:]) { self.allowed = allowed }

    package func decide(_ request: ZAPRequest) -> AccessDecision {
        guard let keys = allowed[request.domain] else { return .refused(.unknownDomain) }
        guard let key = request.key else { return .refused(.noKey) }
        if keys.contains(key) { return .granted(key) }
        return .refused(allowed.values.contains { $0.contains(key) } ? .otherRole : .unknownKey)
    }
}
