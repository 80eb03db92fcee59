import Glibc

/// Standard output, for commands whose lines somebody reads as they come.
enum OutputStream {
    /// Hands over what was printed, also where it goes into a pipe.
    static func flush() { fflush(nil) }
}
