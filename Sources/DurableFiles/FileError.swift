import Glibc

/// What the system said, and about which path.
package struct FileError: Error, Sendable, Equatable, CustomStringConvertible {
    package let path: String
    package let errno: Int32

    package init(path: String, errno: Int32) {
        self.path = path
        self.errno = errno
    }

    /// The system's words alone, for errors that name the path themselves.
    package var reason: String { String(cString: strerror(errno)) }

    package var description: String { "\(path): \(reason)" }
}
