import ArgumentParser
import Client

/// `scriptorium watch`: a task's events as they happen.
struct WatchCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "watch", abstract: "Show what happens to a task until it ends: with --json one event a line, else a bar and its result.")

    @Argument(help: "The task's id.")
    var id: String

    @Flag(help: "Print each event as JSON, the status first.")
    var json = false

    @OptionGroup var service: ServiceOptions

    func run() async throws {
        try await service.withClient { client in
            guard json else { return try await TaskReport(isJSON: false).follow(id, client) }
            for try await message in client.watch(id) {
                switch message {
                case .status(let task): print(task.json)
                case .update(let update): print(update.json)
                }
                OutputStream.flush()
            }
            let end = try await client.wait(id)
            if end.state != "succeeded" { throw CommandFailure.failed("task \(id) is \(end.state)" + (end.error.map { ": \($0)" } ?? "")) }
        }
    }
}
