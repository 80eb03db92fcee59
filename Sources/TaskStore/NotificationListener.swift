internal import Glibc
internal import Synchronization

/// A thread that listens for `submit()` in SQL: it calls a closure when a notification came, and after each new connection, since what was
/// notified meanwhile is lost.
package final class NotificationListener: Sendable {
    private final class Flag: Sendable {
        let stopped = Atomic(false)
        let isToReconnect = Atomic(false)
    }

    private let flag = Flag()
    private let thread: PoolThread

    /// - Parameter wake: called on the listener's thread.
    package init(url: String, wake: @escaping @Sendable () -> Void) {
        let flag = flag
        thread = PoolThread(name: "store-listen") { Self.loop(url, flag, wake) }
    }

    /// Ends the thread; waits up to 250 ms for it.
    package func close() {
        flag.stopped.store(true, ordering: .relaxed)
        thread.join()
    }

    /// Gives the present connection up for a new one, within 250 ms; the closure is called once it stands.
    package func reconnect() { flag.isToReconnect.store(true, ordering: .relaxed) }

    private static func loop(_ url: String, _ flag: Flag, _ wake: @Sendable () -> Void) {
        var pause: UInt32 = 50_000
        while !flag.stopped.load(ordering: .relaxed) {
            do throws(StoreError) {
                let connection = try StoreConnection(url, patience: StorePatience(seconds: StorePatience.ofBeats))
                try connection.execute("LISTEN scriptorium", name: "listen")
                pause = 50_000
                wake()
                flag.isToReconnect.store(false, ordering: .relaxed)
                while !flag.stopped.load(ordering: .relaxed), !flag.isToReconnect.load(ordering: .relaxed) {
                    if try connection.waitForNotification(milliseconds: 250) { wake() }
                }
            } catch {
                usleep(min(pause, 250_000))
                pause = min(pause * 2, 2_000_000)
            }
        }
    }
}
