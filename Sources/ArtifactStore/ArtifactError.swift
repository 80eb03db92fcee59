internal import DurableFiles
internal import Glibc

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
    /// The system refused: a full disk, no permission.
    case system(path: String, errno: Int32)

    package var description: String {
        switch self {
        case .missing(let sha256): "there is no artifact sha256:\(sha256)"
        case .digestMismatch(let expected, let actual): "the bytes have digest \(actual), not \(expected); nothing was kept"
        case .malformedDigest: "a digest has 64 hexadecimal digits in lower case"
        case .malformedManifest(let why): "the manifest is broken: \(why)"
        case .unsuitable(let path, let why): "\(path) cannot be stored: \(why)"
        case .system(let path, let number): "\(path): \(String(cString: strerror(number)))"
        }
    }
}

extension ArtifactError {
    /// What the system said of a file.
    init(_ error: FileError) { self = .system(path: error.path, errno: error.errno) }
}
