internal import Glibc

/// Key pairs as files: the secret key in FILE, readable by its owner alone, the public key in FILE.pub.
///
/// FILE.pub is a line of an allow-list: `cat worker.key.pub >> workers.keys` lets that worker in.
package enum CurveKeyFile {
    /// No key file is larger; allow-lists of 20,000 keys fit.
    static let maximumBytes = 4 << 20

    // MARK: Reading

    /// Reads a pair from the file of its secret key.
    /// - Throws: ``KeyFileError/exposed(path:mode:)`` where others can read it. Group-readable is allowed for a file of root's that this
    ///   process's user does not own: so systemd's credentials and Kubernetes' secrets look. (The rule is libpq's, for `sslkey`.)
    package static func read(_ path: String) throws(KeyFileError) -> CurveKeyPair {
        let bytes = try secret(path)
        var found: [CurveKeyPair] = []
        var number = 0
        for line in bytes.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false) {
            number += 1
            let word = line.filter { $0 != UInt8(ascii: " ") && $0 != UInt8(ascii: "\t") && $0 != UInt8(ascii: "\r") }
            if word.isEmpty || word.first == UInt8(ascii: "#") { continue }
            guard let pair = CurveKeyPair(secret: String(decoding: word, as: UTF8.self)) else {
                throw .malformed(path: path, line: number, reason: "a secret key has 40 characters of Z85, as `scriptorium keygen` writes it")
            }
            found.append(pair)
        }
        guard let pair = found.first, found.count == 1 else { throw .wrongCount(path: path, found: found.count) }
        return pair
    }

    /// What `--curve-server-key` names: a public key, or a file that holds exactly one.
    package static func publicKey(_ argument: String) throws(KeyFileError) -> CurvePublicKey {
        if let key = CurvePublicKey(argument) { return key }
        let list = try readList(argument)
        guard let key = list.keys.first, list.keys.count == 1 else { throw .wrongCount(path: argument, found: list.keys.count) }
        return key
    }

    /// Reads an allow-list.
    package static func readList(_ path: String) throws(KeyFileError) -> KeyList { try parseList(try contents(path), path) }

    static func parseList(_ bytes: [UInt8], _ path: String) throws(KeyFileError) -> KeyList {
        do throws(KeyList.Fault) { return try KeyList(parsing: bytes) } catch {
            throw .malformed(path: path, line: error.line, reason: error.reason)
        }
    }

    /// The bytes of a file with a secret key of any kind, which nobody but its owner may be able to read.
    package static func secret(_ path: String) throws(KeyFileError) -> [UInt8] {
        try contents(path) { (status: stat) throws(KeyFileError) in
            if let problem = secrecyProblem(path: path, mode: status.st_mode, owner: status.st_uid, user: geteuid()) { throw problem }
        }
    }

    /// The bytes of a file with public keys of any kind.
    package static func published(_ path: String) throws(KeyFileError) -> [UInt8] { try contents(path) }

    static func contents(
        _ path: String, check: (stat) throws(KeyFileError) -> Void = { (_: stat) throws(KeyFileError) in }
    ) throws(KeyFileError) -> [UInt8] {
        // Not blocking: a FIFO in the file's place must not hold anybody up.
        let handle = Glibc.open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard handle >= 0 else { throw .unreadable(path: path, reason: reason(errno)) }
        defer { close(handle) }
        var status = stat()
        guard fstat(handle, &status) == 0 else { throw .unreadable(path: path, reason: reason(errno)) }
        guard status.st_mode & S_IFMT == S_IFREG else { throw .unreadable(path: path, reason: "it is no regular file") }
        try check(status)
        guard status.st_size <= maximumBytes else { throw .unreadable(path: path, reason: "it has more than \(maximumBytes) bytes") }
        return try readAll(handle, path)
    }

    private static func readAll(_ handle: Int32, _ path: String) throws(KeyFileError) -> [UInt8] {
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 65_536)
        while bytes.count <= maximumBytes {
            let count = Glibc.read(handle, &chunk, chunk.count)
            if count < 0 && errno == EINTR { continue }
            guard count >= 0 else { throw .unreadable(path: path, reason: reason(errno)) }
            if count == 0 { return bytes }
            bytes += chunk[..<count]
        }
        throw .unreadable(path: path, reason: "it has more than \(maximumBytes) bytes")
    }

    /// Whether a file may hold a secret key: nobody but its owner may read it, and the owner is who runs this, or root.
    /// - Returns: what is wrong with it.
    package static func secrecyProblem(path: String, mode: UInt32, owner: UInt32, user: UInt32) -> KeyFileError? {
        guard owner == user || owner == 0 else { return .foreign(path: path, owner: owner) }
        let forbidden: UInt32 = owner == user ? 0o077 : 0o037
        return mode & forbidden == 0 ? nil : .exposed(path: path, mode: String(mode & 0o777, radix: 8))
    }

    // MARK: Writing

    /// Writes a new pair: the secret key to `path`, mode 0600, the public one to `path.pub`. Neither may exist.
    /// - Parameter name: stands behind the public key, as in an allow-list.
    package static func write(_ pair: CurveKeyPair, to path: String, name: String = "") throws(KeyFileError) {
        let publicPath = path + ".pub"
        try create(publicPath, mode: 0o644, pair.publicKey.text + (name.isEmpty ? "" : " " + name) + "\n")
        do throws(KeyFileError) {
            try create(path, mode: 0o600, "# A secret CURVE key. Its public key is \(pair.publicKey.text)\n\(pair.secret)\n")
        } catch {
            unlink(publicPath)
            throw error
        }
    }

    /// Makes a file that must not exist, and has it on the disk before it returns.
    package static func create(_ path: String, mode: UInt32, _ text: String) throws(KeyFileError) {
        let handle = Glibc.open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode)
        guard handle >= 0 else { throw errno == EEXIST ? .exists(path: path) : .unwritable(path: path, reason: reason(errno)) }
        let bytes = Array(text.utf8)
        let written = Glibc.write(handle, bytes, bytes.count)
        let code = errno
        let isSafe = written == bytes.count && fsync(handle) == 0
        close(handle)
        guard isSafe else {
            unlink(path)
            throw .unwritable(path: path, reason: written == bytes.count ? reason(errno) : reason(code))
        }
    }

    private static func reason(_ code: Int32) -> String { MessagingError.reason(code) }
}
