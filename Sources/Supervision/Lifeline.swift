internal import Glibc

/// The two pipes that a child of `scriptorium up` is born with (``ChildProcess``): the way to know that the supervisor died, and to say "ready".
package enum Lifeline {
    /// Calls `body` on a thread of its own when the supervisor is gone.
    package static func watch(_ body: @escaping @Sendable () -> Void) {
        startThread {
            var byte: UInt8 = 0
            while true {
                let count = read(3, &byte, 1)
                if count == 0 || (count < 0 && errno != EINTR) { break }
            }
            body()
        }
    }

    /// Writes the one line that says the child is ready.
    package static func report(_ line: String) {
        var bytes = Array((line + "\n").utf8)
        _ = write(4, &bytes, bytes.count)
        close(4)
    }
}
