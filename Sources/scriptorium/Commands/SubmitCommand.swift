import ArgumentParser
import Client
import Encodings

/// `scriptorium submit`: publishes a task.
struct SubmitCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "submit", abstract: "Publish a task; its id is printed once it is committed.",
        subcommands: [SubmitGenerateCommand.self, SubmitFinetuneCommand.self, SubmitVerifyCommand.self])
}

/// `scriptorium submit verify`.
struct SubmitVerifyCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "verify", abstract: "Publish a task that proves stored texts.")

    @Option(help: ArgumentHelp("One stored text.", valueName: "id"))
    var generation: String?

    @Option(help: ArgumentHelp("All texts of a task.", valueName: "id"))
    var task: String?

    @Option(help: "forward or replay.")
    var method: String?

    @OptionGroup var options: TaskOptions
    @OptionGroup var service: ServiceOptions

    func run() async throws {
        var parameters = JSONObject()
        parameters.set("generation", generation)
        parameters.set("task", task)
        parameters.set("method", method)
        try await options.submit(try options.task(kind: "verify", parameters: parameters), service)
    }
}
