internal import Glibc

/// A queue between threads that block on it; never used on Swift's cooperative pool except to put.
///
/// `@unchecked Sendable`: every access to the stored properties happens between lock and unlock of `mutex`.
final class WorkQueue: @unchecked Sendable {
    private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private let condition = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
    private var items: [Work] = []
    private var head = 0
    private var closed = false
    /// Threads that took something and have not come back for more.
    private var atWork = 0
    /// Threads whose connection stands.
    private var connected = 0

    init() {
        pthread_mutex_init(mutex, nil)
        pthread_cond_init(condition, nil)
    }

    deinit {
        pthread_cond_destroy(condition)
        pthread_mutex_destroy(mutex)
        condition.deallocate()
        mutex.deallocate()
    }

    var count: Int { locked { items.count - head } }
    /// Whether something waits, or is being done.
    var isAnyoneAtWork: Bool { locked { atWork > 0 || head < items.count } }

    func put(_ work: Work) {
        locked { items.append(work) }
        pthread_cond_signal(condition)
    }

    /// Counts a thread among those whose connection stands, or no longer.
    /// - Parameter isCounted: the thread's own note of it.
    func count(_ isConnected: Bool, _ isCounted: inout Bool) {
        guard isConnected != isCounted else { return }
        isCounted = isConnected
        locked { connected += isConnected ? 1 : -1 }
        // Those that wait for work without a connection leave it to this one from now on.
        pthread_cond_broadcast(condition)
    }

    /// Whether others have a connection, so that a thread without one need not answer for the database.
    var isServed: Bool { locked { connected > 0 && !closed } }

    func close() {
        locked { closed = true }
        pthread_cond_broadcast(condition)
    }

    /// What a thread is to do next.
    enum Turn {
        case work(Work)
        /// Others have a connection, and this thread has none: the work is for them.
        case elsewhere
        /// The queue is closed and empty.
        case end
    }

    /// Waits for work.
    /// - Parameters:
    ///   - isBack: the thread had taken something before.
    ///   - isConnected: its connection stands.
    func take(isBack: Bool, isConnected: Bool) -> Turn {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        if isBack { atWork -= 1 }
        while true {
            if !isConnected, connected > 0, !closed {
                // The signal that woke it may have been for work that another is to take.
                if head < items.count { pthread_cond_signal(condition) }
                return .elsewhere
            }
            if head < items.count { break }
            if closed { return .end }
            pthread_cond_wait(condition, mutex)
        }
        let work = items[head]
        head += 1
        atWork += 1
        if head == items.count {
            items.removeAll(keepingCapacity: true)
            head = 0
        } else if head >= 1024 {
            items.removeFirst(head)
            head = 0
        }
        return .work(work)
    }

    private func locked<Value>(_ body: () -> Value) -> Value {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        return body()
    }
}

/// A thread of its own for a blocking loop.
///
/// `@unchecked Sendable`: the handle is written once, before anybody else can see the object, and read by the one that joins.
final class PoolThread: @unchecked Sendable {
    private final class Body {
        let name: String
        let run: @Sendable () -> Void
        init(_ name: String, _ run: @escaping @Sendable () -> Void) {
            self.name = name
            self.run = run
        }

        /// glibc hides pthread_setname_np behind _GNU_SOURCE; the kernel takes a thread's name as a file too.
        func announceName() {
            let file = open("/proc/thread-self/comm", O_WRONLY | O_CLOEXEC)
            guard file >= 0 else { return }
            let bytes = Array(name.utf8.prefix(15))
            _ = write(file, bytes, bytes.count)
            Glibc.close(file)
        }
    }

    private var handle = pthread_t()
    private let isStarted: Bool

    /// - Parameter name: shown by the system's tools; up to 15 bytes.
    init(name: String, _ run: @escaping @Sendable () -> Void) {
        let body = Unmanaged.passRetained(Body(name, run))
        isStarted =
            pthread_create(
                &handle, nil,
                { argument in
                    guard let argument else { return nil }
                    let body = Unmanaged<Body>.fromOpaque(argument).takeRetainedValue()
                    body.announceName()
                    body.run()
                    return nil
                }, body.toOpaque()) == 0
        if !isStarted { body.release() }
    }

    func join() { if isStarted { pthread_join(handle, nil) } }
}
