import Foundation
import Synchronization

/// A call on a thread of its own, for what blocks while the test does something else.
final class BlockingCall<Value: Sendable>: Sendable {
    private let outcome = Mutex<Result<Value, any Error>?>(nil)

    struct Overdue: Error {}

    init(_ body: @escaping @Sendable () throws -> Value) {
        Thread.detachNewThread {
            let result = Result { try body() }
            self.outcome.withLock { $0 = result }
        }
    }

    var isDone: Bool { outcome.withLock { $0 != nil } }

    /// What it returned, or threw.
    func value() throws -> Value {
        try eventually { isDone }
        return try outcome.withLock { try $0?.get() } ?? { throw Overdue() }()
    }
}

/// Waits until something is so, for a minute at most.
func eventually(_ condition: () throws -> Bool) throws {
    let end = ContinuousClock.now + .seconds(60)
    while try !condition() {
        guard ContinuousClock.now < end else { throw BlockingCall<Void>.Overdue() }
        usleep(5_000)
    }
}
