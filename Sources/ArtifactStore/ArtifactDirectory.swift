internal import DurableFiles
internal import Encodings
internal import Glibc

/// Artifacts in a folder: each blob under its digest, `sha256/ab/<64 digits>`, read-only and complete or not there at all.
///
/// Any number of processes may share the folder. A blob is written beside its place, made durable, and then renamed, so no reader sees half
/// of one and a crash or a full disk leaves only a temporary file, which the same call removes and ``removeLeftovers(olderThanSeconds:)``
/// finds after a crash. Putting bytes that are there already renews their age, which garbage collection goes by.
package struct ArtifactDirectory: Sendable {
    /// The folder, without a trailing slash.
    package let path: String

    /// - Parameter path: made where it is missing.
    package init(path: String) throws(ArtifactError) {
        self.path = Self.trimmed(path)
        try FileSystem.makeFolders(path + "/sha256")
        try FileSystem.makeFolders(path + "/tmp")
    }

    /// A store that somebody else makes. Nothing is made here: an empty folder may be one that the store is still to be mounted on, and what was
    /// made in it would be hidden then, and taken for the store while it is not.
    /// - Parameter path: must be a folder; ``absence`` tells whether the store is in it.
    package init(madeElsewhere path: String) throws(ArtifactError) {
        self.path = Self.trimmed(path)
        guard let problem = FileSystem.problem(ofFolder: self.path) else { return }
        throw problem == ENOENT ? .absent(path: path) : .system(path: path, errno: problem)
    }

    private static func trimmed(_ path: String) -> String {
        var path = path
        while path.count > 1, path.hasSuffix("/") { path.removeLast() }
        return path
    }

    /// Why nothing can be had of the store now, where that is so: without this every artifact of a store that is not mounted would look missing.
    package var absence: ArtifactError? {
        guard let problem = FileSystem.problem(ofFolder: path + "/sha256") else { return nil }
        return problem == ENOENT ? .absent(path: path) : .system(path: path + "/sha256", errno: problem)
    }

    /// Where a blob stands, or would.
    package func location(of sha256: String) -> String { "\(path)/sha256/\(sha256.prefix(2))/\(sha256)" }

    /// The path of a blob; nil where it is not here. The file is read-only and shared: copy or link it, never change it.
    package func path(of sha256: String) -> String? { has(sha256) ? location(of: sha256) : nil }

    /// The size of a blob in bytes; nil where it is not here.
    package func size(of sha256: String) -> Int64? {
        guard Manifest.isDigest(sha256) else { return nil }
        return FileSystem.size(location(of: sha256))
    }

    /// Whether a blob is here.
    package func has(_ sha256: String) -> Bool { size(of: sha256) != nil }

    /// Whether a blob is a manifest: a large or differently shaped one is plain bytes.
    package func isManifest(_ sha256: String) -> Bool {
        guard let size = size(of: sha256), size <= 16 << 20 else { return false }
        return (try? manifest(sha256)) != nil
    }

    /// Whether a manifest and all its files are here.
    package func hasAll(ofManifest sha256: String) -> Bool {
        guard let manifest = try? manifest(sha256) else { return false }
        return manifest.files.allSatisfy { size(of: $0.sha256) == $0.size }
    }

    // MARK: Putting

    /// Stores bytes.
    /// - Parameter expected: their digest, where it was told.
    /// - Returns: their digest.
    @discardableResult
    package func put(_ bytes: [UInt8], expected: String? = nil) throws(ArtifactError) -> String {
        let sha256 = SHA256Digest.hex(of: bytes)
        if let expected, expected != sha256 { throw .digestMismatch(expected: expected, actual: sha256) }
        if renew(sha256, size: Int64(bytes.count)) { return sha256 }
        var output = try temporaryFile()
        do throws(FileError) { try output.write(bytes) } catch { throw .init(error) }
        try place(output, sha256)
        return sha256
    }

    /// Stores a file, reading it once: what is stored has the digest that is returned, even if the file changes meanwhile.
    @discardableResult
    package func put(file: String, expected: String? = nil) throws(ArtifactError) -> (sha256: String, size: Int64) {
        let input = try InputFile(file)
        var output = try temporaryFile()
        let (sha256, size) = try input.copy(to: &output)
        if let expected, expected != sha256 { throw .digestMismatch(expected: expected, actual: sha256) }
        if renew(sha256, size: size) { return (sha256, size) }
        try place(output, sha256)
        return (sha256, size)
    }

    /// Stores a folder with everything in it: its files as blobs, and the manifest that names them.
    /// - Parameter include: which relative paths; all where not told.
    /// - Returns: the manifest; its ``Manifest/sha256`` is the artifact's digest.
    package func putDirectory(_ directory: String, include: (String) -> Bool = { _ in true }) throws(ArtifactError) -> Manifest {
        var files: [Manifest.File] = []
        for relative in try FileSystem.files(below: directory) where include(relative) {
            let (sha256, size) = try put(file: directory + "/" + relative)
            files.append(try Manifest.File(path: relative, sha256: sha256, size: size))
        }
        return try put(Manifest(files: files))
    }

    /// Stores named files as one artifact.
    /// - Parameter files: path in the artifact, and path on this machine.
    package func put(files: [(path: String, source: String)]) throws(ArtifactError) -> Manifest {
        var stored: [Manifest.File] = []
        for (path, source) in files {
            let (sha256, size) = try put(file: source)
            stored.append(try Manifest.File(path: path, sha256: sha256, size: size))
        }
        return try put(Manifest(files: stored))
    }

    package func put(_ manifest: Manifest) throws(ArtifactError) -> Manifest {
        try put(manifest.json)
        return manifest
    }

    private func temporaryFile() throws(ArtifactError) -> DurableFile {
        do throws(FileError) { return try DurableFile(in: path + "/tmp", mode: 0o444) } catch { throw .init(error) }
    }

    private func place(_ output: consuming DurableFile, _ sha256: String) throws(ArtifactError) {
        try FileSystem.makeFolders("\(path)/sha256/\(sha256.prefix(2))")
        do throws(FileError) { try output.finish(as: location(of: sha256)) } catch { throw .init(error) }
    }

    // MARK: Getting

    /// The bytes of a blob, checked against its digest.
    /// - Parameter limit: a larger blob is refused.
    package func bytes(_ sha256: String, limit: Int64 = 64 << 20) throws(ArtifactError) -> [UInt8] {
        guard Manifest.isDigest(sha256) else { throw .malformedDigest }
        guard let size = size(of: sha256) else { throw .missing(sha256: sha256) }
        guard size <= limit else { throw .unsuitable(path: location(of: sha256), "it has more than \(limit) bytes") }
        let input = try InputFile(location(of: sha256))
        var bytes: [UInt8] = []
        bytes.reserveCapacity(Int(size))
        while let chunk = try input.next() { bytes += chunk }
        let actual = SHA256Digest.hex(of: bytes)
        guard actual == sha256 else { throw .digestMismatch(expected: sha256, actual: actual) }
        return bytes
    }

    /// The manifest of this digest.
    package func manifest(_ sha256: String) throws(ArtifactError) -> Manifest { try Manifest(json: try bytes(sha256)) }

    /// Makes a folder with an artifact's files in it, each checked against its digest.
    ///
    /// Files are hard links where the folder is on the same file system (they cost nothing, and are read-only), copies elsewhere. Whatever
    /// stops half way, the folder is then not there.
    /// - Parameters:
    ///   - sha256: the manifest's digest.
    ///   - directory: must not exist yet; its parent must.
    ///   - progress: called with the bytes that are checked so far, and those of all files, once a MiB; what it throws ends it.
    package func materialise(
        _ sha256: String, into directory: String, progress: (_ done: Int64, _ total: Int64) throws(ArtifactError) -> Void = { _, _ in }
    ) throws(ArtifactError) {
        try materialise(try manifest(sha256).files, into: directory, progress)
    }

    /// Makes a folder with one blob in it under a name, checked against its digest. Whatever stops half way, the folder is then not there.
    /// - Parameters:
    ///   - directory: must not exist yet; its parent must.
    ///   - progress: called with the bytes that are checked so far, and those of the blob, once a MiB; what it throws ends it.
    package func materialise(
        blob sha256: String, as name: String, into directory: String,
        progress: (_ done: Int64, _ total: Int64) throws(ArtifactError) -> Void = { _, _ in }
    ) throws(ArtifactError) {
        guard let size = size(of: sha256) else { throw .missing(sha256: sha256) }
        try materialise([try Manifest.File(path: name, sha256: sha256, size: size)], into: directory, progress)
    }

    private func materialise(
        _ files: [Manifest.File], into directory: String, _ progress: (Int64, Int64) throws(ArtifactError) -> Void
    ) throws(ArtifactError) {
        guard mkdir(directory, 0o755) == 0 else { throw .system(path: directory, errno: errno) }
        let total = files.reduce(0) { $0 + $1.size }
        var done: Int64 = 0
        do throws(ArtifactError) {
            try progress(done, total)
            for file in files {
                try materialise(file, below: directory) { count throws(ArtifactError) in
                    done += Int64(count)
                    try progress(done, total)
                }
            }
        } catch {
            FileTree.remove(directory)
            throw error
        }
    }

    private func materialise(_ file: Manifest.File, below directory: String, each: (Int) throws(ArtifactError) -> Void) throws(ArtifactError) {
        let source = location(of: file.sha256)
        guard let size = size(of: file.sha256) else { throw .missing(sha256: file.sha256) }
        let target = directory + "/" + file.path
        if let slash = file.path.lastIndex(of: "/") { try FileSystem.makeFolders(directory + "/" + file.path[..<slash]) }
        let actual: String
        if link(source, target) == 0 {
            actual = try InputFile(target).digest(each: each)
        } else {
            actual = try FileSystem.copy(source, to: target, each: each)
        }
        guard actual == file.sha256, size == file.size else { throw .digestMismatch(expected: file.sha256, actual: actual) }
    }

    // MARK: Tidying

    /// Removes what crashed writers left in the temporary folder.
    package func removeLeftovers(olderThanSeconds seconds: Int) {
        var now = timespec()
        clock_gettime(CLOCK_REALTIME, &now)
        for name in FileTree.names(path + "/tmp") {
            var status = stat()
            let file = path + "/tmp/" + name
            if lstat(file, &status) == 0, Int(now.tv_sec) - Int(status.st_mtim.tv_sec) > seconds { unlink(file) }
        }
    }
}
