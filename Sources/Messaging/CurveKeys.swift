internal import CZeroMQ

/// A CURVE public key: 32 bytes, written as 40 characters of Z85 (RFC 26 of ZeroMQ; Z85 is RFC 32).
///
/// It is no secret. It names who holds the other half of the pair: brokers know clients and workers by it.
package struct CurvePublicKey: Sendable, Hashable, CustomStringConvertible {
    /// How many characters a key has in Z85.
    package static let characterCount = 40

    /// The 40 characters.
    package let text: String

    /// - Returns: nil where the text is not 40 characters of Z85.
    package init?(_ text: some StringProtocol) {
        let text = String(text)
        guard isZ85Key(text) else { return nil }
        self.text = text
    }

    /// - Parameter bytes: the 32 bytes, as they stand in a ZAP request.
    init?(bytes: [UInt8]) {
        guard bytes.count == 32 else { return nil }
        var characters = [CChar](repeating: 0, count: Self.characterCount + 1)
        guard zmq_z85_encode(&characters, bytes, bytes.count) != nil else { return nil }
        text = String(decoding: characters.prefix(Self.characterCount).map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    /// The key's beginning: enough to find it in a list, short enough for a line of a log.
    package var fingerprint: String { text.prefix(10) + "…" }

    package var description: String { fingerprint }
}

/// A CURVE key pair. Its description shows the public half only.
package struct CurveKeyPair: Sendable, Equatable, CustomStringConvertible, CustomDebugStringConvertible {
    package let publicKey: CurvePublicKey
    /// 40 characters of Z85 that belong into sockets and files of mode 0600, and nowhere else.
    let secret: String

    /// The pair of a secret key; the public half follows from it.
    /// - Returns: nil where the text is not 40 characters of Z85.
    package init?(secret: some StringProtocol) {
        let secret = String(secret)
        guard isZ85Key(secret) else { return nil }
        var characters = [CChar](repeating: 0, count: CurvePublicKey.characterCount + 1)
        guard zmq_curve_public(&characters, secret) == 0, let key = CurvePublicKey(text(of: characters)) else { return nil }
        self.secret = secret
        publicKey = key
    }

    /// A new pair, from the system's random numbers.
    /// - Throws: where libzmq was built without CURVE.
    package static func generate() throws(MessagingError) -> CurveKeyPair {
        var characters = [CChar](repeating: 0, count: CurvePublicKey.characterCount + 1)
        var secret = characters
        guard zmq_curve_keypair(&characters, &secret) == 0 else { throw .last("zmq_curve_keypair") }
        guard let pair = CurveKeyPair(secret: text(of: secret)) else { throw .failed(call: "zmq_curve_keypair", reason: "it made no key") }
        return pair
    }

    /// Whether the library can speak CURVE at all.
    package static var isSupported: Bool { zmq_has("curve") == 1 }

    package var description: String { "the pair of \(publicKey.fingerprint)" }
    package var debugDescription: String { description }
}

/// Whether a text is a key, public or secret: 40 characters of Z85, each five of which are below 2^32.
private func isZ85Key(_ text: String) -> Bool {
    guard text.utf8.count == CurvePublicKey.characterCount, !text.utf8.contains(0) else { return false }
    var bytes = [UInt8](repeating: 0, count: 32)
    return zmq_z85_decode(&bytes, text) != nil
}

private func text(of characters: [CChar]) -> String {
    String(decoding: characters.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
}
