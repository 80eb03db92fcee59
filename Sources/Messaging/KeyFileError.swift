/// Why a file of keys cannot be used. No case holds a key.
package enum KeyFileError: Error, Equatable, CustomStringConvertible {
    /// It is not there, is no regular file, or may not be read.
    case unreadable(path: String, reason: String)
    /// A secret key that more people than its owner can read.
    case exposed(path: String, mode: String)
    /// A secret key that belongs to somebody else, who could change it.
    case foreign(path: String, owner: UInt32)
    /// A line that is no key, counted from 1.
    case malformed(path: String, line: Int, reason: String)
    /// Another number of keys than the file is to hold.
    case wrongCount(path: String, found: Int)
    /// A file that must be new is there already.
    case exists(path: String)
    /// It could not be written.
    case unwritable(path: String, reason: String)

    package var description: String {
        switch self {
        case .unreadable(let path, let reason): "the key file \(path) cannot be read: \(reason)"
        case .exposed(let path, let mode): "the secret key \(path) can be read by others (mode \(mode)): chmod 600 \(path)"
        case .foreign(let path, let owner):
            "the secret key \(path) belongs to the user \(owner): it must belong to the user who runs this, or to root"
        case .malformed(let path, let line, let reason): "\(path), line \(line): \(reason)"
        case .wrongCount(let path, let found): "\(path) holds \(found) keys, where exactly one is wanted"
        case .exists(let path): "\(path) exists; keys are never overwritten: name another file, or remove this one"
        case .unwritable(let path, let reason): "\(path) cannot be written: \(reason)"
        }
    }
}
