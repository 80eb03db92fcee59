internal import Glibc
package import TaskProtocol

/// Answers requests for artifacts that come over a broker's sockets. It blocks, so it lives on a thread of its own; requests for one digest go to
/// one server in their order.
package struct ArtifactServer {
    private let directory: ArtifactDirectory
    private var uploads: PartialUploads

    package init(_ directory: ArtifactDirectory) {
        self.directory = directory
        uploads = PartialUploads(directory)
    }

    /// Does what is asked.
    package mutating func perform(_ operation: ArtifactOperation) throws(ArtifactError) -> ArtifactAnswer {
        switch operation {
        case .put(let put): .have(try uploads.put(put))
        case .fetch(let fetch): try directory.part(fetch)
        }
    }
}

extension ArtifactDirectory {
    /// A part of a blob, as it stands in its file: who asked checks the digest of the whole.
    func part(_ fetch: ArtifactFetch) throws(ArtifactError) -> ArtifactAnswer {
        guard Manifest.isDigest(fetch.sha256) else { throw .malformedDigest }
        let path = location(of: fetch.sha256)
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW)
        guard descriptor >= 0 else { throw errno == ENOENT ? .missing(sha256: fetch.sha256) : .system(path: path, errno: errno) }
        defer { close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { throw .system(path: path, errno: errno) }
        let size = Int64(status.st_size)
        guard fetch.offset <= size else { throw .beyondEnd(offset: fetch.offset, size: size) }
        let wanted = Int(min(Int64(min(max(0, fetch.length), ArtifactOperation.partBytes)), size - fetch.offset))
        var problem: Int32 = 0
        let bytes = [UInt8](unsafeUninitializedCapacity: wanted) { buffer, count in
            while count < wanted {
                let read = pread(descriptor, buffer.baseAddress?.advanced(by: count), wanted - count, off_t(fetch.offset) + off_t(count))
                if read < 0, errno == EINTR { continue }
                guard read > 0 else {
                    problem = read < 0 ? errno : EIO
                    return
                }
                count += read
            }
        }
        guard problem == 0 else { throw .system(path: path, errno: problem) }
        return .data(bytes, size: size)
    }
}
