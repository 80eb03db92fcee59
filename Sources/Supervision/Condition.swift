internal import Glibc

/// A value that is set once and can be waited for by blocking threads.
///
/// `@unchecked Sendable`: `stored` is only touched with `mutex` held, and both C objects have one stable address in the heap.
package final class Condition<Value: Sendable>: @unchecked Sendable {
    private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private let changed = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
    private var stored: Value?

    package init() {
        pthread_mutex_init(mutex, nil)
        var attributes = pthread_condattr_t()
        pthread_condattr_init(&attributes)
        pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC)
        pthread_cond_init(changed, &attributes)
        pthread_condattr_destroy(&attributes)
    }

    deinit {
        pthread_cond_destroy(changed)
        pthread_mutex_destroy(mutex)
        changed.deallocate()
        mutex.deallocate()
    }

    /// The value, where it was set.
    package var value: Value? {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        return stored
    }

    /// Sets the value and wakes all who wait. Later calls change nothing.
    package func set(_ value: Value) {
        pthread_mutex_lock(mutex)
        if stored == nil { stored = value }
        pthread_cond_broadcast(changed)
        pthread_mutex_unlock(mutex)
    }

    /// Blocks the calling thread until the value is set.
    /// - Returns: nil where that did not happen within the time.
    package func wait(seconds: Double) -> Value? {
        let deadline = monotonicSeconds() + seconds
        var time = timespec(tv_sec: Int(deadline), tv_nsec: Int((deadline - deadline.rounded(.down)) * 1e9))
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        while stored == nil {
            if pthread_cond_timedwait(changed, mutex, &time) == ETIMEDOUT { break }
        }
        return stored
    }
}
