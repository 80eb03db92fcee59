import ArgumentParser
import Client
import Encodings

/// `scriptorium cancel`: asks for the end of tasks.
struct CancelCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "cancel", abstract: "Cancel tasks; a running one answers `running` and ends within two seconds.")

    @Argument(help: "Ids of tasks.")
    var ids: [String]

    @Flag(help: "Print each answer as JSON.")
    var json = false

    @OptionGroup var service: ServiceOptions

    func run() async throws {
        try await service.withClient { client in
            for task in try await client.cancel(ids) { print(task.line(isJSON: json)) }
        }
    }
}

/// `scriptorium retry`: queues failed or cancelled tasks anew.
struct RetryCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "retry", abstract: "Queue failed or cancelled tasks anew.")

    @Argument(help: "Ids of tasks.")
    var ids: [String]

    @Flag(help: "Print each answer as JSON.")
    var json = false

    @OptionGroup var service: ServiceOptions

    func run() async throws {
        try await service.withClient { client in
            for task in try await client.retry(ids) { print(task.line(isJSON: json)) }
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
