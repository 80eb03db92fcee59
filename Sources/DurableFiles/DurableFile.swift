package import Glibc

/// A file that appears under its name only when it is complete: written beside it, synced, then renamed, then its folder synced.
///
/// ```swift
/// var file = try DurableFile(path: folder + "/config.json")
/// try file.write(bytes)
/// try file.finish()
/// ```
/// A reader, or a crash at any moment, finds the old file or the new one, never a part. One that is not finished, whatever the reason, is
/// removed; only a crash leaves its hidden `.….partial` behind.
package struct DurableFile: ~Copyable {
    /// Where it shall stand; nil where only ``finish(as:)`` tells.
    private let path: String?
    private var temporary: TemporaryName
    private let file: Int32
    private let calls: FileCalls

    /// Opens a new file beside `path`, whose folder must exist.
    /// - Parameter mode: its permissions, less the process's umask.
    package init(path: String, mode: mode_t = 0o666, calls: FileCalls = .system) throws(FileError) {
        try self.init(path: path, temporary: TemporaryName(in: FileTree.parent(of: path)), mode: mode, calls: calls)
    }

    /// Opens a new file whose name is not known yet, such as one that is named by its digest.
    /// - Parameter folder: on the same file system as the later name.
    package init(in folder: String, mode: mode_t = 0o666, calls: FileCalls = .system) throws(FileError) {
        try self.init(path: nil, temporary: TemporaryName(in: folder), mode: mode, calls: calls)
    }

    private init(path: String?, temporary name: consuming TemporaryName, mode: mode_t, calls: FileCalls) throws(FileError) {
        self.path = path
        self.calls = calls
        file = open(name.path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode)
        let problem = errno
        name.isTaken = file >= 0
        temporary = name
        guard file >= 0 else { throw FileError(path: path ?? temporary.path, errno: problem) }
    }

    deinit { if file >= 0 { close(file) } }

    /// Appends bytes.
    package mutating func write(_ bytes: UnsafeRawBufferPointer) throws(FileError) {
        var written = 0
        while written < bytes.count, let base = bytes.baseAddress {
            let count = calls.write(file, base + written, bytes.count - written)
            if count < 0 && errno == EINTR { continue }
            guard count >= 0 else { throw failure() }
            written += count
        }
    }

    /// Appends bytes.
    package mutating func write(_ bytes: [UInt8]) throws(FileError) {
        try bytes.withUnsafeBufferPointer { buffer throws(FileError) in try write(UnsafeRawBufferPointer(buffer)) }
    }

    /// Writes bytes over those at `offset`, without moving the end.
    package mutating func overwrite(_ bytes: [UInt8], at offset: Int) throws(FileError) {
        var written = 0
        while written < bytes.count {
            let count = bytes.withUnsafeBytes { rest in
                rest.baseAddress.map { pwrite(file, $0 + written, rest.count - written, off_t(offset + written)) } ?? 0
            }
            if count < 0 && errno == EINTR { continue }
            guard count >= 0 else { throw failure() }
            written += count
        }
    }

    /// Makes the bytes durable, gives them the name told at the beginning, and makes that name durable.
    package consuming func finish() throws(FileError) {
        let target = path ?? temporary.path
        try finish(as: target)
    }

    /// Makes the bytes durable, gives them this name, and makes the name durable.
    package consuming func finish(as target: String) throws(FileError) {
        guard calls.sync(file) == 0 else { throw failure() }
        guard calls.rename(temporary.path, target) == 0 else { throw FileError(path: target, errno: errno) }
        temporary.isTaken = false
        try FileTree.synchronise(folder: FileTree.parent(of: target), calls: calls)
    }

    /// Writes a whole file.
    package static func write(_ bytes: [UInt8], to path: String, mode: mode_t = 0o666, calls: FileCalls = .system) throws(FileError) {
        var file = try DurableFile(path: path, mode: mode, calls: calls)
        try file.write(bytes)
        try file.finish()
    }

    private func failure() -> FileError { FileError(path: path ?? temporary.path, errno: errno) }
}
