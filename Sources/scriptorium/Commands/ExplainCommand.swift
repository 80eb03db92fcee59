import ArgumentParser
import Client

/// `scriptorium explain`: a task's life.
struct ExplainCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "explain", abstract: "Tell a task's life: each lease, retry and why, and what it waits for.",
        discussion: "Times are local; with --json they are UTC. A worker or broker that is gone is named by its id.")

    @Argument(help: "The task's id.")
    var id: String

    @Flag(help: "Print one JSON object.")
    var json = false

    @OptionGroup var service: ServiceOptions

    func run() async throws {
        let id = id
        let explanation = try await service.withClient { try await $0.explain(id) }
        print(json ? explanation.json : explanation.lines(now: Clock.milliseconds, clock: Clock.local).joined(separator: "\n"))
    }
}
