import ArgumentParser
import Client

/// `scriptorium wait`: until a task ends.
struct WaitCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "wait", abstract: "Wait for a task's end and print its result; status 1 where it did not succeed.")

    @Argument(help: "The task's id.")
    var id: String

    @Option(help: ArgumentHelp("Give up after so long.", valueName: "seconds"))
    var timeout: Double?

    @Flag(help: "Print the whole status as JSON.")
    var json = false

    @OptionGroup var service: ServiceOptions

    func run() async throws {
        try await service.withClient { client in
            let task = try await client.wait(id, timeout: timeout.map { .seconds($0) })
            guard task.isTerminal else {
                if json { print(task.json) }
                throw CommandFailure.failed("task \(id) is still \(task.state)" + (task.waitingFor.map { ", waiting for \($0)" } ?? ""))
            }
            try TaskReport(isJSON: json).show(task)
        }
    }
}
