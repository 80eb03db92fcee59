internal import CZeroMQ
internal import Glibc

/// Waits for sockets, wake-ups and file descriptors of one thread with `zmq_poll` (a socket's own descriptor is edge-triggered and not for waiting on).
///
/// Members are added once; each is then named by the index that adding returned. A member must outlive the poller.
package struct Poller: ~Copyable {
    private var items: [zmq_pollitem_t] = []

    package init() {}

    /// Watches a socket for messages.
    @discardableResult
    package mutating func add(_ socket: borrowing Socket) -> Int {
        add(zmq_pollitem_t(socket: socket.handle, fd: 0, events: Int16(ZMQ_POLLIN), revents: 0))
    }

    /// Watches what a socket reports of its handshakes; nil where it reports nothing to its own thread.
    @discardableResult
    package mutating func addHandshakes(of socket: borrowing Socket) -> Int? {
        socket.monitor.map { add(zmq_pollitem_t(socket: $0, fd: 0, events: Int16(ZMQ_POLLIN), revents: 0)) }
    }

    /// Watches a wake-up.
    @discardableResult
    package mutating func add(_ wakeup: Wakeup) -> Int { add(descriptor: wakeup.descriptor) }

    /// Watches a plain file descriptor for reading.
    @discardableResult
    package mutating func add(descriptor: Int32) -> Int { add(zmq_pollitem_t(socket: nil, fd: descriptor, events: Int16(ZMQ_POLLIN), revents: 0)) }

    /// Whether the wait also ends when this member can be written to.
    package mutating func watchWritable(_ index: Int, _ isWatched: Bool) {
        items[index].events = Int16(isWatched ? ZMQ_POLLIN | ZMQ_POLLOUT : ZMQ_POLLIN)
    }

    /// Waits until a member is ready or the time is over.
    /// - Parameter milliseconds: 0 only looks, a negative value waits without end.
    /// - Returns: how many members are ready; 0 also after a signal.
    @discardableResult
    package mutating func wait(milliseconds: Int) throws(MessagingError) -> Int {
        let ready = zmq_poll(&items, Int32(items.count), milliseconds)
        if ready >= 0 { return Int(ready) }
        if zmq_errno() == EINTR {
            for index in items.indices { items[index].revents = 0 }
            return 0
        }
        throw .last("zmq_poll")
    }

    /// Whether the last wait saw something to read here.
    package func isReadable(_ index: Int) -> Bool { items[index].revents & Int16(ZMQ_POLLIN | ZMQ_POLLERR) != 0 }

    /// Whether the last wait saw room to write here.
    package func isWritable(_ index: Int) -> Bool { items[index].revents & Int16(ZMQ_POLLOUT) != 0 }

    private mutating func add(_ item: zmq_pollitem_t) -> Int {
        items.append(item)
        return items.count - 1
    }
}
