internal import Encodings
package import TaskProtocol

/// Artifacts that come in part by part, over any number of connections and processes, and are whole or not there at all.
///
/// What is there of an upload is a file `tmp/put-<digest>`: it outlives this process, so whoever asks next goes on from it, through whichever
/// broker. Parts follow on one another; one that comes twice or out of order changes nothing, and every answer says how much is there. With its
/// last byte the digest decides: the file becomes the artifact, or goes. A day after its last part
/// ``ArtifactDirectory/removeLeftovers(olderThanSeconds:)`` takes it.
///
/// One thread uses it; another process with the same folder is kept out of a file while a part is written.
package struct PartialUploads {
    private let directory: ArtifactDirectory
    /// The digest so far of uploads under way, so that the last part need not read the others again. Whoever is not here is read from its file.
    private var running: [String: RunningDigest] = [:]
    private var clock: UInt64 = 0
    private static let mostRunning = 64

    private final class RunningDigest {
        var digest = SHA256Digest()
        var bytes: Int64 = 0
        var lastUsed: UInt64 = 0
    }

    package init(_ directory: ArtifactDirectory) { self.directory = directory }

    /// Takes a part, or only says how much is there.
    /// - Returns: bytes there so far.
    package mutating func put(_ put: ArtifactPut) throws(ArtifactError) -> Int64 {
        guard Manifest.isDigest(put.sha256) else { throw .malformedDigest }
        if let size = try whole(put) {
            running[put.sha256] = nil
            return size
        }
        let isWritten = put.data != nil || put.size == 0
        guard var file = try PartialFile.open(path(put.sha256), creates: isWritten, sha256: put.sha256) else { return 0 }
        guard isWritten else { return put.size.map { file.size > $0 } == true ? 0 : file.size }
        return try write(put, to: &file)
    }

    /// The size of an artifact that is there already, its age renewed.
    private func whole(_ put: ArtifactPut) throws(ArtifactError) -> Int64? {
        guard let size = directory.size(of: put.sha256) else { return nil }
        if let told = put.size, told != size { throw .sizeMismatch(told: told, actual: size) }
        return directory.renew(put.sha256, size: size) ? size : nil
    }

    private mutating func write(_ put: ArtifactPut, to file: inout PartialFile) throws(ArtifactError) -> Int64 {
        var step = UploadStep(have: file.size, put: put)
        if step == .startOver {
            try file.empty()
            running[put.sha256] = nil
            step = UploadStep(have: 0, put: put)
        }
        if case .append(let first) = step, let data = put.data { try append(data[first...], to: &file, put.sha256) }
        guard file.size == put.size else { return file.size }
        try finish(file, put.sha256)
        return file.size
    }

    private mutating func append(_ bytes: ArraySlice<UInt8>, to file: inout PartialFile, _ sha256: String) throws(ArtifactError) {
        let before = file.size
        do throws(ArtifactError) { try file.append(bytes) } catch {
            running[sha256] = nil
            throw error
        }
        if before == 0 { begin(sha256) }
        // Another process may have written some of it: then the rest is read when all is there.
        guard let digest = running[sha256], digest.bytes == before else { return }
        bytes.withUnsafeBytes { digest.digest.update($0) }
        digest.bytes = file.size
        clock += 1
        digest.lastUsed = clock
    }

    private mutating func begin(_ sha256: String) {
        if running.count >= Self.mostRunning, let oldest = running.min(by: { $0.value.lastUsed < $1.value.lastUsed }) { running[oldest.key] = nil }
        running[sha256] = RunningDigest()
    }

    private mutating func finish(_ file: borrowing PartialFile, _ sha256: String) throws(ArtifactError) {
        let begun = running.removeValue(forKey: sha256) ?? RunningDigest()
        try file.hash(from: begun.bytes, into: &begun.digest)
        let actual = hexString(begun.digest.take())
        guard actual == sha256 else {
            file.remove()
            throw .digestMismatch(expected: sha256, actual: actual)
        }
        let target = directory.location(of: sha256)
        let folder = "\(directory.path)/sha256/\(sha256.prefix(2))"
        do throws(ArtifactError) { try FileSystem.makeFolders(folder) } catch {
            file.remove()
            throw error
        }
        try file.finish(as: target, folder: folder)
    }

    /// Named by the digest alone, whose form was checked.
    private func path(_ sha256: String) -> String { "\(directory.path)/tmp/put-\(sha256)" }
}

extension SHA256Digest {
    /// The digest of all so far, leaving an empty one.
    fileprivate mutating func take() -> [UInt8] {
        let done = consume self
        self = SHA256Digest()
        return done.finish()
    }
}
