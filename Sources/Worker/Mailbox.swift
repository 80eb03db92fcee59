import Messaging
import Synchronization

/// Values handed to a thread that waits in a poller: any thread puts, one takes.
final class Mailbox<Element: Sendable>: Sendable {
    let wakeup: Wakeup
    private let waiting = Mutex<[Element]>([])

    init() throws(MessagingError) { wakeup = try Wakeup() }

    /// Puts a value and wakes the thread.
    func put(_ element: Element) {
        waiting.withLock { $0.append(element) }
        wakeup.signal()
    }

    /// Everything that was put since, in order.
    func takeAll() -> [Element] {
        wakeup.drain()
        return waiting.withLock { elements in
            defer { elements.removeAll(keepingCapacity: true) }
            return elements
        }
    }
}
