import ArtifactStore
import Glibc

/// A fault that is this machine's, not the task's that met it.
package struct MachineFault: Sendable, Equatable {
    /// What its keeper has to do.
    package var mend: String
    /// What could not be laid out here: an artifact by its digest, or a task's own text by the folder that it was to come into. Nil where nothing can be.
    package var artifact: String?

    package init(mend: String, artifact: String?) {
        self.mend = mend
        self.artifact = artifact
    }
}

/// Which faults are this machine's: its disk, its mounts and its permissions, which only its keeper can mend.
///
/// Whatever befalls the same artifact on every machine (broken bytes, a name that no file can have, more bytes than the disk has) is not among them:
/// a task that no machine can run must end.
extension ArtifactError {
    /// This machine's fault, where it has one.
    /// - Parameter artifact: the digest of what was to be laid out.
    func machineFault(_ artifact: String) -> MachineFault? {
        mend.map { MachineFault(mend: $0, artifact: concernsAll ? nil : artifact) }
    }

    private var mend: String? {
        switch self {
        case .absent: "mount the artifact store at the folder of --artifacts, or leave that out: artifacts then come through the broker"
        case .system where isFull: "make room on the disk of --cache-dir; --cache-bytes keeps the cache below a bound"
        case .system(_, let number) where Self.machineErrors.contains(number):
            "see that the folders of --cache-dir and --artifacts are there and that this worker may read and write them"
        default: nil
        }
    }

    /// Whether any other artifact would meet the same: a file of one may be unreadable, or too large for the room that is left.
    private var concernsAll: Bool {
        switch self {
        case .absent: true
        case .system(_, let number): Self.errorsOfAll.contains(number)
        default: false
        }
    }

    private static let machineErrors: Set<Int32> = [EACCES, EIO, EMFILE, ENFILE, ENODEV, ENOENT, ENOMEM, ENXIO, EPERM, EROFS, ESTALE]
    private static let errorsOfAll: Set<Int32> = [EMFILE, ENFILE, ENOMEM, EROFS]
}

extension TransferError {
    /// The disk that it was written to is full, or as much of it as this worker may use.
    var isFull: Bool { if case .artifact(let error) = self { error.isFull } else { false } }

    /// It is the latter.
    var isOverQuota: Bool { if case .artifact(.system(_, EDQUOT)) = self { true } else { false } }
}
