internal import Encodings
internal import Glibc

/// The file of an upload that is not whole yet, locked against other processes while this exists.
///
/// The lock is on the open file. Whoever made the file whole before us renamed it into its place; to write to it then would change an artifact, so
/// a file that no longer stands under its name is never handed out.
struct PartialFile: ~Copyable {
    private let descriptor: Int32
    let path: String
    /// Bytes in it.
    private(set) var size: Int64

    /// - Parameter creates: makes the file where it is not there.
    /// - Returns: nil where there is none.
    static func open(_ path: String, creates: Bool, sha256: String) throws(ArtifactError) -> PartialFile? {
        for _ in 0..<8 {
            let descriptor = Glibc.open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | (creates ? O_CREAT : 0), 0o644)
            guard descriptor >= 0 else {
                if errno == ENOENT, !creates { return nil }
                throw .system(path: path, errno: errno)
            }
            if flock(descriptor, LOCK_EX | LOCK_NB) != 0 {
                let problem = errno
                close(descriptor)
                if problem == EWOULDBLOCK { throw .busy(sha256: sha256) }
                throw .system(path: path, errno: problem)
            }
            var opened = stat()
            var named = stat()
            if fstat(descriptor, &opened) == 0, lstat(path, &named) == 0, opened.st_ino == named.st_ino, opened.st_dev == named.st_dev {
                return PartialFile(descriptor: descriptor, path: path, size: Int64(opened.st_size))
            }
            close(descriptor)
        }
        throw .busy(sha256: sha256)
    }

    private init(descriptor: Int32, path: String, size: Int64) {
        self.descriptor = descriptor
        self.path = path
        self.size = size
    }

    deinit { close(descriptor) }

    /// Appends bytes, all of them or none: where the disk is full the file is as it was.
    mutating func append(_ bytes: ArraySlice<UInt8>) throws(ArtifactError) {
        let start = size
        let problem: Int32 = bytes.withUnsafeBytes { raw in
            var done = 0
            while done < raw.count {
                let count = pwrite(descriptor, raw.baseAddress?.advanced(by: done), raw.count - done, off_t(start) + off_t(done))
                if count < 0 {
                    if errno == EINTR { continue }
                    return errno
                }
                done += count
            }
            return 0
        }
        if problem != 0 {
            if ftruncate(descriptor, off_t(start)) != 0 { remove() }
            throw .system(path: path, errno: problem)
        }
        size += Int64(bytes.count)
    }

    /// Throws away what is in it.
    mutating func empty() throws(ArtifactError) {
        guard ftruncate(descriptor, 0) == 0 else { throw .system(path: path, errno: errno) }
        size = 0
    }

    /// Hashes what is in it from an offset on.
    func hash(from offset: Int64, into digest: inout SHA256Digest) throws(ArtifactError) {
        var place = offset
        var piece = [UInt8](repeating: 0, count: 1 << 20)
        while place < size {
            let count = piece.withUnsafeMutableBytes { pread(descriptor, $0.baseAddress, $0.count, off_t(place)) }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw .system(path: path, errno: count < 0 ? errno : EIO) }
            piece.withUnsafeBytes { digest.update(UnsafeRawBufferPointer(rebasing: $0[..<count])) }
            place += Int64(count)
        }
    }

    /// Makes the bytes durable and gives them their name, read-only; whatever fails, nothing is left.
    func finish(as target: String, folder: String) throws(ArtifactError) {
        guard fchmod(descriptor, 0o444) == 0, fsync(descriptor) == 0, rename(path, target) == 0 else {
            let problem = errno
            remove()
            throw .system(path: path, errno: problem)
        }
        let parent = Glibc.open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard parent >= 0 else { throw .system(path: folder, errno: errno) }
        defer { close(parent) }
        guard fsync(parent) == 0 else { throw .system(path: folder, errno: errno) }
    }

    /// Takes its name away, while it is locked.
    func remove() { unlink(path) }
}
