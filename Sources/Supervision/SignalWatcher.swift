internal import Glibc
import Synchronization

/// Receives SIGTERM, SIGINT and SIGHUP for a service, on a thread of its own.
///
/// The first SIGTERM or SIGINT asks for a drain; a second one of either stops the process at once with status 143.
package final class SignalWatcher: Sendable {
    /// The first stopping signal that came.
    package let first = Condition<Int32>()

    /// Installs the handlers: they write the signal's number into a pipe, and do so whichever thread the system chooses. Explicit handlers are
    /// also what a process with the id 1 needs, to which the default actions do not apply.
    package static func install() {
        var ends: [Int32] = [-1, -1]
        guard pipe(&ends) == 0 else { return }
        for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        _ = fcntl(ends[1], F_SETFL, O_NONBLOCK)
        readEnd.store(ends[0], ordering: .sequentiallyConsistent)
        writeEnd.store(ends[1], ordering: .sequentiallyConsistent)
        for number in [SIGTERM, SIGINT, SIGHUP] {
            Glibc.signal(number) { number in
                let code = errno
                var byte = UInt8(truncatingIfNeeded: number)
                _ = write(writeEnd.load(ordering: .sequentiallyConsistent), &byte, 1)
                errno = code
            }
        }
        Glibc.signal(SIGPIPE, SIG_IGN)
    }

    /// Starts watching. ``install()`` must have been called at the start of the program: signals that came since then are not lost.
    /// - Parameters:
    ///   - onHangUp: called at each SIGHUP, on the watcher's thread.
    ///   - onStop: called once, at the first SIGTERM or SIGINT, on the watcher's thread.
    package init(onHangUp: @escaping @Sendable () -> Void = {}, onStop: @escaping @Sendable (Int32) -> Void) {
        let first = first
        startThread {
            var stopping = false
            while true {
                var byte: UInt8 = 0
                let count = read(readEnd.load(ordering: .sequentiallyConsistent), &byte, 1)
                if count < 0, errno == EINTR { continue }
                guard count == 1 else { return }
                let number = Int32(byte)
                if number == SIGHUP {
                    onHangUp()
                } else if stopping {
                    _exit(143)
                } else {
                    stopping = true
                    first.set(number)
                    onStop(number)
                }
            }
        }
    }

    /// The exit status after an orderly stop: 130 where SIGINT asked for it, else 0.
    package var exitStatus: Int32 { first.value == SIGINT ? 130 : 0 }
}

/// The pipe between handlers and watcher; handlers can reach globals only, and may do little more than `write`.
private let readEnd = Atomic<Int32>(-1)
private let writeEnd = Atomic<Int32>(-1)
