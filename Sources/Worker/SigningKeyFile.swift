package import Encodings
import Glibc
package import Messaging

/// Pairs of signing keys as files: the secret key in FILE, readable by its owner alone, the public key in FILE.pub; both PEM, as openssl
/// reads and writes them.
package enum SigningKeyFile {
    /// Reads a secret key.
    /// - Throws: `KeyFileError.exposed` where others can read it.
    package static func read(_ path: String) throws(KeyFileError) -> SigningKey {
        guard let key = SigningKey(pem: try CurveKeyFile.secret(path)) else {
            throw .malformed(path: path, line: 1, reason: "a signing key is an Ed25519 key in PEM, as `scriptorium keygen --signing` writes it")
        }
        return key
    }

    /// What `--public-key` names: a key's 64 hexadecimal digits, or a PEM file that holds it.
    package static func publicKey(_ argument: String) throws(KeyFileError) -> VerificationKey {
        if let key = VerificationKey(hex: argument) { return key }
        guard let key = VerificationKey(pem: try CurveKeyFile.published(argument)) else {
            throw .malformed(path: argument, line: 1, reason: "a public signing key has 64 hexadecimal digits, or is an Ed25519 key in PEM")
        }
        return key
    }

    /// Writes a new pair: the secret key to `path`, mode 0600, the public one to `path.pub`. Neither may exist.
    package static func write(_ key: SigningKey, to path: String) throws(KeyFileError) {
        try CurveKeyFile.create(path + ".pub", mode: 0o644, String(decoding: key.publicKey.pem, as: UTF8.self))
        do throws(KeyFileError) {
            try CurveKeyFile.create(path, mode: 0o600, String(decoding: key.pem, as: UTF8.self))
        } catch {
            unlink(path + ".pub")
            throw error
        }
    }
}
