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

    @Option(help: "Texts a prompt (1).")
    var n: Int?

    @Option(help: "Tokens before which the text does not end.")
    var minLength: Int?

    @Option(help: "Tokens in all, prompt included (256).")
    var maxLength: Int?

    @Option(help: "A number, or several with commas: the j-th token uses entry j (0.7).")
    var temperature: String?

    @Flag(inversion: .prefixedNo, help: "Sample, or take the likeliest token.")
    var doSample: Bool?

    @Option(help: "Keep the k likeliest tokens (0: all).")
    var topK: Int?

    @Option(help: "Keep the likeliest tokens of this probability together (1: all).")
    var topP: Double?

    @Option(help: "Keep tokens at least this likely against the likeliest (0: all).")
    var minP: Double?

    @Option(help: "Keep typical tokens of this probability together (1: all).")
    var typicalP: Double?

    @Option(help: "Above 1: tokens that occurred become less likely (1).")
    var repetitionPenalty: Double?

    @Option(help: "No run of so many tokens occurs twice (0: off).")
    var noRepeatNgramSize: Int?

    @Option(help: ArgumentHelp("Text that is never generated; repeatable.", valueName: "text"))
    var badWords: [String] = []

    @Option(help: ArgumentHelp("Token that is never generated; repeatable.", valueName: "id"))
    var bannedTokens: [Int] = []

    @Option(help: ArgumentHelp("Text at which generation ends; repeatable.", valueName: "text"))
    var stop: [String] = []

    @Option(help: "Cut the text before this one.")
    var truncate: String?

    @Option(help: "0 … 2^53-1; assigned where absent.")
    var seed: Int?

    @Flag(inversion: .prefixedNo, help: "Begin with the beginning-of-text token.")
    var prependBos: Bool?

    @Flag(inversion: .prefixedNo, help: "Remove white space before the text.")
    var lstrip: Bool?

    @Flag(inversion: .prefixedNo, help: "Keep the prompt in the text.")
    var includePrefix: Bool?

    @Flag(inversion: .prefixedNo, help: "Draw empty texts again.")
    var nonemptyOutput: Bool?

    @Flag(inversion: .prefixedNo, help: "Leave special tokens out of the text.")
    var skipSpecialTokens: Bool?

    @Flag(inversion: .prefixedNo, help: "Draw texts again that occurred.")
    var deduplicate: Bool?

    @Option(help: "Log-probabilities of so many alternatives a token (0 … 20).")
    var logprobs: Int?

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
        var result = JSONObject()
        result.set("model", model)
        if prompt.count == 1 { result.set("prompt", prompt[0]) } else { result.set("prompts", prompt) }
        result.set("n", n)
        result.set("min_length", minLength)
        result.set("max_length", maxLength)
        result["temperature"] = try temperatures()
        result.set("do_sample", doSample)
        result.set("top_k", topK)
        result.set("top_p", topP)
        result.set("min_p", minP)
        result.set("typical_p", typicalP)
        result.set("repetition_penalty", repetitionPenalty)
        result.set("no_repeat_ngram_size", noRepeatNgramSize)
        result.set("bad_words", badWords)
        result.set("banned_tokens", bannedTokens)
        result.set("stop", stop)
        result.set("truncate", truncate)
        result.set("seed", seed)
        result.set("prepend_bos", prependBos)
        result.set("lstrip", lstrip)
        result.set("include_prefix", includePrefix)
        result.set("nonempty_output", nonemptyOutput)
        result.set("skip_special_tokens", skipSpecialTokens)
        result.set("deduplicate", deduplicate)
        result.set("logprobs", logprobs)
        result.set("return_token_ids", returnTokenIds)
        result.set("stream", stream)
        return result
    }

    private func temperatures() throws -> JSONValue? {
        guard let temperature else { return nil }
        let values = temperature.split(separator: ",", omittingEmptySubsequences: false).map { Double($0) }
        guard values.allSatisfy({ $0 != nil }) else {
            throw CommandFailure.usage("--temperature: \(temperature) is not a number or several with commas")
        }
        let numbers = values.compactMap { $0.map { JSONValue.real($0) } }
        return numbers.count == 1 ? numbers[0] : .array(numbers)
    }
}
