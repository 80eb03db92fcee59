internal import Synchronization

/// Values handed to a thread that waits in a ``Poller``: any thread puts, one takes.
package final class Mailbox<Element: Sendable>: Sendable {
    /// Signalled by every put; the taker's poller watches it.
    package let wakeup: Wakeup
    private let waiting = Mutex<[Element]>([])

    package init() throws(MessagingError) { wakeup = try Wakeup() }

    /// Puts a value and wakes the thread.
    package func put(_ element: Element) {
        waiting.withLock { $0.append(element) }
        wakeup.signal()
    }

    /// Everything that was put since, in order.
    package func takeAll() -> [Element] {
        wakeup.drain()
        return waiting.withLock { elements in
            defer { elements.removeAll(keepingCapacity: true) }
            return elements
        }
    }
}
