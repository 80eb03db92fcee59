import Encodings
import FoundationEssentials
import Supervision
import TaskProtocol
import TaskStore

/// Measures the claim by the product's own statements: batches are published, leased and completed over one connection, as fast as it goes.
///
/// As brokers do, a claim starts at the low-water mark that the last one left, and once a second it looks through the whole line.
struct ClaimBenchmark {
    /// Finished tasks to lay in the database first.
    var finished: Int
    /// Tasks that stand in line behind those that are leased.
    var waiting: Int
    /// Of each phase.
    var seconds: Double
    /// Tasks that are published, leased and completed at once.
    var batch: Int
    /// How often the phases take turns.
    var rounds: Int

    /// What one phase found.
    struct Phase {
        var name: String
        var finished: Int
        var waiting: Int
        var batch: Int
        var tasks = 0
        var seconds = 0.0
        /// Of the database's processor, for the batches' connection; nil where the server runs elsewhere.
        var serverSeconds: Double?
        /// Milliseconds of claims from the mark, and of those that looked through the whole line.
        var claims: [Double] = []
        var scans: [Double] = []

        private static func percentile(_ times: [Double], _ share: Double) -> Double {
            times.isEmpty ? 0 : times.sorted()[min(times.count - 1, Int(Double(times.count) * share))]
        }

        private static func rounded(_ value: Double) -> JSONValue { .real((value * 100).rounded() / 100) }

        var json: JSONObject {
            var members: JSONObject = [
                "bench": "claim", "phase": .string(name), "finished": .integer(Int64(finished)),
                "waiting": .integer(Int64(waiting)), "batch": .integer(Int64(batch)),
                "tasks": .integer(Int64(tasks)), "tasks_per_second": Self.rounded(Double(tasks) / seconds),
                "claim_p50_ms": Self.rounded(Self.percentile(claims, 0.5)), "claim_p99_ms": Self.rounded(Self.percentile(claims, 0.99)),
                "scan_p50_ms": Self.rounded(Self.percentile(scans, 0.5)), "scan_p99_ms": Self.rounded(Self.percentile(scans, 0.99)),
            ]
            if let serverMicroseconds { members["server_us_per_task"] = Self.rounded(serverMicroseconds) }
            return members
        }

        /// Less moved by what else the machine does than ``seconds``.
        private var serverMicroseconds: Double? { tasks == 0 ? nil : serverSeconds.map { $0 / Double(tasks) * 1_000_000 } }

        var line: String {
            let milliseconds = { (value: Double) in "\((value * 100).rounded() / 100) ms" }
            return "claim    \(name): \(Int(Double(tasks) / seconds)) tasks/s; \(batch) leased in p50 "
                + "\(milliseconds(Self.percentile(claims, 0.5))), p99 \(milliseconds(Self.percentile(claims, 0.99))); a look at the whole line p50 "
                + "\(milliseconds(Self.percentile(scans, 0.5))), p99 \(milliseconds(Self.percentile(scans, 0.99)))"
                + (serverMicroseconds.map { "; \(Int($0)) us of the server's processor a task" } ?? "")
        }
    }

    /// - Parameter report: is told of each phase when it is over.
    func run(_ database: BenchmarkDatabase, _ report: (Phase) -> Void) throws {
        try QueueBenchmark.registerModel(database.url)
        try database.addFinished(finished)
        let connection = try DatabasePreparation.connect(database.url, withinSeconds: 0, setup: .broker)
        let server = try ServerProcessor(connection, isLocal: database.isOwn)
        var line = try Line(StoreSession(connection), batch: batch)
        for _ in 0..<(waiting + batch - 1) / batch { try line.publish() }
        // The first seconds fill caches.
        _ = try phase("warm", min(seconds, 3), &line, server)
        for _ in 0..<rounds {
            report(try phase("clean", seconds, &line, server))
            let other = try DatabasePreparation.connect(database.url, withinSeconds: 0, setup: .migration)
            try other.execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM scriptorium.queues", name: "bench_hold")
            report(try phase("held", seconds, &line, server))
            try other.execute("COMMIT", name: "bench_let_go")
        }
        report(try phase("clean", seconds, &line, server))
        for _ in 0..<(waiting + batch - 1) / batch { try line.complete(line.claim(whole: true)) }
        try line.end()
    }

