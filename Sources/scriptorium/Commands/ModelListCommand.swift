import ArgumentParser
import Client

/// `scriptorium model list`: the models that tasks can name.
struct ModelListCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "list", abstract: "Show the models that tasks can name.")

    @Flag(help: "Print one JSON object a line.")
    var json = false

    @OptionGroup var service: ServiceOptions

    func run() async throws {
        try await service.withClient { client in
            for model in try await client.models() { print(json ? model.json : Self.line(model)) }
        }
    }

    private static func line(_ model: RegisteredModel) -> String {
        "\(model.name)  \(model.architecture)  \(model.parameters) parameters  context \(model.contextLength)  sha256:\(model.sha256.prefix(12))…"
    }
}
