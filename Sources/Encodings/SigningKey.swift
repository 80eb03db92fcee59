import CCrypto

/// A secret Ed25519 key: whoever holds it can vouch for bytes. libcrypto computes.
///
///     let key = try SigningKey.generate()
///     key.publicKey.verifies(key.sign(record), of: record)      // true
///
/// Source: RFC 8032; the files are PKCS #8 in PEM (RFC 8410), as `openssl genpkey -algorithm ed25519` writes them.
package struct SigningKey: Sendable {
    /// The secret seed: 32 bytes.
    private let seed: [UInt8]
    package let publicKey: VerificationKey

    private init?(seed: [UInt8]) {
        guard let key = KeyObject(secret: seed), let publicBytes = key.publicBytes, let publicKey = VerificationKey(publicBytes) else { return nil }
        self.seed = seed
        self.publicKey = publicKey
    }

    /// A new key, from the system's random numbers.
    package static func generate() -> SigningKey {
        var generator = SystemRandomNumberGenerator()
        while true {
            let seed = (0..<32).map { _ in UInt8.random(in: .min ... .max, using: &generator) }
            // Every seed makes a key: a second round means that libcrypto had no memory.
            if let key = SigningKey(seed: seed) { return key }
        }
    }

    /// The key that a PEM text holds; nil where it holds none, or one of another kind.
    package init?(pem: [UInt8]) {
        guard let key = KeyObject(pem: pem, isSecret: true), let seed = key.secretBytes else { return nil }
        self.init(seed: seed)
    }

    /// The key as PEM text.
    package var pem: [UInt8] { KeyObject(secret: seed)?.pem(isSecret: true) ?? [] }

    /// The signature of these bytes: 64 bytes, the same for the same bytes.
    package func sign(_ bytes: [UInt8]) -> [UInt8] { KeyObject(secret: seed)?.sign(bytes) ?? [] }
}

