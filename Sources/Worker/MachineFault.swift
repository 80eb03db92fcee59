import ArtifactStore
import Glibc

/// Which faults are this machine's: its disk, its mounts and its permissions, which only its keeper can mend.
///
/// Whatever befalls the same artifact on every machine (broken bytes, a name that no file can have, more bytes than the disk has) is not among them:
/// a task that no machine can run must end.
extension ArtifactError {
    /// What to mend on this machine; nil where it is not at fault.
    var mend: String? {
        switch self {
        case .absent: "mount the artifact store at the folder of --artifacts, or leave that out: artifacts then come through the broker"
        case .system where isFull: "make room on the disk of --cache-dir; --cache-bytes keeps the cache below a bound"
        case .system(_, let number) where Self.machineErrors.contains(number):
            "see that the folders of --cache-dir and --artifacts are there and that this worker may read and write them"
        default: nil
        }
    }

    private static let machineErrors: Set<Int32> = [EACCES, EIO, EMFILE, ENFILE, ENODEV, ENOENT, ENOMEM, ENXIO, EPERM, EROFS, ESTALE]
}

extension TransferError {
    /// The disk that it was written to is full, or as much of it as this worker may use.
    var isFull: Bool { if case .artifact(let error) = self { error.isFull } else { false } }

    /// It is the latter.
    var isOverQuota: Bool { if case .artifact(.system(_, EDQUOT)) = self { true } else { false } }
}
