internal import CZeroMQ
internal import Glibc

/// Wakes a thread that waits in a ``Poller``, from any thread: an eventfd.
///
/// Signals add up: any number of them before the waiting thread looks are one wake-up.
package final class Wakeup: Sendable {
    let descriptor: Int32

    package init() throws(MessagingError) {
        descriptor = eventfd(0, Int32(EFD_CLOEXEC | EFD_NONBLOCK))
        guard descriptor >= 0 else { throw .failed(call: "eventfd", reason: MessagingError.reason(errno)) }
    }

    deinit { close(descriptor) }

    /// Wakes the waiting thread, or makes its next wait return at once.
    package func signal() {
        var one: UInt64 = 1
        while write(descriptor, &one, 8) < 0 && errno == EINTR {}
    }

    /// Forgets the signals so far; called by the waiting thread before it looks at what it was woken for.
    package func drain() {
        var count: UInt64 = 0
        while read(descriptor, &count, 8) < 0 && errno == EINTR {}
    }
}
