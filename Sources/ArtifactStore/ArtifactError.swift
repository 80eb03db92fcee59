internal import DurableFiles
internal import Glibc
package import TaskProtocol

/// Why an artifact could not be stored or had.
package enum ArtifactError: Error, Sendable, Equatable, CustomStringConvertible {
    /// No artifact of this digest is here.
    case missing(sha256: String)
    /// The bytes do not have the digest they were given under; nothing of them is kept.
    case digestMismatch(expected: String, actual: String)
    /// Not 64 hexadecimal digits in lower case.
    case malformedDigest
    /// No manifest in canonical JSON, or one that names an unsafe path.
    case malformedManifest(String)
    /// Something other than plain files and folders, or nothing at all.
    case unsuitable(path: String, String)
    /// An artifact of this digest has another size than told.
    case sizeMismatch(told: Int64, actual: Int64)
    /// A part was asked for that begins behind the end.
    case beyondEnd(offset: Int64, size: Int64)
    /// Another process writes to the same upload in this moment.
    case busy(sha256: String)
    /// No store stands in this folder: it is not mounted, or nobody has made one there yet.
    case absent(path: String)
    /// The system refused: a full disk, no permission.
    case system(path: String, errno: Int32)
    /// Who asked for it wants it no more.
    case stopped

    package var description: String {
        switch self {
        case .missing(let sha256): "there is no artifact sha256:\(sha256)"
        case .digestMismatch(let expected, let actual): "the bytes have digest \(actual), not \(expected); nothing was kept"
        case .malformedDigest: "a digest has 64 hexadecimal digits in lower case"
        case .malformedManifest(let why): "the manifest is broken: \(why)"
        case .unsuitable(let path, let why): "\(path) cannot be stored: \(why)"
        case .sizeMismatch(let told, let actual): "the artifact has \(actual) bytes, not \(told)"
        case .beyondEnd(let offset, let size): "there is nothing at \(offset): the artifact has \(size) bytes"
        case .busy(let sha256): "another process is writing sha256:\(sha256); try again"
        case .absent(let path): "there is no artifact store in \(path): is it mounted there?"
        case .system(let path, let number): "\(path): \(String(cString: strerror(number)))"
        case .stopped: "it was stopped"
        }
    }
}

extension ArtifactError {
    /// What the system said of a file.
    init(_ error: FileError) { self = .system(path: error.path, errno: error.errno) }

    /// What whoever asked through a broker is told: never a path, and whether to try again.
    package var contractError: ContractError {
        switch self {
        case .missing: ContractError(.notFound, "there is no artifact of this digest", field: "sha256")
        case .digestMismatch: ContractError(.invalidArgument, "the bytes do not have this digest; nothing of them was kept", field: "sha256")
        case .malformedDigest: ContractError(.invalidArgument, description, field: "sha256")
        case .sizeMismatch: ContractError(.invalidArgument, description, field: "size")
        case .beyondEnd: ContractError(.invalidArgument, description, field: "offset")
        case .busy: ContractError(.busy, "another broker is writing the same artifact: try again")
        case .malformedManifest, .unsuitable: ContractError(.invalidArgument, description)
        case .system where isFull:
            ContractError(.unavailable, "the artifact store is full: nothing of this part was kept; try again once there is room")
        case .stopped: ContractError(.internalError, description)
        case .absent, .system: ContractError(.internalError, "the artifact store cannot be read or written; the broker's log says why")
        }
    }

    /// The disk, or the quota on it, is full.
    package var isFull: Bool {
        if case .system(_, let number) = self { number == ENOSPC || number == EDQUOT } else { false }
    }
}
