internal import DurableFiles
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

    /// Copies all that is left, taking the digest on the way: it is that of what was written, even if the file changes meanwhile.
    /// - Parameter each: told the size of every piece that is written.
    func copy(
        to output: inout DurableFile, each: (Int) throws(ArtifactError) -> Void = { _ in }
    ) throws(ArtifactError) -> (sha256: String, size: Int64) {
        var digest = SHA256Digest()
        var size: Int64 = 0
        while let piece = try next() {
            digest.update(piece)
            do throws(FileError) { try output.write(piece) } catch { throw .init(error) }
            size += Int64(piece.count)
            try each(piece.count)
        }
        return (hexString(digest.finish()), size)
    }

    /// The digest of all that is left.
    /// - Parameter each: told the size of every piece that is read.
    func digest(each: (Int) throws(ArtifactError) -> Void) throws(ArtifactError) -> String {
        var digest = SHA256Digest()
        while let piece = try next() {
            digest.update(piece)
            try each(piece.count)
        }
        return hexString(digest.finish())
    }
}

/// The few calls on paths that artifacts need.
enum FileSystem {
    static func size(_ path: String) -> Int64? {
        var status = stat()
        guard lstat(path, &status) == 0, status.st_mode & S_IFMT == S_IFREG else { return nil }
        return Int64(status.st_size)
    }

    /// What the system says against opening a folder; nil where it can be opened.
    static func problem(ofFolder path: String) -> Int32? {
        let folder = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard folder >= 0 else { return errno }
        close(folder)
        return nil
    }

    /// Makes a folder and those above it.
    static func makeFolders(_ path: String) throws(ArtifactError) {
        do throws(FileError) { try FileTree.makeFolders(path) } catch { throw .init(error) }
    }

    /// The plain files below a folder as relative paths. Links are refused: what they point at may change or lie outside.
    static func files(below root: String, _ relative: String = "") throws(ArtifactError) -> [String] {
        let folder = relative.isEmpty ? root : root + "/" + relative
        var status = stat()
        guard lstat(folder, &status) == 0 else { throw .system(path: folder, errno: errno) }
        guard status.st_mode & S_IFMT == S_IFDIR else { throw .unsuitable(path: folder, "it is no folder") }
        var found: [String] = []
        for name in FileTree.names(folder) {
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
    /// - Parameter each: told the size of every piece that is written.
    static func copy(_ source: String, to target: String, each: (Int) throws(ArtifactError) -> Void) throws(ArtifactError) -> String {
        let input = try InputFile(source)
        var output: DurableFile
        do throws(FileError) { output = try DurableFile(path: target, mode: 0o444) } catch { throw .init(error) }
        let copied = try input.copy(to: &output, each: each)
        do throws(FileError) { try output.finish() } catch { throw .init(error) }
        return copied.sha256
    }
}
