internal import CZeroMQ

/// One ZeroMQ context: its I/O threads and the place where `inproc` endpoints meet.
///
/// Sockets are made from it on the thread that uses and closes them. A context never crosses a fork: child processes are spawned, not forked.
/// - Note: `@unchecked Sendable` holds since libzmq's contexts are documented as thread-safe and the handle never changes.
package final class ZMQContext: @unchecked Sendable {
    let handle: UnsafeMutableRawPointer

    /// - Parameters:
    ///   - ioThreads: one carries about a gigabyte a second.
    ///   - maximumSockets: how many sockets can be open at once.
    package init(ioThreads: Int = 1, maximumSockets: Int = 1023) throws(MessagingError) {
        guard let made = zmq_ctx_new() else { throw .last("zmq_ctx_new") }
        handle = made
        zmq_ctx_set(made, ZMQ_IO_THREADS, Int32(ioThreads))
        zmq_ctx_set(made, ZMQ_MAX_SOCKETS, Int32(maximumSockets))
        zmq_ctx_set(made, ZMQ_IPV6, 0)
    }

    /// Makes every blocked call on this context's sockets fail with ``MessagingError/terminated``.
    package func shutdown() { zmq_ctx_shutdown(handle) }

    /// Waits until every socket is closed: sockets keep their context alive, so this never waits long (LINGER is bounded).
    deinit { while zmq_ctx_term(handle) != 0 && zmq_errno() == scriptoriumEINTR {} }

    /// The version of the library, as in `4.3.4`.
    package static var libraryVersion: String {
        var major: Int32 = 0
        var minor: Int32 = 0
        var patch: Int32 = 0
        zmq_version(&major, &minor, &patch)
        return "\(major).\(minor).\(patch)"
    }
}
