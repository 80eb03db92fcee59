import Glibc

/// A file that appears under its name only when it is complete: written beside it, synced, then renamed.
///
/// A crash leaves the old file or the new one, never a part. ``finish()`` makes it so; without it the part written is removed.
package struct AtomicFile: ~Copyable {
    /// What the system said, and about which path.
    package struct Failure: Error, Sendable, Equatable, CustomStringConvertible {
        package let path: String
        package let reason: String

        init(_ path: String) {
            self.path = path
            reason = String(cString: strerror(errno))
        }

        package var description: String { "cannot write \(path): \(reason)" }
    }

    private let path: String
    private let temporary: String
    private let file: Int32
    private var isFinished = false

    /// Opens a new file beside `path`, whose folder must exist.
    package init(path: String) throws(Failure) {
        self.path = path
        // The kernel's random name: two writers of one path never meet.
        var template = Array("\(path).XXXXXX".utf8CString)
        file = mkstemp(&template)
        temporary = template.withUnsafeBufferPointer { $0.baseAddress.map { String(cString: $0) } ?? path }
        guard file >= 0 else { throw Failure(path) }
        _ = fcntl(file, F_SETFD, FD_CLOEXEC)
        let mask = umask(0)
        _ = umask(mask)
        _ = fchmod(file, 0o666 & ~mask)
    }

    deinit {
        if file >= 0 { close(file) }
        if !isFinished { unlink(temporary) }
    }

    /// Appends bytes.
    package mutating func write(_ bytes: UnsafeRawBufferPointer) throws(Failure) {
        var written = 0
        while written < bytes.count, let base = bytes.baseAddress {
            let count = Glibc.write(file, base + written, bytes.count - written)
            if count < 0 && errno == EINTR { continue }
            guard count >= 0 else { throw Failure(path) }
            written += count
        }
    }

    /// Appends bytes.
    package mutating func write(_ bytes: [UInt8]) throws(Failure) {
        try bytes.withUnsafeBufferPointer { buffer throws(Failure) in try write(UnsafeRawBufferPointer(buffer)) }
    }

    /// Writes bytes over those at `offset`, without moving the end.
    package mutating func overwrite(_ bytes: [UInt8], at offset: Int) throws(Failure) {
        var written = 0
        while written < bytes.count {
            let count = bytes.withUnsafeBytes { rest in
                rest.baseAddress.map { pwrite(file, $0 + written, rest.count - written, off_t(offset + written)) } ?? 0
            }
            if count < 0 && errno == EINTR { continue }
            guard count >= 0 else { throw Failure(path) }
            written += count
        }
    }

    /// Syncs the file, gives it its name and syncs the folder.
    package consuming func finish() throws(Failure) {
        guard fsync(file) == 0, rename(temporary, path) == 0 else { throw Failure(path) }
        isFinished = true
        let folder = path.utf8.lastIndex(of: UInt8(ascii: "/")).map { String(path[..<$0]) } ?? "."
        let handle = open(folder.isEmpty ? "/" : folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        if handle >= 0 {
            fsync(handle)
            close(handle)
        }
    }

    /// Writes a whole small file.
    package static func write(_ bytes: [UInt8], to path: String) throws(Failure) {
        var file = try AtomicFile(path: path)
        try file.write(bytes)
        try file.finish()
    }
}
