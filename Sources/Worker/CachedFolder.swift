import DurableFiles
import Glibc

/// An artifact's folder in the cache, or a worker's own beside them, which stands for as long as this object lives.
///
/// It holds a shared `flock(2)` on the folder; whoever evicts needs the exclusive one. So a folder in use is spared whichever thread or process
/// shares the cache, and a process that is killed lets go of all that it held.
package final class CachedFolder: Sendable {
    package let path: String
    private let lock: Int32

    /// - Returns: nil where no folder stands there, or where it is just being evicted.
    init?(path: String) {
        self.path = path
        lock = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        // A folder that was renamed away between open and lock has the lock, but no longer the name.
        guard lock >= 0, Self.share(lock), Self.stands(lock, at: path) else { return nil }
    }

    /// Another worker that makes room holds each folder alone for the moment in which it looks whether anybody uses it: that is no eviction.
    private static func share(_ lock: Int32) -> Bool {
        for _ in 0..<lookTries {
            if flock(lock, LOCK_SH | LOCK_NB) == 0 { return true }
            guard errno == EWOULDBLOCK else { return false }
            usleep(lookMicroseconds)
        }
        return false
    }

    private static let lookTries = 10
    private static let lookMicroseconds: UInt32 = 2_000

    deinit { if lock >= 0 { close(lock) } }

    /// Removes a folder of the cache unless somebody uses it.
    /// - Returns: whether all of it is gone.
    package static func evict(_ path: String) -> Bool {
        let lock = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard lock >= 0 else { return errno == ENOENT }
        defer { close(lock) }
        guard canEmpty(path), flock(lock, LOCK_EX | LOCK_NB) == 0, stands(lock, at: path) else { return false }
        // Out of its place first: nobody finds half of it.
        let aside = "\(FileTree.parent(of: path))/.evicted-\(String(UInt64.random(in: 0 ... .max), radix: 36))"
        guard rename(path, aside) == 0 else { return false }
        FileTree.remove(aside)
        return !FileTree.isFolder(aside)
    }

    /// Whether nobody uses a folder now, so that it might be evicted.
    static func isFree(_ path: String) -> Bool {
        let lock = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard lock >= 0 else { return false }
        defer { close(lock) }
        return canEmpty(path) && flock(lock, LOCK_EX | LOCK_NB) == 0
    }

    /// What another user laid out may be renamed by all who may write to the cache folder, and emptied by that user alone.
    private static func canEmpty(_ path: String) -> Bool { faccessat(AT_FDCWD, path, W_OK | X_OK, AT_EACCESS) == 0 }

    private static func stands(_ file: Int32, at path: String) -> Bool {
        var (opened, named) = (stat(), stat())
        return fstat(file, &opened) == 0 && stat(path, &named) == 0 && opened.st_dev == named.st_dev && opened.st_ino == named.st_ino
    }
}
