import Glibc
import Logging
import Operations
import ServiceLifecycle
import Supervision

/// Runs one role of the service beside its HTTP endpoint, from "ready" to an orderly end.
///
/// The first SIGTERM or SIGINT drains; a second one stops at once (status 143). Under `scriptorium up` the process also ends when `up` is gone.
struct ServiceHost {
    /// The role's own life.
    struct Role: Sendable {
        /// Blocks until the role can take work; the endpoints it listens on, by name.
        var start: @Sendable () throws -> [String: String]
        /// Asks it to give back or finish what is under way, and to end; returns at once.
        var drain: @Sendable () -> Void
        /// SIGHUP: reads again what its operator may have changed.
        var reload: @Sendable () -> Void = {}
        /// Blocks until it has ended; called once. Why it ended by itself, where it knows.
        var waitUntilEnded: @Sendable () -> String?
        var readiness: @Sendable () -> Readiness
        var metrics: @Sendable () -> [MetricFamily]
    }

    var role: Role
    /// nil: no HTTP endpoint.
    var http: OperationsServer.Address?
    var logger: Logger
    var hasLifeline: Bool
    /// Called with all endpoints once the role and its HTTP endpoint answer.
    var ready: @Sendable ([String: String]) -> Void

    /// - Throws: where the role or the HTTP endpoint cannot start.
    /// - Returns: the process's exit status.
    func run() async throws -> Int32 {
        if hasLifeline {
            Lifeline.watch { _exit(143) }
        }
        let (stops, stop) = AsyncStream<Int32>.makeStream()
        let role = role
        let watcher = SignalWatcher(onHangUp: role.reload) { number in
            ServiceNotification.stopping()
            stop.yield(number)
        }
        var endpoints = try await onThread(throwing: role.start)
        // A role that ends by itself ends its process, with an error: supervisors start it anew, a silent process they would keep.
        let ended = Condition<String>()
        startThread {
            ended.set(role.waitUntilEnded() ?? "see the log")
            stop.yield(0)
        }
        var serving: Task<Void, any Error>?
        var group: ServiceGroup?
        if let http {
            let (addresses, found) = AsyncStream<String?>.makeStream()
            let server = OperationsServer(
                address: http, logger: logger, readiness: role.readiness, metrics: role.metrics, listening: { found.yield($0) })
            let services = ServiceGroup(configuration: .init(services: [server], logger: logger))
            let task = Task {
                defer { found.yield(nil) }
                try await services.run()
            }
            (serving, group) = (task, services)
            var iterator = addresses.makeAsyncIterator()
            guard let address = await iterator.next() ?? nil else {
                role.drain()
                await onThread { _ = ended.wait(seconds: 86_400) }
                try await task.value
                throw CommandFailure.failed("the HTTP endpoint ended before it answered")
            }
            endpoints["http"] = address
        }
        // Who was asked to end while it started is not ready, and never will be.
        if watcher.first.value == nil {
            ready(endpoints)
            ServiceNotification.ready()
        }
        for await _ in stops { break }
        role.drain()
        let reason = await onThread { ended.wait(seconds: 86_400) }
        await group?.triggerGracefulShutdown()
        try await serving?.value
        if watcher.first.value == nil { throw CommandFailure.failed("the service ended by itself: \(reason ?? "")") }
        return watcher.exitStatus
    }
}
