internal import Glibc
import Synchronization

/// Receives SIGTERM, SIGINT and SIGHUP for a service, on a thread of its own.
///
/// The first SIGTERM or SIGINT asks for a drain; a second one of either stops the process at once with status 143.
package final class SignalWatcher: Sendable {
    /// The first stopping signal that came.
    package let first = Condition<Int32>()

    /// Blocks the signals in the calling thread and in all that it starts from now on: call it before any other thread exists.
    package static func block() {
        var set = watched()
        pthread_sigmask(SIG_BLOCK, &set, nil)
        Glibc.signal(SIGPIPE, SIG_IGN)
    }

    /// Starts watching. ``block()`` must have been called at the start of the program.
    /// - Parameters:
    ///   - onHangUp: called at each SIGHUP, on the watcher's thread.
    ///   - onStop: called once, at the first SIGTERM or SIGINT, on the watcher's thread.
    package init(onHangUp: @escaping @Sendable () -> Void = {}, onStop: @escaping @Sendable (Int32) -> Void) {
        let first = first
        startThread {
            var set = Self.watched()
            var stopping = false
            while true {
                var number: Int32 = 0
                guard sigwait(&set, &number) == 0 else { continue }
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

    private static func watched() -> sigset_t {
        var set = sigset_t()
        sigemptyset(&set)
        sigaddset(&set, SIGTERM)
        sigaddset(&set, SIGINT)
        sigaddset(&set, SIGHUP)
        return set
    }
}
