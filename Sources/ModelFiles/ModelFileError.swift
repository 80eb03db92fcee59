package import DurableFiles
import Glibc

/// Why a model's files cannot be read or written: what, in which file, at which tensor.
package struct ModelFileError: Error, Equatable, CustomStringConvertible {
    /// What kind of trouble it is, so that a caller can tell a missing file from a lying one.
    package enum Reason: Sendable, Equatable {
        /// The file or folder is not there.
        case missing
        /// The system refused to read or write it.
        case unreadable
        /// The bytes contradict the format or each other.
        case malformed
        /// A well-formed thing that this version does not read.
        case unsupported
        /// Something else stands where a checkpoint shall be written, and would be lost.
        case occupied
    }

    package let reason: Reason
    /// The file or folder that the message is about.
    package let path: String
    /// The tensor at fault, where it is one tensor's fault.
    package let tensor: String?
    /// What is wrong and, where known, what to do.
    package let message: String

    package init(_ reason: Reason, path: String, tensor: String? = nil, _ message: String) {
        self.reason = reason
        self.path = path
        self.tensor = tensor
        self.message = message
    }

    package var description: String {
        if let tensor { return "\(path): tensor \(tensor): \(message)" }
        return "\(path): \(message)"
    }
}

extension ModelFileError {
    /// What the system said of a file or folder.
    package init(_ error: FileError) {
        self.init(
            error.errno == ENOENT ? .missing : .unreadable, path: error.path, error.errno == ENOENT ? "does not exist" : error.reason)
    }
}

/// Writes a whole file of a model's directory so that no crash leaves a part of it.
package func writeModelFile(_ bytes: [UInt8], to path: String) throws(ModelFileError) {
    do throws(FileError) { try DurableFile.write(bytes, to: path) } catch { throw ModelFileError(error) }
}
