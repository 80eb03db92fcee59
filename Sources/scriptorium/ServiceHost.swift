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
        /// Blocks until everything under way is given back or done, and all is closed.
        var drain: @Sendable () -> Void
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
        let watcher = SignalWatcher { number in
            ServiceNotification.stopping()
            stop.yield(number)
        }
        let role = role
        var endpoints = try await onThread(throwing: role.start)
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
                await onThread { role.drain() }
                try await task.value
                throw CommandFailure.failed("the HTTP endpoint ended before it answered")
            }
            endpoints["http"] = address
        }
        ready(endpoints)
        ServiceNotification.ready()
        for await _ in stops { break }
        await onThread { role.drain() }
        await group?.triggerGracefulShutdown()
        try await serving?.value
        return watcher.exitStatus
    }
}
