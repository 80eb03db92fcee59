import ArgumentParser
import Client

/// `scriptorium get`: where tasks stand.
struct GetCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "get", abstract: "Show where tasks stand: with --json one status a line.")

    @Argument(help: "Ids of tasks.")
    var ids: [String]

    @Flag(inversion: .prefixedNo, help: "Fetch the results too.")
    var results = true

    @Flag(help: "Print each status as JSON.")
    var json = false

    @OptionGroup var service: ServiceOptions

    func run() async throws {
        try await service.withClient { client in
            for task in try await client.get(ids, results: results) { print(json ? task.json : Self.line(task)) }
        }
    }

    /// One task, for people.
    static func line(_ task: TaskSnapshot) -> String {
        var parts = [task.id, task.kind, task.queue, task.state, "attempt \(task.attempt)"]
        if let reason = task.waitingFor { parts.append("waiting for \(reason)") }
        if let error = task.error { parts.append(error.description) }
        let head = parts.joined(separator: "  ")
        return task.texts.isEmpty ? head : head + "\n" + task.texts.map(\.text).joined(separator: "\n==========\n")
    }
}
