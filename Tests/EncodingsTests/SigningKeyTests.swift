import Encodings
import Testing

@Suite("Signing keys")
struct SigningKeyTests {
    /// RFC 8032, 7.1, tests 1 and 2: secret key, public key, message and signature.
    private static let vectors = [
        (
            "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", "",
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"
        ),
        (
            "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
            "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c", "72",
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
        ),
    ]

    @Test("sign and verify as RFC 8032 says", arguments: vectors)
    func rfc8032(secret: String, publicKey: String, message: String, signature: String) throws {
        // PKCS #8 around a raw seed is these 16 bytes before it (RFC 8410, section 7).
        let der = try #require(bytes(fromHex: "302e020100300506032b657004220420" + secret))
        let key = try #require(SigningKey(pem: Array("-----BEGIN PRIVATE KEY-----\n\(base64(der))\n-----END PRIVATE KEY-----\n".utf8)))
        let signed = try #require(bytes(fromHex: message))
        #expect("\(key.publicKey)" == publicKey)
        #expect(hexString(key.sign(signed)) == signature)
        #expect(try key.publicKey.verifies(#require(bytes(fromHex: signature)), of: signed))
        #expect(SigningKey(pem: key.pem)?.publicKey == key.publicKey)
    }

    @Test(
        "a point of small order is no key: signatures under it that anybody makes would fit",
        arguments: [
            "0000000000000000000000000000000000000000000000000000000000000000", "0100000000000000000000000000000000000000000000000000000000000000",
            "0100000000000000000000000000000000000000000000000000000000000080", "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
            "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a", "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
            "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        ])
    func smallOrder(hex: String) {
        #expect(VerificationKey(hex: hex) == nil)
        #expect(NamedSignature("ed25519:\(hex):\(hex)" + String(repeating: "0", count: 64)) == nil)
    }

    @Test("what is written as PEM reads back, however memory moves meanwhile")
    func pem() {
        for _ in 0..<500 {
            let key = SigningKey.generate()
            #expect(SigningKey(pem: key.pem)?.publicKey == key.publicKey)
            #expect(VerificationKey(pem: key.publicKey.pem) == key.publicKey)
        }
    }

    @Test("a signature fits its bytes and its key alone, and reads back")
    func named() throws {
        let (key, other) = (SigningKey.generate(), SigningKey.generate())
        let signed = Array("a record".utf8)
        let signature = NamedSignature(signed, by: key)
        let read = try #require(NamedSignature("\(signature)"))
        #expect(read == signature && read.key == key.publicKey && read.isValid(for: signed))
        #expect(!read.isValid(for: Array("another".utf8)) && !other.publicKey.verifies(read.signature, of: signed))
        for place in [0, 31, 63] {
            var changed = read.signature
            changed[place] ^= 1
            #expect(!key.publicKey.verifies(changed, of: signed))
        }
        #expect(VerificationKey(pem: key.publicKey.pem) == key.publicKey && VerificationKey(hex: "\(key.publicKey)") == key.publicKey)
    }

    @Test("what is no key, or no signature, is nil", arguments: ["", "ed25519:", "ed25519:00:00", "rsa:00:00", "x", "ed25519:00:00:00"])
    func malformed(word: String) {
        #expect(NamedSignature(word) == nil && VerificationKey(hex: word) == nil)
        #expect(SigningKey(pem: Array(word.utf8)) == nil && VerificationKey(pem: Array(word.utf8)) == nil)
        #expect(SigningKey(pem: SigningKey.generate().publicKey.pem) == nil)
    }

    private func base64(_ bytes: [UInt8]) -> String {
        let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")
        return stride(from: 0, to: bytes.count, by: 3).map { start in
            let group = bytes[start..<min(start + 3, bytes.count)]
            let word = group.reduce(0) { $0 << 8 | Int($1) } << (8 * (3 - group.count))
            return String((0..<4).map { $0 <= group.count ? alphabet[word >> (18 - 6 * $0) & 63] : "=" })
        }.joined()
    }
}
