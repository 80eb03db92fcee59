import ArgumentParser
import ArtifactStore
import Glibc
import Kernels
import Logging
import Messaging
import Operations
import Supervision
import Worker

/// `scriptorium worker`: one worker, to scale out.
struct WorkerCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "worker", abstract: "Run one worker: it holds the engines and runs what brokers hand it.",
        discussion: "It needs a broker's address, and no database. Models and datasets come through the broker, unless it mounts the artifact store.")

    @Option(help: ArgumentHelp("A broker's workers endpoint; repeatable. Also SCRIPTORIUM_WORKERS_ENDPOINT.", valueName: "endpoint"))
    var broker: [String] = []

    @Option(help: ArgumentHelp("Threads of the engine; default: one a processor.", valueName: "count"))
    var threads: Int?

    @Option(help: "Sequences that run at once.")
    var slots = 16

    @Option(help: ArgumentHelp("The artifact store, where it is mounted here; without it artifacts go through the broker.", valueName: "folder"))
    var artifacts: String?

    @Option(help: ArgumentHelp("Where artifacts are laid out as files.", valueName: "folder"))
    var cacheDir = "./.scriptorium/cache"

    @Option(help: ArgumentHelp("How much of the cache folder, and of memory for models, to use.", valueName: "bytes"))
    var cacheBytes = 16 << 30

    @Option(help: ArgumentHelp("How long generates may go on after SIGTERM.", valueName: "seconds"))
    var drainTimeout = 10.0

    @OptionGroup
    var preloads: PreloadOptions

    @Option(help: ArgumentHelp("Health and metrics over HTTP; off without it.", valueName: "host:port"))
    var http: String?

    @Flag(help: "Let --http be open to other machines.")
    var insecure = false

    @OptionGroup(title: "Keys")
    var curve: CurveClientOptions

    @OptionGroup(title: "Proofs")
    var signing: SigningOptions

    @OptionGroup(title: "Logging")
    var logging: LogOptions

    @Flag(help: .hidden)
    var lifeline = false

    func validate() throws {
        guard (1...1024).contains(slots) else { throw ValidationError("--slots: \(slots) is not in 1 … 1024") }
        if let threads, !(1...1024).contains(threads) { throw ValidationError("--threads: \(threads) is not in 1 … 1024") }
        guard (0...3600).contains(drainTimeout) else { throw ValidationError("--drain-timeout: \(drainTimeout) is not in 0 … 3600") }
    }

    func run() async throws {
        try InstructionSet.chosen()
        let brokers = broker.isEmpty ? ["tcp://127.0.0.1:5572"] : broker
        for endpoint in brokers where !endpoint.isEndpoint {
            throw CommandFailure.usage("--broker: \(endpoint) is not an endpoint such as tcp://127.0.0.1:5572")
        }
        for endpoint in brokers where endpoint.contains("*") || endpoint.contains("0.0.0.0") {
            throw CommandFailure.usage("\(endpoint) is an address to listen on; name a broker's address to connect to")
        }
        let credentials = try curve.credentials(for: brokers)
        var address: OperationsServer.Address?
        if let http {
            guard let given = OperationsServer.Address(http) else { throw CommandFailure.usage("--http: \(http) is not host:port") }
            do { try Listening.check(http, hasKeys: credentials != nil, isInsecureAllowed: insecure) } catch {
                throw CommandFailure.usage("\(error)")
            }
            address = given
        }
        let signingKey = try signing.key()
        let logger = logging.start("scriptorium.worker")
        let registry = MetricsRegistry()
        registry.bootstrap()
        let service = try WorkerService(
            WorkerOptions(
                brokers: brokers, threads: threads ?? sysconf(Int32(_SC_NPROCESSORS_ONLN)), slots: slots, artifacts: artifacts,
                cacheDirectory: cacheDir, cacheBytes: cacheBytes, drainTimeoutSeconds: drainTimeout, version: Version.number,
                credentials: credentials, signingKey: signingKey, preloads: preloads.requests),
            log: logger)
        let role = ServiceHost.Role(
            start: {
                do { try service.start() } catch let error as ArtifactError { throw CommandFailure.usage("--artifacts: \(error)") }
                return [:]
            },
            drain: { service.drain() },
            waitUntilEnded: { service.join() },
            readiness: { service.snapshot.readiness },
            metrics: { service.snapshot.families + registry.families() })
        let hasLifeline = lifeline
        let host = ServiceHost(role: role, http: address, logger: logger, hasLifeline: hasLifeline) { endpoints in
            if hasLifeline { Lifeline.report("ready") }
            var metadata: Logger.Metadata = ["brokers": "\(brokers.joined(separator: ","))"]
            if let http = endpoints["http"] { metadata["http"] = "\(http)" }
            logger.notice("worker started", metadata: metadata)
        }
        throw ExitCode(try await host.run())
    }
}
