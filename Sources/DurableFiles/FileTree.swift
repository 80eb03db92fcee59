package import Glibc

/// Folders and what lies in them.
package enum FileTree {
    /// Makes a folder and those above it; one that exists is fine.
    /// - Parameter mode: the permissions of the last one, less the umask; those above it get 0755.
    package static func makeFolders(_ path: String, mode: mode_t = 0o755) throws(FileError) {
        if path.isEmpty || path == "/" || path == "." { return }
        if mkdir(path, mode) == 0 { return }
        if errno == ENOENT {
            try makeFolders(parent(of: path))
            if mkdir(path, mode) == 0 { return }
        }
        let problem = errno
        var status = stat()
        guard problem == EEXIST else { throw FileError(path: path, errno: problem) }
        guard stat(path, &status) == 0, status.st_mode & S_IFMT == S_IFDIR else { throw FileError(path: path, errno: ENOTDIR) }
    }

    /// The names in a folder, ascending by bytes; none where it cannot be read.
    package static func names(_ folder: String) -> [String] {
        guard let stream = opendir(folder) else { return [] }
        defer { closedir(stream) }
        var names: [String] = []
        while let entry = readdir(stream) {
            let name = withUnsafeBytes(of: entry.pointee.d_name) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
            if name != "." && name != ".." { names.append(name) }
        }
        return names.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
    }

    /// Whether a folder itself stands there, not a link to one.
    package static func isFolder(_ path: String) -> Bool {
        var status = stat()
        return lstat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFDIR
    }

    /// Removes a file or a folder with everything in it; links inside are removed, not followed. What is not there is fine.
    package static func remove(_ path: String) {
        var status = stat()
        guard lstat(path, &status) == 0 else { return }
        guard status.st_mode & S_IFMT == S_IFDIR else {
            unlink(path)
            return
        }
        for name in names(path) { remove(path + "/" + name) }
        rmdir(path)
    }

    /// The folder in which a path's last name stands.
    package static func parent(of path: String) -> String {
        let path = trimmed(path)
        guard let slash = path.lastIndex(of: "/") else { return "." }
        return slash == path.startIndex ? "/" : String(path[..<slash])
    }

    /// A path without slashes at its end.
    static func trimmed(_ path: String) -> String {
        var path = path[...]
        while path.utf8.count > 1, path.hasSuffix("/") { path.removeLast() }
        return String(path)
    }

    /// Makes the names in a folder durable.
    static func synchronise(folder: String, calls: FileCalls = .system) throws(FileError) {
        let descriptor = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { throw FileError(path: folder, errno: errno) }
        defer { close(descriptor) }
        // Some file systems know no fsync of folders and say EINVAL; the rename is then as safe as they can make it.
        guard calls.sync(descriptor) == 0 || errno == EINVAL else { throw FileError(path: folder, errno: errno) }
    }
}
