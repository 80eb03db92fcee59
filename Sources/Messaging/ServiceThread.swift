internal import CZeroMQ
internal import Glibc

/// A thread of its own for what blocks or owns sockets: Swift's cooperative pool is for neither.
///
/// The body runs once; ``join()`` waits for its end and may be called from anywhere but the thread itself.
/// - Note: `@unchecked Sendable` holds since the handle is written before `init` returns and `join` lets one caller through.
package final class ServiceThread: @unchecked Sendable {
    private var handle = pthread_t()
    private var joinLock = pthread_mutex_t()
    private var isJoined = false

    /// - Parameters:
    ///   - name: shown by `ps -L` and debuggers, cut to 15 bytes.
    ///   - body: what the thread does; signals are blocked in it, so that the process's handlers run elsewhere.
    package init(name: String, _ body: @escaping @Sendable () -> Void) throws(MessagingError) {
        pthread_mutex_init(&joinLock, nil)
        let start = Unmanaged.passRetained(Start(name: name, body: body))
        let code = pthread_create(&handle, nil, runServiceThread, start.toOpaque())
        guard code == 0 else {
            start.release()
            throw .failed(call: "pthread_create", reason: MessagingError.reason(code))
        }
    }

    deinit {
        if !isJoined { pthread_detach(handle) }
        pthread_mutex_destroy(&joinLock)
    }

    /// Waits for the body to end; later calls return at once.
    package func join() {
        pthread_mutex_lock(&joinLock)
        defer { pthread_mutex_unlock(&joinLock) }
        if isJoined { return }
        pthread_join(handle, nil)
        isJoined = true
    }
}

private final class Start {
    let name: String
    let body: @Sendable () -> Void
    init(name: String, body: @escaping @Sendable () -> Void) {
        self.name = name
        self.body = body
    }
}

private func runServiceThread(_ argument: UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? {
    guard let argument else { return nil }
    let start = Unmanaged<Start>.fromOpaque(argument).takeRetainedValue()
    var all = sigset_t()
    sigfillset(&all)
    pthread_sigmask(SIG_BLOCK, &all, nil)
    pthread_setname_np(pthread_self(), String(start.name.prefix(15)))
    start.body()
    return nil
}
