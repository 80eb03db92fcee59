import ArgumentParser
import Encodings
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

    @Option(help: "Finished tasks to lay in the database first.")
    var finished = 0

    @Flag(help: "Encrypt all sockets, and prove keys, with CURVE.")
    var curve = false

    @OptionGroup var database: BenchDatabaseOptions

    @Flag(help: "Print one JSON object.")
    var json = false

    func validate() throws {
        guard tasks > 0, (1...10_000).contains(batch), (1...100_000).contains(slots), rounds > 0, finished >= 0 else {
            throw ValidationError("--tasks, --batch (up to 10000), --slots (up to 100000) and --rounds must be above 0, --finished not below")
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
        let benchmark = QueueBenchmark(tasks: tasks, batch: batch, slots: slots, rounds: rounds, curve: curve, finished: finished)
        return try database.use { try benchmark.run($0) }
    }
}
