import DurableFiles
package import Glibc

/// The folder of `scriptorium up`: a lock, the PostgreSQL cluster, the artifact store, logs and `service.json`.
///
/// The lock is `flock(2)` on `DATA_DIR/lock`, so a killed process never leaves it held.
package final class DataDirectory: Sendable {
    /// The absolute path.
    package let path: String
    private let lock: Int32

    /// Where client commands find the endpoints.
    package var serviceFile: String { path + "/service.json" }
    /// The cluster's folder.
    package var cluster: String { path + "/postgres" }
    /// The artifact store's folder.
    package var artifacts: String { path + "/artifacts" }
    /// What workers keep of artifacts.
    package var cache: String { path + "/cache" }
    /// One file a child process.
    package var logs: String { path + "/logs" }

    /// Makes the folder where it is missing, and takes the lock.
    /// - Throws: ``ProcessError/setup(_:)`` where another `up` holds it.
    package init(_ given: String) throws(ProcessError) {
        try Self.makeFolder(given, mode: 0o755)
        guard let resolved = realpath(given, nil) else { throw .system("finding \(given)", errno) }
        let path = String(cString: resolved)
        free(resolved)
        self.path = path
        lock = open(path + "/lock", O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        guard lock >= 0 else { throw .system("opening \(path)/lock", errno) }
        // A throw from here on runs deinit, which closes the lock.
        guard flock(lock, LOCK_EX | LOCK_NB) == 0 else {
            throw .setup("another `scriptorium up` runs on \(path); stop it first, or name another folder with --data-dir")
        }
        for folder in [path + "/artifacts", path + "/cache", path + "/logs"] { try Self.makeFolder(folder, mode: 0o700) }
        unlink(path + "/service.json")
    }

    deinit { close(lock) }

    /// Writes a file so that readers see the old or the new text and nothing between.
    /// - Parameter mode: permissions of the new file.
    package static func write(_ text: String, to path: String, mode: mode_t) throws(ProcessError) {
        do throws(FileError) {
            try DurableFile.write(Array(text.utf8), to: path, mode: mode)
        } catch { throw .system("writing \(error.path)", error.errno) }
    }

    /// Reads a small file.
    /// - Returns: nil where there is none.
    package static func read(_ path: String) -> String? {
        let handle = open(path, O_RDONLY | O_CLOEXEC)
        guard handle >= 0 else { return nil }
        defer { close(handle) }
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 65536)
        while true {
            let count = Glibc.read(handle, &chunk, chunk.count)
            if count <= 0 { break }
            bytes += chunk[..<count]
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    /// Makes a folder with all that are missing above it.
    package static func makeFolder(_ path: String, mode: mode_t) throws(ProcessError) {
        do throws(FileError) {
            try FileTree.makeFolders(path, mode: mode)
        } catch { throw .system("making the folder \(error.path)", error.errno) }
    }
}
