import CCrypto
import DurableFiles
import Encodings
import Glibc

/// A file that is not whole yet, on disk beside its place. One thread's own.
final class PartialDownload {
    private let path: String
    private let place: String
    private var descriptor: Int32 = -1
    /// The bytes that are there.
    private(set) var count = 0
    /// Whether more came than may.
    private(set) var isFull = false
    /// Why the disk took no more.
    private(set) var failure: DownloadError?

    init(path: String, tag: String) {
        place = path
        self.path = "\(path).\(tag).part"
    }

    private var systemError: DownloadError { .unwritable(path: path, reason: String(cString: strerror(errno))) }

    /// Opens what an earlier transfer left, or an empty file. A whole file that is there already is taken where it can be checked.
    func open(_ remote: RemoteFile) throws(DownloadError) {
        if remote.check != .none, access(path, F_OK) != 0 { rename(place, path) }
        descriptor = Glibc.open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o644)
        guard descriptor >= 0 else { throw systemError }
        let end = lseek(descriptor, 0, SEEK_END)
        guard end >= 0 else { throw systemError }
        count = Int(end)
    }

    func close() {
        if descriptor >= 0 { Glibc.close(descriptor) }
        descriptor = -1
    }

    func restart() throws(DownloadError) {
        guard ftruncate(descriptor, 0) == 0, lseek(descriptor, 0, SEEK_SET) == 0 else { throw systemError }
        count = 0
    }

    /// Makes ready for bytes from `first` on: where what is there ends, or at the beginning.
    /// - Returns: whether they fit.
    func begin(at first: Int?) -> Bool {
        if first == count { return true }
        guard first == 0 else { return false }
        do throws(DownloadError) { try restart() } catch { failure = error }
        return failure == nil
    }

    /// - Parameter limit: the size that was announced.
    func append(_ bytes: UnsafeRawBufferPointer, limit: Int?) -> Bool {
        if let limit, bytes.count > limit - count {
            isFull = true
            return false
        }
        var done = 0
        while done < bytes.count {
            let written = write(descriptor, bytes.baseAddress.map { $0 + done }, bytes.count - done)
            if written < 0, errno == EINTR { continue }
            guard written > 0 else {
                failure = systemError
                return false
            }
            done += written
        }
        count += done
        return true
    }

    /// Starts anew where what is there is as long as it should be, but not what it should be.
    func restartUnlessRight(_ remote: RemoteFile) throws(DownloadError) {
        guard remote.check != .none, count == remote.size, try digest(remote) != remote.digest else { return }
        try restart()
    }

    /// Reads the file again and compares; what is wrong is removed.
    func check(_ remote: RemoteFile, _ address: WebAddress) throws(DownloadError) {
        if let size = remote.size, size != count {
            throw .malformed(address.text, reason: "\(count) bytes came where \(size) were announced")
        }
        let actual = try digest(remote)
        guard actual == remote.digest else {
            unlink(path)
            throw .wrongDigest(address.text, expected: remote.digest, actual: actual)
        }
    }

    private func digest(_ remote: RemoteFile) throws(DownloadError) -> String {
        switch remote.check {
        case .none: ""
        case .sha256: try digest(EVP_sha256(), head: "")
        // git names a blob by the SHA-1 of "blob", its length, a zero and its bytes.
        case .gitBlob: try digest(EVP_sha1(), head: "blob \(count)\0")
        }
    }

    private func digest(_ algorithm: OpaquePointer?, head: String) throws(DownloadError) -> String {
        let context = EVP_MD_CTX_new()
        defer { EVP_MD_CTX_free(context) }
        EVP_DigestInit_ex(context, algorithm, nil)
        EVP_DigestUpdate(context, head, head.utf8.count)
        var buffer = [UInt8](repeating: 0, count: 1 << 18)
        var position = 0
        while position < count {
            let part = pread(descriptor, &buffer, buffer.count, off_t(position))
            if part < 0, errno == EINTR { continue }
            guard part > 0 else { throw systemError }
            EVP_DigestUpdate(context, buffer, part)
            position += part
        }
        var result = [UInt8](repeating: 0, count: Int(EVP_MAX_MD_SIZE))
        var length: UInt32 = 0
        EVP_DigestFinal_ex(context, &result, &length)
        return hexString(Array(result.prefix(Int(length))))
    }

    /// Makes it durable and gives it its name; parts of other versions go.
    func finish() throws(DownloadError) {
        guard fsync(descriptor) == 0, rename(path, place) == 0 else { throw systemError }
        let (folder, name) = (FileTree.parent(of: place), String(place.split(separator: "/").last ?? ""))
        for other in FileTree.names(folder) where other.hasPrefix(name + ".") && other.hasSuffix(".part") { unlink(folder + "/" + other) }
    }
}
