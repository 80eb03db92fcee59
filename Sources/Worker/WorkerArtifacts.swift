import ArtifactStore

/// Where a worker's artifacts come from and go to: the store, mounted here, or the store behind its broker. Calls block; they are made by the
/// loader's and the engine's threads, never by the one that beats.
protocol WorkerArtifacts: Sendable {
    /// Makes a folder with an artifact's files in it, every digest checked: those of a manifest, or one by the name
    /// ``WorkerArtifactNames/plain``. Whatever stops half way, the folder is then not there.
    ///
    /// The watch is told how many bytes there are in all before the last of them is written.
    /// - Parameter folder: must not exist yet; its parent must.
    func layOut(_ digest: String, into folder: String, watch: TransferWatch) throws(TransferError)

    /// Stores the files below a folder as one artifact.
    /// - Parameter include: which relative paths.
    func store(_ folder: String, watch: TransferWatch, include: (String) -> Bool) throws(TransferError) -> Manifest
}

/// Names that files get in the cache.
enum WorkerArtifactNames {
    /// Bytes that are no manifest.
    static let plain = "bytes"
}

/// The store in a folder that this machine has mounted: nothing goes over a line.
struct MountedArtifacts: WorkerArtifacts {
    let directory: ArtifactDirectory

    func layOut(_ digest: String, into folder: String, watch: TransferWatch) throws(TransferError) {
        func look(_ done: Int64, _ total: Int64) throws(ArtifactError) {
            if watch.isStopped() { throw .stopped }
            watch.progress(done, total)
        }
        do throws(ArtifactError) {
            if directory.isManifest(digest) {
                try directory.materialise(digest, into: folder, progress: look)
            } else {
                try directory.materialise(blob: digest, as: WorkerArtifactNames.plain, into: folder, progress: look)
            }
        } catch .stopped { throw .stopped } catch { throw .artifact(directory.absence ?? error) }
    }

    func store(_ folder: String, watch: TransferWatch, include: (String) -> Bool) throws(TransferError) -> Manifest {
        do throws(ArtifactError) { return try directory.putDirectory(folder, include: include) } catch { throw .artifact(error) }
    }
}
