import ArgumentParser
import Encodings
import Glibc
import Supervision

/// `scriptorium bench claim`: what leasing waiting tasks takes, with history behind it, and while somebody's transaction keeps vacuum from its work.
struct BenchClaimCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "claim", abstract: "How long leasing waiting tasks takes, with finished tasks behind, and beside a transaction that stays open.",
        discussion: """
            One connection publishes, leases and completes batches, without brokers or workers, in phases of equal length: clean, held (another \
            connection keeps a REPEATABLE READ transaction open, so that no dead row goes), and clean again, each --rounds times in turns.
            """)

    @Option(help: "Finished tasks to lay in the database first.")
    var finished = 1_000_000

    @Option(help: "Seconds a phase.")
    var seconds = 60.0

    @Option(help: "Tasks a batch.")
    var batch = 100

    @Option(help: "Tasks that stand in line behind those that are leased, all the time.")
    var waiting = 0

    @Option(help: "How often clean and held take turns.")
    var rounds = 1

    @OptionGroup var database: BenchDatabaseOptions

    @Flag(help: "Print one JSON object a phase.")
    var json = false

    func validate() throws {
        guard finished >= 0, waiting >= 0, seconds > 0, (1...1000).contains(batch), rounds > 0 else {
            throw ValidationError("--seconds, --batch (up to 1000) and --rounds must be above 0, --finished and --waiting not below")
        }
    }

    func run() async throws {
        let command = self
        try await onThread(throwing: { try command.measure() })
    }

    private func measure() throws {
        let benchmark = ClaimBenchmark(finished: finished, waiting: waiting, seconds: seconds, batch: batch, rounds: rounds)
        try database.use { database in
            try benchmark.run(database) { phase in
                print(json ? String(decoding: JSONValue.object(phase.json).serialised, as: UTF8.self) : phase.line)
                fflush(nil)
            }
        }
    }
}