/// A public Ed25519 key.
package struct VerificationKey: Sendable, Hashable, CustomStringConvertible {
    /// 32 bytes.
    package let bytes: [UInt8]

    /// The points of order 1, 2, 4 and 8 by their y, also where it is written above the field's prime. Nobody holds a secret for one, and anybody can
    /// make a signature under it that fits many messages, or all.
    private static let smallOrders = Set(
        [
            "0000000000000000000000000000000000000000000000000000000000000000", "0100000000000000000000000000000000000000000000000000000000000000",
            "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05", "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
            "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
            "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        ].compactMap(Encodings.bytes(fromHex:)))

    /// - Parameter bytes: 32 of them; nil for others, and for a point of small order.
    package init?(_ bytes: [UInt8]) {
        guard bytes.count == 32, KeyObject(publicBytes: bytes) != nil else { return nil }
        // The last bit is the sign of x.
        guard !Self.smallOrders.contains(bytes.dropLast() + [bytes[31] & 0x7F]) else { return nil }
        self.bytes = bytes
    }

    /// - Parameter hex: 64 hexadecimal digits.
    package init?(hex: some StringProtocol) {
        guard let bytes = Encodings.bytes(fromHex: String(hex)) else { return nil }
        self.init(bytes)
    }

    /// The key that a PEM text holds; nil where it holds none, or one of another kind.
    package init?(pem: [UInt8]) {
        guard let bytes = KeyObject(pem: pem, isSecret: false)?.publicBytes else { return nil }
        self.init(bytes)
    }

    /// The key as PEM text, which `openssl pkeyutl -verify -rawin` takes.
    package var pem: [UInt8] { KeyObject(publicBytes: bytes)?.pem(isSecret: false) ?? [] }

    /// 64 hexadecimal digits.
    package var description: String { hexString(bytes) }

    /// Whether this key's owner signed these bytes.
    package func verifies(_ signature: [UInt8], of signed: [UInt8]) -> Bool {
        KeyObject(publicBytes: bytes)?.verifies(signature, of: signed) ?? false
    }
}

/// A signature with the key that made it, in one word: `ed25519:<public key>:<signature>`, both in hexadecimal digits.
package struct NamedSignature: Sendable, Equatable, CustomStringConvertible {
    package let key: VerificationKey
    /// 64 bytes.
    package let signature: [UInt8]

    /// Signs bytes.
    package init(_ signed: [UInt8], by key: SigningKey) {
        self.key = key.publicKey
        signature = key.sign(signed)
    }

    /// Nil where the word is not of this form.
    package init?(_ word: String) {
        let parts = word.split(separator: ":", omittingEmptySubsequences: false)
        guard parts.count == 3, parts[0] == "ed25519", let key = VerificationKey(hex: parts[1]),
            let signature = Encodings.bytes(fromHex: String(parts[2])),
            signature.count == 64
        else { return nil }
        self.key = key
        self.signature = signature
    }

    package var description: String { "ed25519:\(key):\(hexString(signature))" }

    /// Whether the named key signed these bytes.
    package func isValid(for signed: [UInt8]) -> Bool { key.verifies(signature, of: signed) }
}

/// The one owner of libcrypto's key object.
private struct KeyObject: ~Copyable {
    private let key: OpaquePointer

    init?(secret: [UInt8]) {
        guard secret.count == 32, let key = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, nil, secret, 32) else { return nil }
        self.key = key
    }

    init?(publicBytes: [UInt8]) {
        guard publicBytes.count == 32, let key = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, nil, publicBytes, 32) else { return nil }
        self.key = key
    }

    init?(pem: [UInt8], isSecret: Bool) {
        // The source of bytes refers to the array's own: it has to stay until they are read.
        let read = pem.withUnsafeBytes { bytes -> OpaquePointer? in
            guard let input = BIO_new_mem_buf(bytes.baseAddress, Int32(clamping: bytes.count)) else { return nil }
            defer { BIO_free(input) }
            // A callback that gives no password: an encrypted file is refused instead of asking the terminal.
            let noPassword: @convention(c) (UnsafeMutablePointer<CChar>?, Int32, Int32, UnsafeMutableRawPointer?) -> Int32 = { _, _, _, _ in -1 }
            return isSecret ? PEM_read_bio_PrivateKey(input, nil, noPassword, nil) : PEM_read_bio_PUBKEY(input, nil, noPassword, nil)
        }
        guard let read else { return nil }
        guard EVP_PKEY_get_id(read) == EVP_PKEY_ED25519 else {
            EVP_PKEY_free(read)
            return nil
        }
        key = read
    }

    deinit { EVP_PKEY_free(key) }

    var publicBytes: [UInt8]? { raw { EVP_PKEY_get_raw_public_key(key, $0, $1) } }
    var secretBytes: [UInt8]? { raw { EVP_PKEY_get_raw_private_key(key, $0, $1) } }

    private func raw(_ read: (UnsafeMutablePointer<UInt8>, UnsafeMutablePointer<Int>) -> Int32) -> [UInt8]? {
        var bytes = [UInt8](repeating: 0, count: 32)
        var count = bytes.count
        return read(&bytes, &count) == 1 && count == 32 ? bytes : nil
    }

    func pem(isSecret: Bool) -> [UInt8]? {
        guard let output = BIO_new(BIO_s_mem()) else { return nil }
        defer { BIO_free(output) }
        let isWritten = isSecret ? PEM_write_bio_PrivateKey(output, key, nil, nil, 0, nil, nil) : PEM_write_bio_PUBKEY(output, key)
        guard isWritten == 1 else { return nil }
        var bytes = [UInt8](repeating: 0, count: 1024)
        let count = BIO_read(output, &bytes, Int32(bytes.count))
        return count > 0 ? Array(bytes.prefix(Int(count))) : nil
    }

    func sign(_ bytes: [UInt8]) -> [UInt8]? {
        guard let context = EVP_MD_CTX_new() else { return nil }
        defer { EVP_MD_CTX_free(context) }
        var signature = [UInt8](repeating: 0, count: 64)
        var count = signature.count
        guard EVP_DigestSignInit(context, nil, nil, nil, key) == 1,
            EVP_DigestSign(context, &signature, &count, bytes, bytes.count) == 1, count == 64
        else { return nil }
        return signature
    }

    func verifies(_ signature: [UInt8], of bytes: [UInt8]) -> Bool {
        guard let context = EVP_MD_CTX_new() else { return false }
        defer { EVP_MD_CTX_free(context) }
        return EVP_DigestVerifyInit(context, nil, nil, nil, key) == 1
            && EVP_DigestVerify(context, signature, signature.count, bytes, bytes.count) == 1
    }
}
