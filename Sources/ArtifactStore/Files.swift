internal import Encodings
internal import Glibc

/// A file read in pieces of 1 MiB.
final class InputFile {
    private let descriptor: Int32
    private let path: String

    init(_ path: String) throws(ArtifactError) {
        self.path = path
        descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw .system(path: path, errno: errno) }
    }

    deinit { if descriptor >= 0 { close(descriptor) } }

    /// The next piece; nil at the end.
    func next() throws(ArtifactError) -> [UInt8]? {
        var problem: Int32 = 0
        let piece = [UInt8](unsafeUninitializedCapacity: 1 << 20) { buffer, count in
            var result: Int
            repeat { result = read(descriptor, buffer.baseAddress, buffer.count) } while result < 0 && errno == EINTR
            if result < 0 { problem = errno }
            count = max(0, result)
        }
        guard problem == 0 else { throw .system(path: path, errno: problem) }
        return piece.isEmpty ? nil : piece
    }
}

/// A file under a temporary name, removed again unless it is finished.
final class OutputFile {
    private var descriptor: Int32
    private let path: String

    init(_ path: String) throws(ArtifactError) {
        self.path = path
        descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o444)
        guard descriptor >= 0 else { throw .system(path: path, errno: errno) }
    }

    deinit {
        guard descriptor >= 0 else { return }
        close(descriptor)
        unlink(path)
    }

    func write(_ bytes: [UInt8]) throws(ArtifactError) {
        let problem: Int32 = bytes.withUnsafeBytes { raw in
            var done = 0
            while done < raw.count {
                let count = Glibc.write(descriptor, raw.baseAddress?.advanced(by: done), raw.count - done)
                if count < 0 {
                    if errno == EINTR { continue }
                    return errno
                }
                done += count
            }
            return 0
        }
        guard problem == 0 else { throw .system(path: path, errno: problem) }
    }

    /// Makes the bytes durable and gives them their name, and makes the name durable.
    func finish(as target: String, folder: String) throws(ArtifactError) {
        guard fsync(descriptor) == 0 else { throw .system(path: path, errno: errno) }
        guard rename(path, target) == 0 else { throw .system(path: target, errno: errno) }
        close(descriptor)
        descriptor = -1
        let parent = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard parent >= 0 else { throw .system(path: folder, errno: errno) }
        defer { close(parent) }
        guard fsync(parent) == 0 else { throw .system(path: folder, errno: errno) }
    }
}

/// The few calls on paths that artifacts need.
enum FileSystem {
    static func size(_ path: String) -> Int64? {
        var status = stat()
        guard lstat(path, &status) == 0, status.st_mode & S_IFMT == S_IFREG else { return nil }
        return Int64(status.st_size)
    }

    /// Makes a folder and those above it.
    static func makeFolders(_ path: String) throws(ArtifactError) {
        if mkdir(path, 0o755) == 0 { return }
        switch errno {
        case EEXIST:
            var status = stat()
            guard stat(path, &status) == 0, status.st_mode & S_IFMT == S_IFDIR else { throw .system(path: path, errno: ENOTDIR) }
        case ENOENT:
            guard let slash = path.lastIndex(of: "/"), slash != path.startIndex else { throw .system(path: path, errno: ENOENT) }
            try makeFolders(String(path[..<slash]))
            guard mkdir(path, 0o755) == 0 || errno == EEXIST else { throw .system(path: path, errno: errno) }
        default: throw .system(path: path, errno: errno)
        }
    }

    /// The names in a folder, ascending; none where it cannot be read.
    static func names(_ folder: String) -> [String] {
        guard let stream = opendir(folder) else { return [] }
        defer { closedir(stream) }
        var names: [String] = []
        while let entry = readdir(stream) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) { pointer in
                pointer.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if name != "." && name != ".." { names.append(name) }
        }
        return names.sorted()
    }

    /// The plain files below a folder as relative paths. Links are refused: what they point at may change or lie outside.
    static func files(below root: String, _ relative: String = "") throws(ArtifactError) -> [String] {
        let folder = relative.isEmpty ? root : root + "/" + relative
        var status = stat()
        guard lstat(folder, &status) == 0 else { throw .system(path: folder, errno: errno) }
        guard status.st_mode & S_IFMT == S_IFDIR else { throw .unsuitable(path: folder, "it is no folder") }
        var found: [String] = []
        for name in names(folder) {
            let path = relative.isEmpty ? name : relative + "/" + name
            guard lstat(root + "/" + path, &status) == 0 else { throw .system(path: root + "/" + path, errno: errno) }
            switch status.st_mode & S_IFMT {
            case S_IFREG: found.append(path)
            case S_IFDIR: found += try files(below: root, path)
            default: throw .unsuitable(path: root + "/" + path, "it is neither a file nor a folder")
            }
        }
        return found
    }

    /// Copies a file and takes its digest on the way.
    static func copy(_ source: String, to target: String) throws(ArtifactError) -> String {
        let input = try InputFile(source)
        let output = try OutputFile(target + ".part")
        var digest = SHA256Digest()
        while let chunk = try input.next() {
            digest.update(chunk)
            try output.write(chunk)
        }
        guard let slash = target.lastIndex(of: "/") else { throw .system(path: target, errno: EINVAL) }
        try output.finish(as: target, folder: String(target[..<slash]))
        return hexString(digest.finish())
    }

    /// Removes a folder and all below it, following no link.
    static func removeTree(_ path: String) {
        var status = stat()
        guard lstat(path, &status) == 0 else { return }
        guard status.st_mode & S_IFMT == S_IFDIR else {
            unlink(path)
            return
        }
        for name in names(path) { removeTree(path + "/" + name) }
        rmdir(path)
    }
}
