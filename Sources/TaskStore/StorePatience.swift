internal import Glibc

/// How long a connection waits for its server.
///
/// A server that is gone is found by TCP; one that hangs (a stopped process, a machine whose disk does not answer) keeps its connections and says
/// nothing. Whoever waits for it without a bound can neither answer nor end.
package struct StorePatience: Sendable {
    /// For one answer; nil waits as long as the connection stands.
    let seconds: Double?
    /// Cuts the wait short, whatever is left of it.
    package let interruption: Interruption?

    package init(seconds: Double?, interruption: Interruption? = nil) {
        self.seconds = seconds
        self.interruption = interruption
    }

    /// For migrations and commands: an index may take hours.
    package static let unbounded = StorePatience(seconds: nil)

    /// Longer than `statement_timeout`: a server that works says itself that a statement took too long.
    package static let ofRequests: Double = 25
    /// A second connection that is made only to learn what stands between: a pooler with none to give lets it wait.
    static let ofProbes: Double = 3
    /// A beat says that this broker lives: one that takes longer than the workers' patience is none.
    package static let ofBeats: Double = 6
}

/// Ends the waits of all connections that share it, from any thread: a pipe that stays readable once it was raised.
package final class Interruption: Sendable {
    /// Readable from ``raise()`` on.
    let descriptor: Int32
    private let writeEnd: Int32

    package init() {
        var ends: [Int32] = [-1, -1]
        _ = pipe(&ends)
        for end in ends where end >= 0 { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        (descriptor, writeEnd) = (ends[0], ends[1])
    }

    deinit { for end in [descriptor, writeEnd] where end >= 0 { close(end) } }

    package func raise() {
        var byte: UInt8 = 1
        while write(writeEnd, &byte, 1) < 0 && errno == EINTR {}
    }

    /// Whether it was raised: no wait is worth beginning any more.
    package var isRaised: Bool {
        var item = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        return poll(&item, 1, 0) > 0
    }
}

/// The wait for one answer of the server.
struct AnswerWait {
    private let deadline: Double?
    private let seconds: Double
    private let interruption: Interruption?

    init(_ patience: StorePatience) {
        seconds = patience.seconds ?? 0
        deadline = patience.seconds.map { Self.now() + $0 }
        interruption = patience.interruption
    }

    /// Waits until the socket is ready.
    /// - Throws: ``StoreError/connectionLost(_:)`` where the time is over or the wait was cut short; what was asked may still be done.
    func ready(_ socket: Int32, writable: Bool) throws(StoreError) {
        var items = [pollfd(fd: socket, events: Int16(writable ? POLLIN | POLLOUT : POLLIN), revents: 0)]
        if let interruption { items.append(pollfd(fd: interruption.descriptor, events: Int16(POLLIN), revents: 0)) }
        while true {
            let left = deadline.map { max(0, ($0 - Self.now()) * 1_000) }
            let count = poll(&items, nfds_t(items.count), left.map { Int32($0.rounded(.up)) } ?? -1)
            if count < 0 && errno == EINTR { continue }
            if items.count > 1, items[1].revents != 0 { throw .connectionLost("the wait for it was given up, as this process ends") }
            if count > 0 { return }
            throw .connectionLost("it has not answered for \(Int(seconds)) s")
        }
    }

    private static func now() -> Double {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return Double(time.tv_sec) + Double(time.tv_nsec) * 1e-9
    }
}
