import ArgumentParser
import ArtifactStore
import Diagnosis
import Encodings
import Glibc
import Kernels
import Messaging
import Supervision
import TaskStore

/// `scriptorium doctor`: what is wrong here, and what to do about it.
struct DoctorCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "doctor", abstract: "Check the machine, database, sockets, keys and model files, and say what to mend.",
        discussion: """
            Looks at the machine, and at what is named: by flags, the environment, or the service.json of --data-dir. Give it the settings of the \
            process that makes trouble. Changes nothing. Status 1 where a check failed; warnings do not count.
            """)

    @Option(help: ArgumentHelp("A broker's tasks endpoint; repeatable.", valueName: "endpoint"))
    var broker: [String] = []

    @Option(help: ArgumentHelp("A broker's events endpoint; repeatable.", valueName: "endpoint"))
    var eventsEndpoint: [String] = []

    @Option(help: ArgumentHelp("A broker's workers endpoint; repeatable. Name it with a worker's key.", valueName: "endpoint"))
    var workersEndpoint: [String] = []

    @Option(help: ArgumentHelp("A broker's peers endpoint; repeatable. Name it with a broker's key.", valueName: "endpoint"))
    var peersEndpoint: [String] = []

    @Option(help: ArgumentHelp("Where `scriptorium up` keeps its data.", valueName: "folder"))
    var dataDir = "./.scriptorium"

    @Option(help: ArgumentHelp("The database, as libpq writes it.", valueName: "url"))
    var databaseUrl: String?

    @Option(help: ArgumentHelp("The artifact store.", valueName: "folder"))
    var artifacts: String?

    @Option(help: ArgumentHelp("A model's folder; repeatable.", valueName: "folder"))
    var model: [String] = []

    @OptionGroup(title: "Keys")
    var keys: DoctorKeys

    @OptionGroup(title: "Functions")
    var functions: DoctorFunctions

    @Option(help: ArgumentHelp("The schema's SQL files, where they are not found by themselves.", valueName: "folder"))
    var migrations: String?

    @Flag(help: "Listening beyond loopback without keys is meant.")
    var insecure = false

    @Flag(help: "Print one JSON object a check.")
    var json = false

    func run() async throws {
        if functions.isAsked { return try await surveyFunctions() }
        // Where there is none at all, the check of the processor says so beside the others.
        if !InstructionSet.available.isEmpty { try InstructionSet.chosen() }
        let checks = try machineChecks + keys.checks() + databaseChecks() + doorChecks() + fileChecks()
        try report(await onThread { checks.flatMap { $0.findings() } })
    }

    /// A line of JSON is printed as soon as its function is done, so that a run that is cut off has said what it saw.
    private func surveyFunctions() async throws {
        let isJSON = json
        let findings = try await functions.findings { if isJSON { Self.show(Self.lines([$0])) } }
        if !json { Self.show(Self.table(findings)) }
        try judge(findings)
    }

    private func report(_ findings: [Finding]) throws {
        Self.show(json ? Self.lines(findings) : Self.table(findings))
        try judge(findings)
    }

    private func judge(_ findings: [Finding]) throws {
        let failed = findings.count { $0.verdict == .fail }
        if failed > 0 { throw CommandFailure.failed("\(failed) of \(findings.count) checks failed") }
    }

    // MARK: What to look at

    private var machineChecks: [any Check] { [ProcessorCheck(), MemoryCheck(), OpenFilesCheck(), LibraryCheck()] }

    /// A flag's value, else what the service of the data folder says.
    private func serviceMember(_ name: String, _ given: String?) throws -> String? {
        try given ?? ServiceFile.member(name, dataDirectory: dataDir)
    }

    private func url() throws -> String? {
        if databaseUrl == nil, let found = try? DatabasePreparation.url(nil) { return found }
        return try serviceMember("database_url", databaseUrl)
    }

    private func databaseChecks() throws -> [any Check] {
        guard let url = try url() else { return [] }
        return [DatabaseCheck(url: url, migrator: try DatabasePreparation.migrator(migrations))]
    }

    private func fileChecks() throws -> [any Check] {
        var checks: [any Check] = model.map { ModelDirectoryCheck(path: $0) }
        guard let path = try serviceMember("artifacts", artifacts) else { return checks }
        checks.append(ArtifactStoreCheck(path: path))
        if let url = try url(), let rows = FiledModelsCheck.models(url), !rows.isEmpty, let store = try? ArtifactDirectory(path: path) {
            checks.append(FiledModelsCheck(models: rows, store: store))
        }
        return checks
    }

    private func doorChecks() throws -> [any Check] {
        let named: [(door: DoorCheck.Door, endpoints: [String])] = [
            (.tasks, broker), (.events, eventsEndpoint), (.workers, workersEndpoint), (.peers, peersEndpoint),
        ]
        if named.contains(where: { !$0.endpoints.isEmpty }) {
            let all = named.flatMap(\.endpoints)
            let reach = keys.isBroker ? [ReachCheck(endpoints: all, hasKeys: keys.curveKey != nil, isInsecureAllowed: insecure)] : []
            return try reach
                + named.flatMap { door, endpoints in
                    try endpoints.compactMap { endpoint in
                        try keys.security(for: door, endpoint, among: endpoints).map { DoorCheck(door, endpoint: endpoint, security: $0) }
                    }
                }
        }
        return try ownDoors()
    }

    /// The doors of the service in the data folder, each with the key that `up` made for it.
    private func ownDoors() throws -> [any Check] {
        let server = try ServiceFile.member("server_key", dataDirectory: dataDir).flatMap { CurvePublicKey($0) }
        func check(_ door: DoorCheck.Door, _ file: String?) throws -> DoorCheck? {
            guard let endpoint = try ServiceFile.member(door.rawValue, dataDirectory: dataDir) else { return nil }
            guard let server else { return DoorCheck(door, endpoint: endpoint) }
            // A pair that cannot be read is the key check's to tell.
            guard let file, let pair = try? CurveKeyFile.read(file) else { return nil }
            return DoorCheck(door, endpoint: endpoint, security: .client(pair, server: server))
        }
        let client = try ServiceFile.member("client_key", dataDirectory: dataDir)
        let files: [any Check] = server == nil ? [] : [client, dataDir + "/keys/worker.key"].compactMap { $0.map { SecretKeyCheck(path: $0) } }
        let doors = [try check(.tasks, client), try check(.events, client), try check(.workers, dataDir + "/keys/worker.key")]
        return files + doors.compactMap { $0 }
    }

    // MARK: What is said

    private static func show(_ text: String) {
        print(text)
        fflush(nil)
    }

    private static func table(_ findings: [Finding]) -> String {
        let rows = findings.map { [$0.verdict.rawValue, $0.subject, $0.found + ($0.remedy.isEmpty ? "" : "; " + $0.remedy)] }
        return TextTable(columns: [.left(""), .left("check"), .left("found, and what to mend")], rows: rows).text
    }

    private static func lines(_ findings: [Finding]) -> String {
        findings.map { finding in
            let object: JSONObject = [
                "check": .string(finding.subject), "verdict": .string(finding.verdict.rawValue), "found": .string(finding.found),
                "mend": finding.remedy.isEmpty ? .null : .string(finding.remedy),
            ]
            return String(decoding: JSONValue.object(object).serialised, as: UTF8.self)
        }.joined(separator: "\n")
    }
}

