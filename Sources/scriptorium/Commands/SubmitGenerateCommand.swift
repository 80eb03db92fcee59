import ArgumentParser
import Client
import Encodings

/// `scriptorium submit generate`: the contract's parameters as flags of the same names. The service checks them.
struct SubmitGenerateCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "generate", abstract: "Publish a task that generates texts.",
        discussion: "Every parameter can also stand in --params. scriptorium submit generate --model demo --prompt \"In the\" --n 5 --wait")

    @Option(help: "A model's name, name@step, a checkpoint's id or sha256:… .")
    var model: String?

    @Option(help: "The text to continue; several make a list of prompts.")
    var prompt: [String] = []

    @OptionGroup var generation: GenerationOptions

    @Flag(inversion: .prefixedNo, help: "Return the tokens too.")
    var returnTokenIds: Bool?

    @Flag(inversion: .prefixedNo, help: "Publish each token as an event.")
    var stream: Bool?

    @OptionGroup var options: TaskOptions
    @OptionGroup var service: ServiceOptions

    func run() async throws {
        try await options.submit(try options.task(kind: "generate", parameters: try parameters()), service)
    }

    private func parameters() throws -> JSONObject {
        var result = try generation.parameters()
        result.set("model", model)
        if prompt.count == 1 { result.set("prompt", prompt[0]) } else { result.set("prompts", prompt) }
        result.set("return_token_ids", returnTokenIds)
        result.set("stream", stream)
        return result
    }
}
