import ArgumentParser
import Encodings
import Generation
import Glibc
import Kernels
import LanguageModels
import Tokenizers

/// `scriptorium score`: how likely a model finds a text, token by token.
struct ScoreCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "score", abstract: "Print each token's log-probability under a model, and the text's perplexity.")

    @Option(help: ArgumentHelp("A Hugging Face directory: config.json, model.safetensors, tokenizer.", valueName: "directory"))
    var model: String

    @Option(help: "The text to score.")
    var text: String?

    @Option(help: ArgumentHelp("Token ids instead of a text, with commas: 464,3280,318.", valueName: "ids"))
    var ids: String?

    @Option(help: "float32, bfloat16 or int8: what the model's matrices are rounded to.")
    var precision = WeightPrecision.float32

    @Flag(help: "Also print the logits of the last position.")
    var logits = false

    @Flag(help: "Print one JSON object.")
    var json = false

    @Option(help: ArgumentHelp("Threads; default: one a processor.", valueName: "count"))
    var threads: Int?

    func validate() throws {
        guard (text == nil) != (ids == nil) else { throw ValidationError("give either --text or --ids") }
        if let threads, !(1...1024).contains(threads) { throw ValidationError("--threads: \(threads) is not in 1 … 1024") }
    }

    func run() throws {
        let engine = try LocalEngine(model: model, precision: precision, threads: threads)
        let tokens = try tokens(engine)
        do {
            try show(try Scorer(model: engine.model, pool: engine.pool).score(tokens), tokens, engine.tokenizer)
        } catch let error as ModelError {
            if case .notANumber = error { throw CommandFailure.failed("\(error)") }
            throw CommandFailure.usage("\(error)")
        }
    }

    private func tokens(_ engine: LocalEngine) throws -> [Int32] {
        if let text {
            let tokens = try engine.requiredTokenizer().encode(text)
            guard !tokens.isEmpty else { throw CommandFailure.usage("--text is empty: there is nothing to score") }
            return tokens
        }
        let parts = (ids ?? "").split(separator: ",", omittingEmptySubsequences: false)
        let tokens = parts.compactMap { Int32($0.filter { $0 != " " }) }
        guard tokens.count == parts.count else { throw CommandFailure.usage("--ids: token ids are whole numbers with commas between them") }
        return tokens
    }

    private func show(_ score: Scorer.Score, _ tokens: [Int32], _ tokenizer: Tokenizer?) throws {
        if json { return print(String(decoding: object(score, tokens).serialised, as: UTF8.self)) }
        for (index, token) in tokens.enumerated() {
            let text = tokenizer.map { JSONValue.string($0.decode([token], skipSpecial: false)).serialised } ?? []
            print("\(token)\t\(index == 0 ? "-" : "\(score.logprobs[index - 1])")\t\(String(decoding: text, as: UTF8.self))")
        }
        print("log-probability \(score.sum)")
        if let perplexity = score.perplexity { print("perplexity \(perplexity)") }
        if logits { print("logits " + score.lastLogits.map { "\($0)" }.joined(separator: " ")) }
    }

    private func object(_ score: Scorer.Score, _ tokens: [Int32]) -> JSONValue {
        var members: JSONObject = [
            "token_ids": .array(tokens.map { .integer(Int64($0)) }), "logprobs": .array(score.logprobs.map { .real(Double($0)) }),
            "logprob": .real(score.sum), "perplexity": score.perplexity.map { .real($0) } ?? .null,
            "numerics": .string(Numerics.version(of: precision)),
        ]
        if logits { members["logits"] = .array(score.lastLogits.map { .real(Double($0)) }) }
        return .object(members)
    }
}
