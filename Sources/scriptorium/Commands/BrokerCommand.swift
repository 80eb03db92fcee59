import ArgumentParser
import ArtifactStore
import Broker
import Encodings
import Glibc
import Logging
import Messaging
import Operations
import Supervision
import TaskStore

/// `scriptorium broker`: one broker, to scale out.
struct BrokerCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "broker", abstract: "Run one broker: it takes tasks, hands them to workers and writes their results to PostgreSQL.",
        discussion: "The database: --database-url, DATABASE_URL, or libpq's PGHOST and its kin. Any number of brokers share one database.")

    @OptionGroup(title: "Endpoints")
    var endpoints: EndpointOptions

    @OptionGroup(title: "Keys")
    var curve: CurveServerOptions

    @Option(help: ArgumentHelp("The database, as libpq writes it.", valueName: "url"))
    var databaseUrl: String?

    @Option(help: ArgumentHelp("The artifact store.", valueName: "folder"))
    var artifacts = "./.scriptorium/artifacts"

    @OptionGroup(title: "Datasets by address")
    var web: WebOptions

    @Option(help: ArgumentHelp("The address that other brokers and their workers reach this one at; by default the host's name.", valueName: "host"))
    var advertise: String?

    @Option(help: ArgumentHelp("The largest request.", valueName: "bytes"))
    var maxRequest = 16 << 20

    @Option(help: ArgumentHelp("How long a drain may take after SIGTERM.", valueName: "seconds"))
    var drainTimeout = 10.0

    @Option(help: ArgumentHelp("The schema's SQL files, where they are not found by themselves.", valueName: "folder"))
    var migrations: String?

    @OptionGroup(title: "Retention")
    var retention: RetentionOptions

    @OptionGroup(title: "Logging")
    var logging: LogOptions

    @Flag(help: "Print the endpoints as one JSON object once ready.")
    var json = false

    @Flag(help: .hidden)
    var lifeline = false

    func validate() throws {
        guard (1024...(64 << 20)).contains(maxRequest) else { throw ValidationError("--max-request: \(maxRequest) is not in 1024 … 67108864") }
        guard (0...3600).contains(drainTimeout) else { throw ValidationError("--drain-timeout: \(drainTimeout) is not in 0 … 3600") }
    }

    func run() async throws {
        let options = try brokerOptions()
        let http = try endpoints.httpAddress()
        let url = try DatabasePreparation.url(databaseUrl)
        let migrator = try DatabasePreparation.migrator(migrations)
        let logger = logging.start("scriptorium.broker")
        let registry = MetricsRegistry()
        registry.bootstrap()
        try await onThread(throwing: {
            let connection = try DatabasePreparation.connect(url, withinSeconds: 3, setup: .broker)
            do throws(MigrationError) { try migrator.requireCurrent(connection) } catch { throw DatabasePreparation.failure(error) }
        })
        let store: ArtifactDirectory
        do throws(ArtifactError) {
            store = try ArtifactDirectory(path: artifacts)
        } catch {
            throw CommandFailure.usage("--artifacts: \(error)")
        }
        let service = try BrokerService(
            options: options, store: PostgreSQLGateway(url: url, artifacts: store, web: try web.artifacts(store)), artifacts: store, logger: logger)
        let role = ServiceHost.Role(
            start: {
                do {
                    return try service.start().byName
                } catch {
                    throw CommandFailure.failed("\(error)")
                }
            },
            drain: { service.drain() },
            reload: { service.reloadKeys() },
            waitUntilEnded: {
                service.waitUntilEnded()
                return nil
            },
            readiness: { service.snapshot.readiness },
            metrics: { service.snapshot.families + registry.families() })
        let (isJSON, hasLifeline) = (json, lifeline)
        let host = ServiceHost(role: role, http: http, logger: logger, hasLifeline: hasLifeline) { endpoints in
            var object = JSONObject()
            for name in endpoints.keys.sorted() { object[name] = .string(endpoints[name] ?? "") }
            let line = String(decoding: JSONValue.object(object).serialised, as: UTF8.self)
            if hasLifeline { Lifeline.report(line) }
            if isJSON {
                print(line)
                fflush(nil)
            }
            logger.notice("broker ready", metadata: endpoints.mapValues { "\($0)" })
        }
        throw ExitCode(try await host.run())
    }

    private static func hostName() -> String {
        var name = [CChar](repeating: 0, count: 256)
        return gethostname(&name, name.count - 1) == 0 ? String(decoding: name.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self) : ""
    }

    private func brokerOptions() throws -> BrokerOptions {
        var options = BrokerOptions()
        options.tasksEndpoint = endpoints.tasksEndpoint
        options.eventsEndpoint = endpoints.eventsEndpoint
        options.workersEndpoint = endpoints.workersEndpoint
        options.peersEndpoint = endpoints.peersEndpoint
        options.allowsInsecure = endpoints.insecure
        options.drainSeconds = drainTimeout
        options.version = Version.number
        options.host = Self.hostName()
        options.advertisedHost = advertise
        options.settings.maximumRequestBytes = maxRequest
        options.settings.retention = retention.policy
        options.security = try curve.security()
        try endpoints.checkReach(hasKeys: options.security != nil)
        return options
    }
}
