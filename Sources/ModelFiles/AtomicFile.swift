import Glibc

/// Writes files and folders so that a reader, or a crash at any moment, sees the old whole or the new whole, never a part.
package enum AtomicFile {
    /// Writes `path` through a temporary neighbour: write, fsync, rename, fsync of the folder.
    /// - Parameter body: writes the content by calling its argument as often as it likes.
    package static func write(
        _ path: String, _ body: (_ write: (UnsafeRawBufferPointer) throws(ModelFileError) -> Void) throws(ModelFileError) -> Void
    ) throws(ModelFileError) {
        let temporary = "\(path).\(getpid()).partial"
        let descriptor = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o644)
        guard descriptor >= 0 else { throw MappedFile.systemError(path) }
        do throws(ModelFileError) {
            try body { (bytes: UnsafeRawBufferPointer) throws(ModelFileError) in try append(bytes, to: descriptor, path: path) }
            guard fsync(descriptor) == 0 else { throw MappedFile.systemError(path) }
        } catch {
            close(descriptor)
            unlink(temporary)
            throw error
        }
        close(descriptor)
        guard rename(temporary, path) == 0 else {
            let error = MappedFile.systemError(path)
            unlink(temporary)
            throw error
        }
        try synchronise(folder: parent(of: path))
    }

    /// Writes a whole byte array as a file, atomically.
    package static func write(_ bytes: [UInt8], to path: String) throws(ModelFileError) {
        try write(path) { (write: (UnsafeRawBufferPointer) throws(ModelFileError) -> Void) throws(ModelFileError) in
            var failure: ModelFileError?
            bytes.withUnsafeBytes { buffer in
                do throws(ModelFileError) { try write(buffer) } catch { failure = error }
            }
            if let failure { throw failure }
        }
    }

    /// Builds a folder beside `path` and then puts it in that place in one step; a folder that stood there is removed afterwards.
    /// - Parameter body: fills the folder whose path it is given.
    package static func writeDirectory(_ path: String, _ body: (String) throws(ModelFileError) -> Void) throws(ModelFileError) {
        let target = path.hasSuffix("/") && path.count > 1 ? String(path.dropLast()) : path
        let temporary = "\(target).\(getpid()).partial"
        try createDirectory(parent(of: target))
        removeTree(temporary)
        try createDirectory(temporary)
        do throws(ModelFileError) {
            try body(temporary)
            try synchronise(folder: temporary)
            try putInPlace(temporary, target)
        } catch {
            removeTree(temporary)
            throw error
        }
        try synchronise(folder: parent(of: target))
        removeTree(temporary)
    }

    /// Makes a folder and those above it; one that exists is fine.
    package static func createDirectory(_ path: String) throws(ModelFileError) {
        if path.isEmpty || path == "/" || path == "." { return }
        if mkdir(path, 0o755) == 0 { return }
        if errno == ENOENT {
            try createDirectory(parent(of: path))
            if mkdir(path, 0o755) == 0 { return }
        }
        var status = stat()
        guard errno == EEXIST, stat(path, &status) == 0, status.st_mode & S_IFMT == S_IFDIR else { throw MappedFile.systemError(path) }
    }

    /// Removes a file or a folder with everything in it; links inside are removed, not followed.
    package static func removeTree(_ path: String) {
        var status = stat()
        guard lstat(path, &status) == 0 else { return }
        guard status.st_mode & S_IFMT == S_IFDIR else {
            unlink(path)
            return
        }
        for name in entries(path) { removeTree(path + "/" + name) }
        rmdir(path)
    }

    /// The names in a folder, sorted by bytes; empty where it cannot be read.
    package static func entries(_ path: String) -> [String] {
        guard let stream = opendir(path) else { return [] }
        defer { closedir(stream) }
        var names: [String] = []
        while let entry = readdir(stream) {
            let name = withUnsafeBytes(of: entry.pointee.d_name) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
            if name != "." && name != ".." { names.append(name) }
        }
        return names.sorted(by: TensorNames.precedes)
    }

    private static func putInPlace(_ temporary: String, _ target: String) throws(ModelFileError) {
        if rename(temporary, target) == 0 { return }
        // A folder that is not empty cannot be renamed over: swap the two, and the caller removes the old one.
        guard errno == ENOTEMPTY || errno == EEXIST || errno == ENOTDIR else { throw MappedFile.systemError(target) }
        if let exchange, exchange(AT_FDCWD, temporary, AT_FDCWD, target, 1 << 1) == 0 { return }
        // No exchange on this file system: for a moment nothing is there, never a part.
        let old = target + ".old.partial"
        removeTree(old)
        guard rename(target, old) == 0, rename(temporary, target) == 0 else { throw MappedFile.systemError(target) }
        removeTree(old)
    }

    /// Linux's renameat2, which Swift's Glibc does not import; nil on a C library without it.
    private static var exchange: (@convention(c) (Int32, UnsafePointer<CChar>, Int32, UnsafePointer<CChar>, UInt32) -> Int32)? {
        guard let program = dlopen(nil, RTLD_LAZY), let symbol = dlsym(program, "renameat2") else { return nil }
        return unsafeBitCast(symbol, to: (@convention(c) (Int32, UnsafePointer<CChar>, Int32, UnsafePointer<CChar>, UInt32) -> Int32).self)
    }

    private static func append(_ bytes: UnsafeRawBufferPointer, to descriptor: Int32, path: String) throws(ModelFileError) {
        var done = 0
        while done < bytes.count, let base = bytes.baseAddress {
            let written = Glibc.write(descriptor, base + done, bytes.count - done)
            if written < 0 {
                if errno == EINTR { continue }
                throw MappedFile.systemError(path)
            }
            done += written
        }
    }

    static func parent(of path: String) -> String {
        guard let slash = path.lastIndex(of: "/") else { return "." }
        return slash == path.startIndex ? "/" : String(path[..<slash])
    }

    private static func synchronise(folder: String) throws(ModelFileError) {
        let descriptor = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { throw MappedFile.systemError(folder) }
        defer { close(descriptor) }
        // Some file systems know no fsync of folders and say EINVAL; the rename is then as safe as they can make it.
        guard fsync(descriptor) == 0 || errno == EINVAL else { throw MappedFile.systemError(folder) }
    }
}
