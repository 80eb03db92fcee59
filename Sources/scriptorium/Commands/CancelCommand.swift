import ArgumentParser
import Client
import Encodings

/// `scriptorium cancel`: asks for the end of tasks.
struct CancelCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "cancel", abstract: "Cancel tasks; a running one answers `running` and ends within two seconds.")

    @OptionGroup var tasks: TaskIDOptions

    func run() async throws { try await tasks.ask { try await $0.cancel($1) } }
}

/// `scriptorium retry`: queues failed or cancelled tasks anew.
struct RetryCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "retry", abstract: "Queue failed or cancelled tasks anew, up to 10,000 at once: all of them or none.",
        discussion: "Which ones have failed is asked in SQL: docs/sql.md shows how to hand their ids to this command.")

    @OptionGroup var tasks: TaskIDOptions

    func run() async throws { try await tasks.ask { try await $0.retry($1) } }
}

/// What commands take that ask something of tasks by their ids and print the states that come back.
struct TaskIDOptions: ParsableArguments {
    @Argument(help: "Ids of tasks.")
    var ids: [String]

    @Flag(help: "Print each answer as JSON.")
    var json = false

    @OptionGroup var service: ServiceOptions

    /// Asks, and prints a line a task.
    func ask(_ question: @escaping @Sendable (ScriptoriumClient, [String]) async throws -> [AcceptedTask]) async throws {
        let (ids, isJSON) = (ids, json)
        try await service.withClient { client in
            for task in try await question(client, ids) { print(task.line(isJSON: isJSON)) }
        }
    }
}

extension AcceptedTask {
    /// The id and state, for people or programs.
    fileprivate func line(isJSON: Bool) -> String {
        let map: JSONValue = ["id": .string(id), "state": .string(state)]
        return isJSON ? String(decoding: map.serialised, as: UTF8.self) : "\(id)  \(state)"
    }
}
