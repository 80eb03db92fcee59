import ArgumentParser
import Encodings
import FoundationEssentials
import Supervision

/// `scriptorium bench queue`: what the queue does without an engine.
struct BenchQueueCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "queue", abstract: "Durable no-op tasks a second, each with its result row, and the latency of one on an idle system.",
        discussion: "Runs a PostgreSQL with durable defaults in a temporary folder, one broker, and one worker that does nothing.")

    @Option(help: "How many tasks to publish.")
    var tasks = 20_000

    @Option(help: "Tasks a request.")
    var batch = 500

    @Option(help: "Slots of the worker.")
    var slots = 1000

    @Option(help: "How many single tasks measure the latency.")
    var rounds = 300

    @Option(help: ArgumentHelp("Use this database (it will hold the tasks) instead of a temporary one.", valueName: "url"))
    var databaseUrl: String?

    @Option(help: ArgumentHelp("The schema's SQL files, where they are not found by themselves.", valueName: "folder"))
    var migrations: String?

    @Flag(help: "Print one JSON object.")
    var json = false

    func validate() throws {
        guard tasks > 0, (1...10_000).contains(batch), (1...100_000).contains(slots), rounds > 0 else {
            throw ValidationError("--tasks, --batch (up to 10000), --slots (up to 100000) and --rounds must be above 0")
        }
    }

    func run() async throws {
        let command = self
        let result = try await onThread(throwing: { try command.measure() })
        if json {
            print(String(decoding: JSONValue.object(result.json).serialised, as: UTF8.self))
        } else {
            let milliseconds = { (share: Double) in "\((result.percentile(share) * 100).rounded() / 100) ms" }
            print("queue    \(Int(result.tasksPerSecond)) tasks/s; one on an idle system: p50 \(milliseconds(0.5)), p99 \(milliseconds(0.99))")
        }
    }

    private func measure() throws -> QueueBenchmark.Result {
        if let databaseUrl {
            return try QueueBenchmark.run(databaseURL: databaseUrl, tasks: tasks, batch: batch, slots: slots, rounds: rounds)
        }
        let folder = FileManager.default.temporaryDirectory.path() + "/scriptorium-bench-\(UUID().uuidString)"
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let cluster = try PostgreSQLCluster(DataDirectory(folder))
        try cluster.initialise()
        let port = try PostgreSQLCluster.freePort()
        let server = try cluster.start(port: port)
        defer { server.stop(signal: 2, withinSeconds: 30) }
        let address = try cluster.address(port: port)
        try DatabasePreparation.run(address, migrations: migrations)
        return try QueueBenchmark.run(databaseURL: address.owner, tasks: tasks, batch: batch, slots: slots, rounds: rounds)
    }
}
