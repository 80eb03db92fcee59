import ArtifactStore
import Client
import Glibc
import Supervision
import Synchronization

/// How a command reaches the artifact store: in a folder of this machine, or through the broker, part by part.
enum ArtifactRoute {
    case folder(ArtifactDirectory)
    case broker

    /// Stores files as one artifact.
    func put(_ files: [ArtifactFile], _ client: ScriptoriumClient) async throws -> StoredArtifact {
        switch self {
        case .broker:
            let bar = TransferBar("uploading")
            defer { bar.finish() }
            return try await client.put(files: files) { bar.update($0, of: $1) }
        case .folder(let directory):
            return try await onThread(throwing: {
                do throws(ArtifactError) {
                    let manifest = try directory.put(files: files.map { (path: $0.path, source: $0.source) })
                    return StoredArtifact(sha256: manifest.sha256, bytes: Int64(manifest.byteCount))
                } catch { throw CommandFailure.failed("\(error)") }
            })
        }
    }

    /// Makes a folder with the files of a manifest in it.
    func fetch(manifest sha256: String, into folder: String, _ client: ScriptoriumClient) async throws {
        switch self {
        case .broker:
            let bar = TransferBar("downloading")
            defer { bar.finish() }
            try await client.fetch(manifest: sha256, into: folder) { bar.update($0, of: $1) }
        case .folder(let directory):
            try await onThread(throwing: {
                do throws(ArtifactError) {
                    try directory.materialise(sha256, into: folder)
                } catch { throw CommandFailure.failed("\(error)") }
            })
        }
    }
}

extension ServiceOptions {
    /// The folder that a flag names, or that the service in the data folder keeps, where this user may write there; else the broker.
    ///
    /// Where a broker is named, the data folder's service may be another one, so its folder says nothing.
    func artifactRoute(_ given: String?) throws -> ArtifactRoute {
        let path: String
        if let given {
            path = given
        } else {
            guard broker.isEmpty, let kept = try ServiceFile.member("artifacts", dataDirectory: dataDir) else { return .broker }
            guard access(kept + "/tmp", W_OK) == 0, access(kept + "/sha256", W_OK) == 0 else { return .broker }
            path = kept
        }
        do throws(ArtifactError) { return .folder(try ArtifactDirectory(path: path)) } catch { throw CommandFailure.usage("--artifacts: \(error)") }
    }
}

/// A progress bar that another thread moves.
final class TransferBar: Sendable {
    private let bar = Mutex<ProgressBar?>(nil)
    private let label: String

    init(_ label: String) { self.label = label }

    /// Megabytes are what a person reads.
    func update(_ done: Int64, of total: Int64) {
        bar.withLock { bar in
            if bar == nil { bar = ProgressBar(total: Int(total >> 20), label: "MiB " + label) }
            bar?.update(Int(done >> 20))
        }
    }

    func finish() { bar.withLock { $0?.finish() } }
}