/// The keys of the process that `doctor` looks after: a broker's with its lists, or a client's or worker's with the broker's public key.
struct DoctorKeys: ParsableArguments {
    @Option(help: ArgumentHelp("The secret key of the process.", valueName: "file"))
    var curveKey: String?

    @Option(
        parsing: .unconditionalSingleValue,
        help: ArgumentHelp("A client's or worker's: its brokers' public key, or a file that holds it; repeatable.", valueName: "key"))
    var curveServerKey: [String] = []

    @Option(help: ArgumentHelp("A broker's: its list of clients; repeatable.", valueName: "file"))
    var curveClients: [String] = []

    @Option(help: ArgumentHelp("A broker's: its list of workers; repeatable.", valueName: "file"))
    var curveWorkers: [String] = []

    @Option(help: ArgumentHelp("A broker's: its list of brokers; repeatable.", valueName: "file"))
    var curveBrokers: [String] = []

    /// Whether these are the settings of a broker: it listens, the others connect.
    var isBroker: Bool { curveServerKey.isEmpty && !(curveClients + curveWorkers + curveBrokers).isEmpty }

    func checks() -> [any Check] {
        var checks: [any Check] = curveKey.map { [SecretKeyCheck(path: $0)] } ?? []
        for (flag, files) in [("--curve-clients", curveClients), ("--curve-workers", curveWorkers), ("--curve-brokers", curveBrokers)] {
            checks += files.map { KeyListCheck(flag: flag, path: $0) }
        }
        return checks + [SeparateRolesCheck(clients: curveClients, workers: curveWorkers)]
    }

    /// How to knock at a door; nil where these keys do not belong to it: a broker's own pair opens the peers door only.
    func security(for door: DoorCheck.Door, _ endpoint: String, among endpoints: [String]) throws -> SocketSecurity? {
        // A file that cannot be used is told by its own check.
        guard let file = curveKey else { return SocketSecurity.none }
        guard let pair = try? CurveKeyFile.read(file) else { return nil }
        if isBroker { return door == .peers ? .client(pair, server: pair.publicKey) : nil }
        do throws(KeyFileError) {
            var servers: [CurvePublicKey] = []
            for key in curveServerKey { servers.append(try CurveKeyFile.publicKey(key)) }
            return CurveCredentials(keys: pair, servers: servers, endpoints: endpoints)?.security(for: endpoint)
        } catch {
            throw CommandFailure.usage("\(error)")
        }
    }
}
