internal import Glibc
package import TaskProtocol

/// The age of artifacts: garbage collection takes only what nothing names and nobody has renewed for a day.
extension ArtifactDirectory {
    /// Renews the age of a blob that is here whole.
    ///
    /// Collection moves a blob away before it deletes it, and puts it back where it has been renewed meanwhile: so either the renewal finds the
    /// blob, which then stays, or it does not, and the blob is gone for whoever asks.
    /// - Returns: whether it is here, and will stay.
    package func renew(_ sha256: String, size: Int64) -> Bool {
        self.size(of: sha256) == size && utimensat(AT_FDCWD, location(of: sha256), nil, 0) == 0
    }

    /// ``renew(_:size:)`` of what must merely be here: what another user wrote may be beyond our rights to renew.
    private func isHere(_ sha256: String, size: Int64) -> Bool {
        renew(sha256, size: size) || (errno != ENOENT && self.size(of: sha256) == size)
    }

    /// Renews an artifact: a blob, and where it is a manifest all files that it names.
    /// - Returns: whether all of it is here.
    package func renewAll(_ sha256: String) -> Bool {
        guard let size = size(of: sha256), isHere(sha256, size: size) else { return false }
        guard isManifest(sha256), let manifest = try? manifest(sha256) else { return true }
        return manifest.files.allSatisfy { isHere($0.sha256, size: $0.size) }
    }

    /// Renews a manifest with all its files.
    /// - Returns: whether it is one, and all of it is here.
    package func renewAll(ofManifest sha256: String) -> Bool { isManifest(sha256) && renewAll(sha256) }

    /// Whether the store can be looked into at all; a file system that is not mounted is no reason to call artifacts missing.
    package var isReachable: Bool {
        var status = stat()
        return stat(path + "/sha256", &status) == 0 && status.st_mode & S_IFMT == S_IFDIR
    }

    /// How an artifact stands, its age renewed where it is here.
    package func standing(of sha256: String) -> ArtifactStanding {
        if renewAll(sha256) { return .present }
        return isReachable ? .missing : .unreachable
    }
}