    private func phase(_ name: String, _ seconds: Double, _ line: inout Line, _ server: ServerProcessor) throws -> Phase {
        var phase = Phase(name: name, finished: finished, waiting: waiting, batch: batch)
        let used = server.seconds
        let begin = monotonicSeconds()
        var nextScan = begin
        while monotonicSeconds() < begin + seconds {
            try line.publish()
            let isScan = monotonicSeconds() >= nextScan
            if isScan { nextScan = monotonicSeconds() + 1 }
            let before = monotonicSeconds()
            let grants = try line.claim(whole: isScan)
            let milliseconds = (monotonicSeconds() - before) * 1000
            if isScan { phase.scans.append(milliseconds) } else { phase.claims.append(milliseconds) }
            try line.complete(grants)
            phase.tasks += grants.count
        }
        phase.seconds = monotonicSeconds() - begin
        if let used, let now = server.seconds { phase.serverSeconds = now - used }
        return phase
    }
}

/// The processor time of the server's process for one connection.
private struct ServerProcessor {
    private let path: String?
    private static let ticksPerSecond = 100.0

    init(_ connection: StoreConnection, isLocal: Bool) throws {
        let pid = try connection.run(Statement("bench_pid", "SELECT pg_backend_pid()::bigint")).requireInt(0, 0)
        path = isLocal ? "/proc/\(pid)/stat" : nil
    }

    /// Fields 14 and 15 of proc(5)'s stat, counted from behind the name, which may hold blanks.
    var seconds: Double? {
        guard let path, let text = try? String(contentsOfFile: path, encoding: .utf8), let end = text.lastIndex(of: ")") else { return nil }
        let fields = text[end...].split(separator: " ")
        guard fields.count > 13, let user = Double(fields[12]), let system = Double(fields[13]) else { return nil }
        return (user + system) / Self.ticksPerSecond
    }
}

/// A queue with one session, as one broker sees it.
private struct Line {
    private let store: StoreSession
    private let batch: Int
    private let broker = UUIDValue.random()
    private let session = UUIDValue.random()
    private var lowWater: Int64?

    init(_ store: StoreSession, batch: Int) throws {
        self.store = store
        self.batch = batch
        let registration = SessionRegistration(
            session: session, broker: broker, host: "bench", pid: 0, version: Version.number, numerics: [], instructionSet: "none", threads: 1,
            slots: batch)
        guard case .done = store.perform(.registerSession(registration)) else { throw Self.refused("its session") }
    }

    private static func refused(_ what: String) -> CommandFailure { .failed("the database refused \(what) of the benchmark") }

    private static let submission = TaskSubmission(
        parameters: .generate(GenerateParameters(model: "bench")), submittedParams: Array("{\"model\":\"bench\"}".utf8))

    /// As workers say what they know.
    private static let names = Set(TaskParameters.knownNames)

    func publish() throws {
        let now = Clock.milliseconds
        let items = (0..<batch).map { _ in
            SubmitItem(id: UUIDValue.version7(milliseconds: now), submission: Self.submission, seed: 1, seedAssigned: false)
        }
        guard case .submitted(let outcomes) = store.perform(.submit([SubmitGroup(items: items)])), case .accepted = outcomes[0] else {
            throw Self.refused("the tasks")
        }
    }

    mutating func claim(whole: Bool) throws -> [Grant] {
        let offer = PlacementOffer(session: session, freeSlots: batch, idle: true, models: [], numerics: [], parameters: Self.names)
        let request = ClaimRequest(
            broker: broker, queue: "default", offers: [offer], leases: (0..<batch).map { _ in .random() }, fromRank: whole ? nil : lowWater,
            limit: 1000)
        guard case .claimed(let reply) = store.perform(.claim(request)), !reply.grants.isEmpty else { throw Self.refused("the claim") }
        lowWater = reply.lowWater ?? lowWater
        return reply.grants
    }

    func complete(_ grants: [Grant]) throws {
        let now = Clock.milliseconds
        let completions = grants.map {
            Completion(
                task: $0.task, lease: $0.lease, attempt: $0.attempt, generations: [NoOpWorker.emptyText],
                generationIDs: [UUIDValue.version7(milliseconds: now)])
        }
        guard case .completed(let replies) = store.perform(.complete(completions)),
            replies.allSatisfy({ $0.settlement == .recorded(.succeeded, nil) })
        else { throw Self.refused("the results") }
    }

    func end() throws {
        guard case .swept = store.perform(.endSession(session)) else { throw Self.refused("the goodbye") }
    }
}
