internal import Glibc

/// A whole service on one machine: PostgreSQL, a broker and its workers as child processes, started in that order and stopped in the other.
///
/// Each child has a process group of its own, so Ctrl-C reaches only the supervisor. A child that ends by itself is started again, a second
/// later each time up to half a minute; a broker keeps its ports. Broker and workers end when the supervisor is killed (their lifeline closes);
/// PostgreSQL is then stopped by the next start. Used from one thread.
package final class ServiceStack {
    /// What to run.
    package struct Options: Sendable {
        /// This program.
        package var executable: String
        /// A PostgreSQL server of the user's; nil runs a private one.
        package var databaseURL: String?
        package var workers: Int
        /// Endpoint options of the broker as given: option name (without dashes) and value.
        package var endpoints: [(option: String, value: String)]
        package var brokerArguments: [String]
        package var workerArguments: [String]
        /// The environment for the children, without database credentials.
        package var environment: [String: String]
        /// How long the broker may take to end after SIGTERM.
        package var stopSeconds: Double
        /// How long the workers, all at once, may take to end after SIGTERM: no less than they allow themselves.
        package var workerStopSeconds: Double

        package init(
            executable: String, databaseURL: String?, workers: Int, endpoints: [(option: String, value: String)], brokerArguments: [String],
            workerArguments: [String], environment: [String: String], stopSeconds: Double, workerStopSeconds: Double
        ) {
            self.executable = executable
            self.databaseURL = databaseURL
            self.workers = workers
            self.endpoints = endpoints
            self.brokerArguments = brokerArguments
            self.workerArguments = workerArguments
            self.environment = environment
            self.stopSeconds = stopSeconds
            self.workerStopSeconds = workerStopSeconds
        }
    }

    /// How the stack reaches parts that it does not know itself.
    package struct Hooks {
        /// Waits until a server answers and brings it to where brokers can use it.
        package var prepareDatabase: (DatabaseAddress) throws -> Void
        /// Reads the broker's report into endpoint by name (`tasks`, `events`, `workers`, `peers`, `http`).
        package var readReport: (_ line: String) throws -> [String: String]
        /// How processes on this machine reach an endpoint that the broker listens at.
        package var reach: (_ endpoint: String) -> String
        /// Called when the endpoints or process ids changed.
        package var changed: (ServiceStack) throws -> Void
        /// One line for the operator.
        package var say: (String) -> Void

        package init(
            prepareDatabase: @escaping (DatabaseAddress) throws -> Void, readReport: @escaping (String) throws -> [String: String],
            reach: @escaping (String) -> String, changed: @escaping (ServiceStack) throws -> Void, say: @escaping (String) -> Void
        ) {
            self.prepareDatabase = prepareDatabase
            self.readReport = readReport
            self.reach = reach
            self.changed = changed
            self.say = say
        }
    }

    /// A child's place in the stack.
    private enum Role: Hashable {
        case postgres, broker
        case worker(Int)

        var name: String {
            switch self {
            case .postgres: "postgres"
            case .broker: "broker"
            case .worker(let index): "worker-\(index + 1)"
            }
        }
    }

    private struct Member {
        /// The last one, also after its end.
        var child: ChildProcess?
        var pace = RestartPace()
        /// When it is started again, on the monotonic clock; nil while it runs.
        var restartAt: Double?
    }

    private let options: Options
    private let directory: DataDirectory
    private let hooks: Hooks
    private var cluster: PostgreSQLCluster?
    private var members: [Role: Member] = [:]
    private let workers: [Role]
    private var port = 0

    /// Where the broker listens, by name, once it is ready: it listens there again when it is started anew.
    private var listening: [String: String] = [:]
    /// The broker's endpoints by name, as they are reached from this machine, once it is ready.
    package var endpoints: [String: String] { listening.mapValues(hooks.reach) }
    /// The owner's connection string.
    package private(set) var databaseURL = ""

    package init(directory: DataDirectory, options: Options, hooks: Hooks) {
        self.directory = directory
        self.options = options
        self.hooks = hooks
        workers = (0..<options.workers).map { .worker($0) }
    }

    /// PostgreSQL's process id; nil where the server is somebody else's.
    package var postgresPID: Int32? { members[.postgres]?.child?.pid }
    /// The broker's process id.
    package var brokerPID: Int32? { members[.broker]?.child?.pid }
    /// The workers' process ids.
    package var workerPIDs: [Int32] { workers.compactMap { members[$0]?.child?.pid } }

    /// Starts everything. On an error whatever was started is stopped.
    package func start(until stop: Condition<Int32>) throws {
        do {
            try startDatabase()
            for role in [.broker] + workers where stop.value == nil { try start(role) }
            try hooks.changed(self)
        } catch {
            stopAll()
            throw error
        }
    }

    /// Watches the children until a stop is asked for.
    package func supervise(until stop: Condition<Int32>) {
        let roles = (cluster == nil ? [] : [Role.postgres]) + [.broker] + workers
        while stop.wait(seconds: 0.1) == nil {
            var isChanged = false
            for role in roles { isChanged = revive(role) || isChanged }
            if isChanged {
                do { try hooks.changed(self) } catch { hooks.say("service.json could not be written: \(error)") }
            }
        }
    }

    /// Stops everything: workers drain while the broker still takes their results, then the broker, PostgreSQL last.
    package func stopAll() {
        stopWorkers()
        members[.broker]?.child?.stop(signal: SIGTERM, withinSeconds: options.stopSeconds)
        // SIGINT is PostgreSQL's fast shutdown; SIGTERM would wait for every client to leave by itself.
        if let status = members[.postgres]?.child?.stop(signal: SIGINT, withinSeconds: 30), status != .exited(0) {
            hooks.say("PostgreSQL \(status): \(cluster?.lastLogLine ?? "")")
        }
    }

    /// Each worker is told once: a second signal would end it at once, in the middle of what it may still finish. They drain side by side, so
    /// one deadline holds for all of them.
    private func stopWorkers() {
        for worker in workers { members[worker]?.child?.signal(SIGTERM) }
        let deadline = monotonicSeconds() + options.workerStopSeconds
        for worker in workers {
            guard let child = members[worker]?.child else { continue }
            let status = child.wait(seconds: max(0, deadline - monotonicSeconds())) ?? child.stop(signal: SIGKILL, withinSeconds: 5)
            if let status, status != .exited(0) { hooks.say("\(worker.name) \(status)") }
        }
    }

    private func start(_ role: Role) throws {
        members[role, default: Member()].pace.begins(at: monotonicSeconds())
        switch role {
        case .postgres: try startPostgres()
        case .broker: try startBroker()
        case .worker: try startWorker(role)
        }
    }

    /// Starts a child again that ended by itself, when its ``RestartPace`` says so.
    /// - Returns: whether it has just been started.
    private func revive(_ role: Role) -> Bool {
        guard var member = members[role], let child = member.child, let status = child.status else { return false }
        guard let restartAt = member.restartAt else {
            hooks.say("\(role.name) \(status); it is started again")
            let now = monotonicSeconds()
            // While another child was started nobody looked here: how long this one lived it says itself.
            member.restartAt = now + member.pace.pause(ended: child.endedAt ?? now)
            members[role] = member
            return false
        }
        guard monotonicSeconds() >= restartAt else { return false }
        members[role]?.restartAt = nil
        do {
            try start(role)
            return true
        } catch {
            hooks.say("\(error)")
            return false
        }
    }

    // MARK: PostgreSQL

    private func startDatabase() throws {
        if let given = options.databaseURL {
            databaseURL = given
            try hooks.prepareDatabase(DatabaseAddress(owner: given))
            return
        }
        let cluster = try PostgreSQLCluster(directory)
        self.cluster = cluster
        if cluster.runsAsOtherUser { hooks.say("Running as root: PostgreSQL runs as the user postgres.") }
        try cluster.initialise()
        try cluster.stopLeftOver()
        for triesLeft in (0..<Self.portTries).reversed() {
            port = try PostgreSQLCluster.freePort()
            try start(.postgres)
            let address = try cluster.address(port: port)
            databaseURL = address.owner
            awaitServer(cluster)
            do {
                if members[.postgres]?.child?.status == nil { return try hooks.prepareDatabase(address) }
            } catch {
                guard members[.postgres]?.child?.status != nil else { throw error }
            }
            guard triesLeft > 0, cluster.foundItsPortTaken else {
                let status = members[.postgres]?.child?.status.map { "\($0)" } ?? "ended"
                throw ProcessError.setup("PostgreSQL \(status): \(cluster.lastLogLine)")
            }
        }
    }

    /// Waits until the server says that it takes connections, or has ended; who then connects waits on for what takes longer, as after a crash.
    private func awaitServer(_ cluster: PostgreSQLCluster) {
        guard let child = members[.postgres]?.child else { return }
        let deadline = monotonicSeconds() + 5
        while child.status == nil, !cluster.isReady(child.pid), monotonicSeconds() < deadline { usleep(10_000) }
    }

    /// Between the look for a free port and the server's start somebody else may take it.
    private static let portTries = 5

    private func startPostgres() throws {
        guard let cluster else { return }
        members[.postgres, default: Member()].child = try cluster.start(port: port)
    }

    // MARK: Broker and workers

    private func startBroker() throws {
        var environment = options.environment
        if let cluster {
            environment["SCRIPTORIUM_DATABASE_URL"] = try cluster.brokerURL(port: port)
        } else {
            environment["SCRIPTORIUM_DATABASE_URL"] = databaseURL
        }
        var arguments = ["broker", "--artifacts", directory.artifacts, "--lifeline"] + options.brokerArguments
        for (option, value) in options.endpoints {
            let name = option == "http" ? "http" : String(option.prefix { $0 != "-" })
            arguments += ["--" + option, listening[name] ?? value]
        }
        let child = try spawn(arguments, environment, log: "broker.log")
        members[.broker, default: Member()].child = child
        guard let line = child.reportedLine(withinSeconds: 60) else {
            throw ProcessError.setup("the broker did not become ready: \(lastWords(of: "broker.log"))")
        }
        listening = try hooks.readReport(line)
    }

    private func startWorker(_ role: Role) throws {
        let name = role.name
        let arguments =
            ["worker", "--broker", endpoints["workers"] ?? "", "--artifacts", directory.artifacts, "--cache-dir", directory.cache, "--lifeline"]
            + options.workerArguments
        let child = try spawn(arguments, options.environment, log: name + ".log")
        members[role, default: Member()].child = child
        guard child.reportedLine(withinSeconds: 60) != nil else {
            throw ProcessError.setup("\(name) did not become ready: \(lastWords(of: name + ".log"))")
        }
    }

    private func spawn(_ arguments: [String], _ environment: [String: String], log: String) throws -> ChildProcess {
        try ChildProcess.spawn(
            .init(
                executable: options.executable, arguments: arguments, environment: environment.map { $0.key + "=" + $0.value }.sorted(),
                logPath: directory.logs + "/" + log, hasPipes: true))
    }

    private func lastWords(of log: String) -> String {
        DataDirectory.read(directory.logs + "/" + log)?.split(separator: "\n").last.map(String.init) ?? "see \(directory.logs)/\(log)"
    }
}
