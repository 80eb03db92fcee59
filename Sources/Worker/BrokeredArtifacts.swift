import ArtifactStore
import Messaging
import TaskProtocol

/// The store behind the broker that the worker is joined to: for a worker that has nothing but a broker's address (and a key).
///
/// Each transfer has a connection of its own, in parts of at most 1 MiB of which at most four are under way, so neither heartbeats nor results ever
/// wait behind it. Where the worker goes to another broker, the transfer goes there too, and on from what is there.
struct BrokeredArtifacts: WorkerArtifacts {
    let context: ZMQContext
    let shared: WorkerShared
    /// A larger artifact is no manifest.
    private static let largestManifest: Int64 = 16 << 20

    func layOut(_ digest: String, into folder: String, watch: TransferWatch) throws(TransferError) {
        var transfer = transfer(watch)
        do throws(TransferError) {
            let bytes = try transfer.bytes(digest, limit: Self.largestManifest)
            if let manifest = try? Manifest(json: bytes) {
                try transfer.download(manifest, into: folder)
            } else {
                try transfer.download(digest, as: WorkerArtifactNames.plain, into: folder)
            }
        } catch .artifact(.unsuitable) {
            try transfer.download(digest, as: WorkerArtifactNames.plain, into: folder)
        } catch .refused(let error) where error.code == .notFound {
            throw .artifact(.missing(sha256: digest))
        }
    }

    func store(_ folder: String, watch: TransferWatch, include: (String) -> Bool) throws(TransferError) -> Manifest {
        var transfer = transfer(watch)
        return try transfer.upload(directory: folder, include: include)
    }

    private func transfer(_ watch: TransferWatch) -> ArtifactTransfer<BrokerConnection> {
        let shared = shared
        let isStopped = watch.isStopped
        return ArtifactTransfer(
            BrokerConnection(context: context, shared: shared),
            watch: TransferWatch(progress: watch.progress, isStopped: { shared.isEnding || isStopped() }))
    }
}
