import DurableFiles
import Glibc

/// The time that file systems stamp with, in nanoseconds.
enum FileClock {
    static let second: Int64 = 1_000_000_000

    static var now: Int64 {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return nanoseconds(time)
    }

    /// When a file or folder was last changed or marked; nil where it is not there.
    static func time(of path: String) -> Int64? {
        var status = stat()
        return lstat(path, &status) == 0 ? nanoseconds(status.st_mtim) : nil
    }

    /// Marks a file or folder; does nothing where it belongs to another user.
    static func set(_ nanoseconds: Int64, _ path: String) {
        let time = timespec(tv_sec: Int(nanoseconds / second), tv_nsec: Int(nanoseconds % second))
        _ = utimensat(AT_FDCWD, path, [time, time], 0)
    }

    private static func nanoseconds(_ time: timespec) -> Int64 { Int64(time.tv_sec) * second + Int64(time.tv_nsec) }
}

/// What the disk below a folder holds.
enum DiskRoom {
    /// Bytes when it is empty.
    static func capacity(_ folder: String) -> Int64? { bytes(folder) { UInt64($0.f_blocks) } }

    /// Bytes that may still be written, without those kept back for root.
    static func free(_ folder: String) -> Int64? { bytes(folder) { UInt64($0.f_bavail) } }

    private static func bytes(_ folder: String, _ blocks: (statvfs) -> UInt64) -> Int64? {
        var state = statvfs()
        guard statvfs(folder, &state) == 0 else { return nil }
        return Int64(clamping: blocks(state) * UInt64(state.f_frsize))
    }
}

/// Bytes of files below a folder, in the system's own figures: which type Foundation gives a file's size depends on how much of Foundation a program
/// is linked with.
enum FileSizes {
    static func total(_ folder: String) -> Int { Int(sum(folder) { Int64($0.st_size) }) }

    /// A file that is a link to one of the store on the same disk frees nothing.
    static func freed(byRemoving folder: String) -> Int64 { sum(folder) { $0.st_nlink > 1 ? 0 : Int64($0.st_size) } }

    private static func sum(_ folder: String, _ bytes: (stat) -> Int64) -> Int64 {
        FileTree.names(folder).reduce(0) { sum, name in
            let path = folder + "/" + name
            if FileTree.isFolder(path) { return sum + Self.sum(path, bytes) }
            var status = stat()
            return lstat(path, &status) == 0 ? sum + bytes(status) : sum
        }
    }
}
