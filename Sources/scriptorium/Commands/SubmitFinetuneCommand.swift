import ArgumentParser
import Client
import Encodings

/// `scriptorium submit finetune`: the contract's parameters as flags of the same names. The service checks them.
struct SubmitFinetuneCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "finetune", abstract: "Publish a task that trains a model.",
        discussion: """
            Every parameter can also stand in --params. \
            scriptorium submit finetune --model-config gpt2-cpu --output demo --dataset bible --tokenizer-train 1000 --num-steps 1500 --wait
            """)

    @Option(help: "The base: a model's name, name@step, a checkpoint's id or sha256:… .")
    var model: String?

    @Option(help: ArgumentHelp("From scratch: gpt2-cpu, gpt-neo-cpu, gpt2, or a JSON map with config.json's names.", valueName: "config"))
    var modelConfig: String?

    @Option(help: "The model name that the checkpoints are filed under.")
    var output: String?

    @Flag(inversion: .prefixedNo, help: "Let --output replace another model.")
    var overwrite: Bool?

    @Option(help: ArgumentHelp("A dataset's name (`dataset add`), sha256:…, or a web address that the operator allows.", valueName: "dataset"))
    var dataset: String?

    @Option(help: ArgumentHelp("Several datasets, with commas, joined into one (--no-equalize: whole).", valueName: "datasets"))
    var merge: String?

    @Flag(inversion: .prefixedNo, help: "With --merge: as many tokens of each as the smallest has (the default).")
    var equalize: Bool?

    @Option(help: ArgumentHelp("Several datasets, with commas, one after another, steps and rate halved each time.", valueName: "datasets"))
    var crossTrain: String?

    @Option(help: "The corpus itself.")
    var text: String?

    @Flag(inversion: .prefixedNo, help: "Each line is a text of its own.")
    var lineByLine: Bool?

    @Flag(inversion: .prefixedNo, help: "With --line-by-line, leave out the first line or row of each file (true).")
    var header: Bool?

    @Option(help: "Tokens a block (the model's context).")
    var blockSize: Int?

    @Option(help: ArgumentHelp("A tokenizer's name, or sha256:… .", valueName: "tokenizer"))
    var tokenizer: String?

    @Option(help: ArgumentHelp("Train a tokenizer of so many tokens first.", valueName: "tokens"))
    var tokenizerTrain: Int?

    @Option(help: "Steps (5000).") var numSteps: Int?
    @Option(help: "Blocks a step (1).") var batchSize: Int?
    @Option(help: "The learning rate at its height (0.001).") var learningRate: Double?
    @Option(help: "(0.05)") var weightDecay: Double?
    @Option(help: "(1e-8)") var adamEpsilon: Double?
    @Option(help: "Steps until the learning rate is at its height (0).") var warmupSteps: Int?
    @Option(help: "Gradients are clipped to this norm (0.5; 0: not).") var maxGradNorm: Double?
    @Option(help: "Batches a step (1).") var gradientAccumulationSteps: Int?
    @Option(help: "Steps between checkpoints (1000).") var saveEvery: Int?
    @Option(help: "Steps between sample texts (1000).") var generateEvery: Int?
    @Option(help: "Sample texts each time (1).") var nGenerate: Int?
    @Flag(inversion: .prefixedNo, help: "Leave the token embedding as it is.") var freezeLayers: Bool?
    @Option(help: "With --freeze-layers, so many first layers stay as they are too (0).") var numLayersFreeze: Int?
    @Flag(inversion: .prefixedNo, help: "Compute activations twice to save memory.") var gradientCheckpointing: Bool?
    @Option(help: "(0)") var dropout: Double?
    @Option(help: "float32 or bfloat16 (float32).") var precision: String?
    @Flag(help: "Train a LoRA adapter beside the model.") var lora = false
    @Option(help: "Implies --lora, as do the next three (8).") var loraRank: Int?
    @Option(help: "(8)") var loraAlpha: Double?
    @Option(help: "(0)") var loraDropout: Double?
    @Option(help: ArgumentHelp("Modules by the ends of their paths, with commas (what makes query and value).", valueName: "names"))
    var loraTargets: String?
    @Option(help: "(0.01)") var avgLossSmoothing: Double?
    @Option(help: "0 … 2^53-1; assigned where absent.") var seed: Int?

    @OptionGroup var options: TaskOptions
    @OptionGroup var service: ServiceOptions

    func run() async throws {
        try await options.submit(try options.task(kind: "finetune", parameters: try parameters()), service)
    }

    private func parameters() throws -> JSONObject {
        var result = JSONObject()
        result.set("model", model)
        if let modelConfig { result["config"] = try Self.config(modelConfig) }
        result.set("output", output)
        result.set("overwrite", overwrite)
        try addData(to: &result)
        result.set("line_by_line", lineByLine)
        result.set("header", header)
        result.set("block_size", blockSize)
        if let tokenizer { result["tokenizer"] = Self.reference(tokenizer) }
        if let tokenizerTrain { result["tokenizer"] = ["train": ["vocab_size": .integer(Int64(tokenizerTrain))]] }
        try addSchedule(to: &result)
        return result
    }

    private func addData(to result: inout JSONObject) throws {
        guard [dataset != nil, text != nil, merge != nil, crossTrain != nil].count(where: { $0 }) < 2 else {
            throw CommandFailure.usage("--dataset, --text, --merge and --cross-train exclude each other")
        }
        if let dataset { result["dataset"] = Self.reference(dataset) }
        if let text { result["dataset"] = ["text": .string(text)] }
        if let merge {
            var members: JSONObject = ["merge": Self.references(merge)]
            members.set("equalize", equalize)
            result["dataset"] = .object(members)
        }
        if let crossTrain { result["cross_train"] = Self.references(crossTrain) }
    }

    private func adapter() throws -> JSONValue? {
        guard lora || loraRank != nil || loraAlpha != nil || loraDropout != nil || loraTargets != nil else { return nil }
        var members = JSONObject()
        members.set("rank", loraRank)
        try members.set("alpha", number: loraAlpha, flag: "lora-alpha")
        try members.set("dropout", number: loraDropout, flag: "lora-dropout")
        if let loraTargets { members["targets"] = .array(loraTargets.split(separator: ",").map { .string(String($0)) }) }
        return .object(members)
    }

    private func addSchedule(to result: inout JSONObject) throws {
        result.set("num_steps", numSteps)
        result.set("batch_size", batchSize)
        try result.set("learning_rate", number: learningRate)
        try result.set("weight_decay", number: weightDecay)
        try result.set("adam_epsilon", number: adamEpsilon)
        result.set("warmup_steps", warmupSteps)
        try result.set("max_grad_norm", number: maxGradNorm)
        result.set("gradient_accumulation_steps", gradientAccumulationSteps)
        result.set("save_every", saveEvery)
        result.set("generate_every", generateEvery)
        result.set("n_generate", nGenerate)
        result.set("freeze_layers", freezeLayers)
        result.set("num_layers_freeze", numLayersFreeze)
        result.set("gradient_checkpointing", gradientCheckpointing)
        try result.set("dropout", number: dropout)
        try result.set("avg_loss_smoothing", number: avgLossSmoothing)
        result.set("precision", precision)
        if let adapter = try adapter() { result["lora"] = adapter }
        result.set("seed", seed)
    }

    private static func reference(_ text: String) -> JSONValue {
        text.hasPrefix("sha256:") || text.hasPrefix("https://") || text.hasPrefix("http://") ? ["uri": .string(text)] : ["name": .string(text)]
    }

    private static func references(_ list: String) -> JSONValue { .array(list.split(separator: ",").map { reference(String($0)) }) }

    private static func config(_ text: String) throws -> JSONValue {
        guard text.hasPrefix("{") else { return .string(text) }
        do { return try JSONValue.parse(text) } catch { throw CommandFailure.usage("--model-config: \(error)") }
    }
}
