internal import Glibc

/// Starts a detached thread: blocking work never runs on Swift's cooperative pool, which has as many threads as the machine has cores.
package func startThread(_ body: @escaping @Sendable () -> Void) {
    let box = Unmanaged.passRetained(ThreadBody(body))
    var thread = pthread_t()
    var attributes = pthread_attr_t()
    pthread_attr_init(&attributes)
    pthread_attr_setdetachstate(&attributes, Int32(PTHREAD_CREATE_DETACHED))
    let result = pthread_create(
        &thread, &attributes,
        { context in
            if let context { Unmanaged<ThreadBody>.fromOpaque(context).takeRetainedValue().body() }
            return nil
        }, box.toOpaque())
    pthread_attr_destroy(&attributes)
    // Out of threads: the work must still be done, or its waiters would hang.
    if result != 0 { box.takeRetainedValue().body() }
}

/// Runs a blocking call on a thread of its own and awaits its value.
package func onThread<Value: Sendable>(_ body: @escaping @Sendable () -> Value) async -> Value {
    await withCheckedContinuation { continuation in
        startThread { continuation.resume(returning: body()) }
    }
}

/// Runs a blocking call that may fail on a thread of its own and awaits it.
package func onThread<Value: Sendable>(throwing body: @escaping @Sendable () throws -> Value) async throws -> Value {
    try await withCheckedThrowingContinuation { continuation in
        startThread { continuation.resume(with: Result { try body() }) }
    }
}

private final class ThreadBody: Sendable {
    let body: @Sendable () -> Void
    init(_ body: @escaping @Sendable () -> Void) { self.body = body }
}
