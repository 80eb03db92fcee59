import ArgumentParser
import Encodings
import Glibc
import Kernels
import Messaging
import Supervision
import TaskStore
import Worker

/// `scriptorium up`: a whole service on one machine, supervised.
struct UpCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "up", abstract: "Run a whole service on this machine: PostgreSQL, a broker and workers, supervised.",
        discussion: """
            Keeps everything in --data-dir: a private PostgreSQL cluster (loopback, with a password), the artifact store, logs, and service.json, \
            which tells client commands where the endpoints are. Ctrl-C stops all of it.

            With --curve-key its broker asks for keys: `up` makes a pair for its own workers and one for client commands on this machine (in \
            DATA_DIR/keys) and lets them in beside those that --curve-clients and --curve-workers list.
            """)

    @Option(help: ArgumentHelp("Where everything is kept.", valueName: "folder"))
    var dataDir = "./.scriptorium"

    @Option(help: "How many worker processes to run.")
    var workers = 1

    @Option(help: ArgumentHelp("Use this PostgreSQL instead of a private one.", valueName: "url"))
    var databaseUrl: String?

    @OptionGroup(title: "Endpoints")
    var endpoints: EndpointOptions

    @OptionGroup(title: "Keys")
    var curve: CurveServerOptions

    @OptionGroup(title: "Proofs")
    var signing: SigningOptions

    @OptionGroup(title: "Datasets by address")
    var web: WebOptions

    @OptionGroup(title: "Retention")
    var retention: RetentionOptions

    @OptionGroup(title: "Searching")
    var searching: TextSearchOptions

    @Option(help: ArgumentHelp("Threads of each worker's engine; default: the processors, shared out.", valueName: "count"))
    var threads: Int?

    @Option(help: "Sequences that each worker runs at once.")
    var slots = 16

    @OptionGroup
    var preloads: PreloadOptions

    @Option(help: ArgumentHelp("How long generates may go on after SIGTERM.", valueName: "seconds"))
    var drainTimeout = 10.0

    @Option(help: ArgumentHelp("The schema's SQL files, where they are not found by themselves.", valueName: "folder"))
    var migrations: String?

    @Flag(help: "Print the endpoints as one JSON object.")
    var json = false

    func validate() throws {
        guard (0...1024).contains(workers) else { throw ValidationError("--workers: \(workers) is not in 0 … 1024") }
    }

    func run() async throws {
        let command = self
        let status = try await onThread(throwing: { try command.supervise() })
        throw ExitCode(status)
    }

    private func supervise() throws -> Int32 {
        // Its workers would end with this failure one after another.
        try InstructionSet.chosen()
        let directory: DataDirectory
        do { directory = try DataDirectory(dataDir) } catch { throw CommandFailure.usage("\(error)") }
        let interruption = Interruption()
        let watcher = SignalWatcher { _ in interruption.raise() }
        let keys = try HouseKeys(curve, directory)
        try endpoints.checkReach(hasKeys: keys != nil)
        let stack = ServiceStack(directory: directory, options: try stackOptions(keys), hooks: hooks(directory, keys, interruption))
        do {
            try stack.start(until: watcher.first)
        } catch let error as ProcessError {
            throw CommandFailure.failed("\(error)")
        } catch {
            // Preparing the database is cut short by a signal: an index may take hours.
            guard watcher.first.value != nil else { throw error }
            return watcher.exitStatus
        }
        stack.supervise(until: watcher.first)
        unlink(directory.serviceFile)
        stack.stopAll()
        return watcher.exitStatus
    }

    private func stackOptions(_ keys: HouseKeys?) throws -> ServiceStack.Options {
        guard
            let program = realpath("/proc/self/exe", nil).map({ path in
                defer { free(path) }; return String(cString: path)
            })
        else {
            throw CommandFailure.failed("the program's own path cannot be found in /proc")
        }
        _ = try endpoints.httpAddress()
        _ = try signing.key()
        let perWorker = threads ?? max(1, sysconf(Int32(_SC_NPROCESSORS_ONLN)) / max(1, workers))
        let drain = ["--drain-timeout", String(drainTimeout)]
        let kept = Program.environment().filter { name, _ in
            !name.hasPrefix("PG") && name != "DATABASE_URL" && (!name.hasPrefix("SCRIPTORIUM_") || name == "SCRIPTORIUM_ISA")
        }
        return ServiceStack.Options(
            executable: program, databaseURL: databaseUrl, workers: workers, endpoints: endpoints.sockets + [("http", endpoints.http)],
            brokerArguments: drain + (endpoints.insecure ? ["--insecure"] : []) + (migrations.map { ["--migrations", $0] } ?? [])
                + web.arguments + (keys?.brokerArguments ?? []) + retention.arguments,
            workerArguments: drain + ["--threads", String(perWorker), "--slots", String(slots)] + (keys?.workerArguments ?? [])
                + signing.arguments + preloads.arguments, environment: kept,
            stopSeconds: drainTimeout + 10, workerStopSeconds: WorkerCore.longestDrainSeconds(drainTimeout) + 10)
    }

    private func hooks(_ directory: DataDirectory, _ keys: HouseKeys?, _ interruption: Interruption) -> ServiceStack.Hooks {
        let (migrations, textSearch) = (migrations, searching.textSearch)
        let isJSON = json
        let started = Clock.now()
        var isAnnounced = false
        return ServiceStack.Hooks(
            prepareDatabase: {
                try DatabasePreparation.run($0, migrations: migrations, textSearch: textSearch, interruption: interruption, say: Self.say)
            },
            readReport: { line in
                guard let members = try JSONValue.parse(line).objectValue else { return [:] }
                var endpoints: [String: String] = [:]
                for (name, value) in members { endpoints[name] = value.stringValue }
                return endpoints
            },
            reach: { Listening.reachable($0) },
            changed: { stack in
                let file = Self.serviceFile(stack, directory, started, keys)
                try DataDirectory.write(file.text, to: directory.serviceFile, mode: 0o600)
                guard !isAnnounced else { return }
                isAnnounced = true
                print(isJSON ? String(decoding: JSONValue.object(file.endpoints).serialised, as: UTF8.self) : file.table)
                fflush(nil)
            },
            say: Self.say)
    }

    private static func say(_ line: String) {
        let bytes = Array((line + "\n").utf8)
        _ = write(STDERR_FILENO, bytes, bytes.count)
    }

    private static func serviceFile(
        _ stack: ServiceStack, _ directory: DataDirectory, _ started: String, _ keys: HouseKeys?
    ) -> ServiceFile {
        let pid = { (pid: Int32?) in pid.map { JSONValue.integer(Int64($0)) } ?? .null }
        return ServiceFile(
            tasks: stack.endpoints["tasks"] ?? "", events: stack.endpoints["events"] ?? "", workers: stack.endpoints["workers"] ?? "",
            peers: stack.endpoints["peers"] ?? "", http: stack.endpoints["http"] ?? "", databaseURL: stack.databaseURL,
            artifacts: directory.artifacts, startedAt: started,
            pids: [
                "up": .integer(Int64(getpid())), "postgres": pid(stack.postgresPID), "broker": pid(stack.brokerPID),
                "workers": .array(stack.workerPIDs.map { .integer(Int64($0)) }),
            ], keys: keys.map { ($0.serverKey, $0.clientFile) })
    }
}
