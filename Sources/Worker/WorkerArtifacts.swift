import ArtifactStore

/// Where a worker's artifacts come from and go to: the store, mounted here, or the store behind its broker. Calls block; they are made by the
/// loader's and the engine's threads, never by the one that beats.
protocol WorkerArtifacts: Sendable {
    /// Lays an artifact out, every digest checked: a folder with a manifest's files, or a file where it is plain bytes. Whatever stops half way,
    /// nothing is left.
    /// - Parameter path: must not exist yet; its parent must.
    func layOut(_ digest: String, at path: String, watch: TransferWatch) throws(TransferError)

    /// Stores the files below a folder as one artifact.
    /// - Parameter include: which relative paths.
    func store(_ folder: String, watch: TransferWatch, include: (String) -> Bool) throws(TransferError) -> Manifest
}

/// The store in a folder that this machine has mounted: nothing goes over a line.
struct MountedArtifacts: WorkerArtifacts {
    let directory: ArtifactDirectory

    func layOut(_ digest: String, at path: String, watch: TransferWatch) throws(TransferError) {
        do throws(ArtifactError) {
            if directory.isManifest(digest) {
                try directory.materialise(digest, into: path)
            } else {
                try directory.materialise(blob: digest, at: path)
            }
        } catch { throw .artifact(error) }
    }

    func store(_ folder: String, watch: TransferWatch, include: (String) -> Bool) throws(TransferError) -> Manifest {
        do throws(ArtifactError) { return try directory.putDirectory(folder, include: include) } catch { throw .artifact(error) }
    }
}
