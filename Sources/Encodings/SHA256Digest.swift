import CCrypto

#if canImport(Glibc)
    import Glibc
#endif

/// SHA-256 of bytes that arrive piece by piece. libcrypto computes it (1.1 to 1.5 GB/s here).
///
/// ```swift
/// var digest = SHA256Digest()
/// digest.update(header)
/// digest.update(body)
/// let name = hexString(digest.finish())
/// ```
/// Source: FIPS 180-4.
package struct SHA256Digest: ~Copyable {
    private let context: OpaquePointer?

    package init() {
        context = EVP_MD_CTX_new()
        EVP_DigestInit_ex(context, Algorithm.sha256.pointer, nil)
    }

    deinit { EVP_MD_CTX_free(context) }

    /// Takes the next bytes.
    package mutating func update(_ bytes: UnsafeRawBufferPointer) {
        EVP_DigestUpdate(context, bytes.baseAddress, bytes.count)
    }

    /// Takes the next bytes.
    package mutating func update(_ bytes: [UInt8]) {
        bytes.withUnsafeBytes { update($0) }
    }

    /// The digest of all that was taken: 32 bytes.
    package consuming func finish() -> [UInt8] {
        [UInt8](unsafeUninitializedCapacity: 32) { buffer, count in
            EVP_DigestFinal_ex(context, buffer.baseAddress, nil)
            count = 32
        }
    }

    /// The digest of one piece: 32 bytes.
    package static func digest(of bytes: [UInt8]) -> [UInt8] {
        [UInt8](unsafeUninitializedCapacity: 32) { buffer, count in
            EVP_Digest(bytes, bytes.count, buffer.baseAddress, nil, Algorithm.sha256.pointer, nil)
            count = 32
        }
    }

    /// The digest of one piece as 64 lower-case digits.
    package static func hex(of bytes: [UInt8]) -> String { hexString(digest(of: bytes)) }

    /// The digest of one piece as 64 lower-case digits.
    package static func hex(of bytes: UnsafeRawBufferPointer) -> String {
        var digest = SHA256Digest()
        digest.update(bytes)
        return hexString(digest.finish())
    }

    /// The digest of a file's content as 64 lower-case digits, read in pieces of 1 MiB.
    /// - Throws: ``FileReadError`` naming the path and what the system said.
    package static func hex(ofFile path: String) throws(FileReadError) -> String {
        let file = open(path, O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { throw FileReadError(path: path, errno: errno) }
        defer { close(file) }
        var digest = SHA256Digest()
        var piece = [UInt8](repeating: 0, count: 1 << 20)
        while true {
            let count = read(file, &piece, piece.count)
            if count < 0 && errno == EINTR { continue }
            guard count >= 0 else { throw FileReadError(path: path, errno: errno) }
            if count == 0 { return hexString(digest.finish()) }
            piece.withUnsafeBytes { digest.update(UnsafeRawBufferPointer(rebasing: $0[..<count])) }
        }
    }
}

/// A file that could not be read.
package struct FileReadError: Error, Sendable, Equatable, CustomStringConvertible {
    /// The file.
    package let path: String
    /// The system's error number.
    package let errno: Int32

    package init(path: String, errno: Int32) {
        self.path = path
        self.errno = errno
    }

    package var description: String { "cannot read \(path): \(String(cString: strerror(errno)))" }
}

/// The algorithm's description, fetched once: OpenSSL 3 otherwise looks it up anew for each digest.
private struct Algorithm: @unchecked Sendable {
    // Unchecked because the pointer is immutable after `EVP_MD_fetch`, lives for the whole process and is only read.
    let pointer: OpaquePointer?
    static let sha256 = Algorithm(pointer: EVP_MD_fetch(nil, "SHA256", nil))
}
