import DurableFiles
import Encodings
import FoundationEssentials
import Kernels
import LanguageModels
import ModelFiles
import TestSupport
import Testing
import Training

@Suite("LoRA adapters")
struct AdapterTests {
    static let references = ["gpt2-lora", "gpt-neo-lora", "gpt-neox-lora"]
    let temporary: TemporaryDirectory

    init() throws { temporary = try TemporaryDirectory() }

    private func golden(_ name: String) throws -> JSONValue {
        try JSONValue.parse([UInt8](try Data(contentsOf: URL(filePath: Fixtures.model(name) + "/golden.json"))))
    }

    private func numbers(_ value: JSONValue?) throws -> [Double] { try #require(value?.arrayValue).map { try #require($0.doubleValue) } }

    private func ids(_ value: JSONValue?) throws -> [Int32] { try #require(value?.arrayValue).map { Int32(try #require($0.intValue)) } }

    /// Options with the adapter that a reference's `adapter_config.json` describes.
    private func options(_ adapter: LoRAAdapter) throws -> TrainingOptions {
        var lora = LoRAOptions()
        (lora.rank, lora.alpha) = (adapter.rank, adapter.alpha)
        lora.targets = try #require(adapter.config["target_modules"]?.arrayValue).compactMap(\.stringValue)
        var options = TrainingOptions(seed: 3)
        options.lora = lora
        return options
    }

    /// A trainer whose adapters hold a reference's numbers.
    private func trainer(_ name: String, _ change: (inout TrainingOptions) -> Void = { _ in }) throws -> Trainer {
        let directory = try ModelDirectory.open(Fixtures.model(name))
        let adapter = try #require(directory.tensors.adapter)
        var options = try options(adapter)
        change(&options)
        let trainer = try Trainer(model: .directory(directory.unmerged), dataset: nil, options: options, pool: ThreadPool(threads: 2))
        #expect(trainer.parameterNames.filter { $0.contains("lora_") } == adapter.tensors.names)
        for tensor in adapter.tensors.names { try trainer.setWeights(try adapter.tensors.float32(tensor), of: tensor) }
        return trainer
    }

    @Test("losses, gradient norms and logits are PEFT's", arguments: references)
    func reference(name: String) throws {
        let golden = try golden(name)
        let train = try #require(golden["train"])
        let batches = try #require(train["batches"]?.arrayValue).map { try #require($0.arrayValue).map { try ids($0) } }
        let (losses, norms, rates) = (try numbers(train["loss"]), try numbers(train["grad_norm_before_clip"]), try numbers(train["lr"]))
        let warmup = try #require(train["warmup_steps"]?.intValue)
        let trainer = try trainer(name) {
            ($0.numSteps, $0.warmupSteps, $0.learningRate, $0.batchSize, $0.blockSize) = (
                losses.count, warmup, rates[warmup], batches[0].count, batches[0][0].count
            )
        }
        let prompts = try #require(golden["prompts"]?.arrayValue)
        for prompt in prompts {
            let (got, expected) = (try trainer.lastLogits(of: ids(prompt["ids"])), try numbers(prompt["last_logits"]))
            #expect((zip(got, expected).map { abs(Double($0) - $1) }.max() ?? .infinity) <= 1e-4)
        }
        let before = trainer.parameterNames.filter { !$0.contains("lora_") }.map { trainer.weights(of: $0) }
        for (index, batch) in batches.enumerated() {
            let step = try trainer.trainBatch(rows: batch)
            #expect(abs(step.loss - losses[index]) <= 1e-5 * losses[index], "step \(index): \(step.loss), PEFT \(losses[index])")
            #expect(abs(step.gradientNorm - norms[index]) <= 5e-5 * norms[index], "step \(index): \(step.gradientNorm), PEFT \(norms[index])")
        }
        let (got, expected) = (try trainer.lastLogits(of: ids(prompts[1]["ids"])), try numbers(train["final_logits_of_prompt_1"]))
        #expect((zip(got, expected).map { abs(Double($0) - $1) }.max() ?? .infinity) <= 1e-4)
        #expect(trainer.parameterNames.filter { !$0.contains("lora_") }.map { trainer.weights(of: $0) } == before)
    }

    @Test("a model with an adapter is loaded merged, with PEFT's logits, and exported with the bits that it is served with", arguments: references)
    func merged(name: String) throws {
        let golden = try golden(name)
        let pool = ThreadPool(threads: 2)
        let directory = try ModelDirectory.open(Fixtures.model(name))
        try directory.export(to: temporary.path + "/merged")
        let merged = try ModelDirectory.open(temporary.path + "/merged")
        #expect(merged.tensors.adapter == nil && FileTree.names(temporary.path + "/merged").allSatisfy { !$0.hasPrefix("adapter") })
        for tensor in merged.tensors.names { #expect(try merged.tensors.float32(tensor) == directory.tensors.float32(tensor)) }
        #expect(try merged.tensors.names.contains { try merged.tensors.float32($0) != directory.unmerged.tensors.float32($0) })
        let trainer = try Trainer(model: .directory(directory), dataset: nil, options: TrainingOptions(seed: 0), pool: pool)
        for prompt in try #require(golden["prompts"]?.arrayValue) {
            let (got, expected) = (try trainer.lastLogits(of: ids(prompt["ids"])), try numbers(prompt["last_logits"]))
            #expect((zip(got, expected).map { abs(Double($0) - $1) }.max() ?? .infinity) <= 1e-4)
        }
        let digests = try [directory, directory.unmerged, merged].map { try LanguageModel.load($0, pool: pool).checkpointSHA256 }
        #expect(Set(digests).count == 3)
    }

    @Test("a saved adapter has PEFT's names and shapes, and its folder is a model that loads")
    func saves() throws {
        let base = Fixtures.model("gpt2-lora")
        let trainer = try trainer("gpt2-lora") { ($0.batchSize, $0.blockSize) = (2, 16) }
        _ = try trainer.trainBatch(rows: TinyRun.rows(2, length: 16, vocabulary: 400, seed: 1))
        let saved = try trainer.saveCheckpoint(directory: temporary.path + "/out", tokenizer: nil, baseName: "the-base")
        let directory = try ModelDirectory.open(saved.path)
        let (written, theirs) = (try #require(directory.tensors.adapter), try #require(try ModelDirectory.open(base).tensors.adapter))
        #expect(written.tensors.names == theirs.tensors.names)
        for name in written.tensors.names { #expect(written.tensors.info(name) == theirs.tensors.info(name)) }
        for (key, value) in theirs.config where written.config[key] != nil && !["base_model_name_or_path", "target_modules"].contains(key) {
            #expect(written.config[key] == value, "\(key)")
        }
        #expect(written.config["base_model_name_or_path"] == .string("the-base"))
        #expect(try LanguageModel.load(directory, pool: ThreadPool(threads: 1)).checkpointSHA256 == saved.sha256)
        let (look, original) = (try directory.unmerged.tensors.float32("transformer.wte.weight"), try ModelDirectory.open(base).tensors)
        #expect(try look == original.float32("transformer.wte.weight"))
    }

    @Test("config.json names the type that the weights are written in: fp32 after training or merging, the base's beside an adapter")
    func storedType() throws {
        var copied = try ModelDirectory.open(Fixtures.model("gpt2-lora"))
        let folder = temporary.path + "/half"
        try copied.unmerged.export(to: folder)
        var config = try ModelConfig.read(folder + "/config.json")
        (config["dtype"], config["torch_dtype"]) = (.string("float16"), .string("float16"))
        try DurableFile.write(JSONValue.object(config).serialised, to: folder + "/config.json")
        copied = try ModelDirectory.open(folder)
        let row = TinyRun.rows(1, length: 8, vocabulary: 400, seed: 1)
        func types(lora: LoRAOptions?, _ name: String) throws -> [String?] {
            var options = TrainingOptions(seed: 3)
            (options.lora, options.blockSize) = (lora, 8)
            let trainer = try Trainer(model: .directory(copied), dataset: nil, options: options, pool: ThreadPool(threads: 1))
            _ = try trainer.trainBatch(rows: row)
            try trainer.saveCheckpoint(directory: temporary.path + "/" + name, tokenizer: nil)
            let written = try ModelConfig.read(temporary.path + "/\(name)/config.json")
            #expect(written == trainer.config)
            return ["dtype", "torch_dtype"].map { written[$0]?.stringValue }
        }
        #expect(try types(lora: nil, "whole") == ["float32", "float32"])
        #expect(try types(lora: LoRAOptions(), "adapted") == ["float16", "float16"])
        try ModelDirectory.open(temporary.path + "/adapted").export(to: temporary.path + "/merged")
        let merged = try ModelConfig.read(temporary.path + "/merged/config.json")
        #expect(merged["dtype"] == .string("float32") && merged["torch_dtype"] == .string("float32"))
        try copied.export(to: temporary.path + "/copy")
        #expect(try ModelConfig.read(temporary.path + "/copy/config.json")["dtype"] == .string("float16"))
    }

    @Test("a new adapter changes nothing, and its default targets are what makes query and value")
    func begins() throws {
        for (name, targets) in [("gpt2-lora", ["c_attn"]), ("gpt-neo-lora", ["q_proj", "v_proj"]), ("gpt-neox-lora", ["query_key_value"])] {
            let directory = try ModelDirectory.open(Fixtures.model(name)).unmerged
            var options = TrainingOptions(seed: 8)
            options.lora = LoRAOptions()
            let trainer = try Trainer(model: .directory(directory), dataset: nil, options: options, pool: ThreadPool(threads: 1))
            options.lora = nil
            let plain = try Trainer(model: .directory(directory), dataset: nil, options: options, pool: ThreadPool(threads: 1))
            #expect(try trainer.lastLogits(of: [1, 2, 3]) == plain.lastLogits(of: [1, 2, 3]))
            let adapted = Set(
                trainer.parameterNames.filter { $0.hasSuffix("lora_A.weight") }.map { String($0.split(separator: ".").dropLast(2).last ?? "") })
            #expect(adapted == Set(targets))
            let a = try #require(trainer.parameterNames.first { $0.hasSuffix("lora_A.weight") }.flatMap { trainer.weights(of: $0) })
            let bound = 1 / (Float(a.count) / 8).squareRoot()
            #expect(a.allSatisfy { abs($0) <= bound } && a.contains { abs($0) > 0.9 * bound })
        }
    }

    @Test("adapters' gradients are the loss's slopes, dropout before A or not", arguments: [0.0, 0.3])
    func gradients(dropout: Double) throws {
        let rows = TinyRun.rows(2, length: 12, vocabulary: 400, seed: 4)
        func fresh() throws -> Trainer {
            try trainer("gpt2-lora") {
                ($0.learningRate, $0.batchSize, $0.blockSize) = (0, 2, 12)
                $0.lora?.dropout = dropout
            }
        }
        let measured = try fresh()
        _ = try measured.trainBatch(rows: rows)
        for name in measured.parameterNames.filter({ $0.contains(".h.1.") && $0.contains("lora_") }) {
            let gradient = try #require(measured.gradient(of: name)).map(Double.init)
            let length = gradient.reduce(0) { $0 + $1 * $1 }.squareRoot()
            try #require(length > 0)
            func loss(_ width: Double) throws -> Double {
                let trainer = try fresh()
                let weights = try #require(trainer.weights(of: name))
                try trainer.setWeights(zip(weights, gradient).map { Float(Double($0) + width * $1 / length) }, of: name)
                return try trainer.trainBatch(rows: rows).loss
            }
            let slope = try (4 * (loss(0.005) - loss(-0.005)) / 0.01 - (loss(0.01) - loss(-0.01)) / 0.02) / 3
            #expect(abs(slope - length) <= 0.01 * length + 1e-3, "\(name): slope \(slope), gradient \(length)")
        }
    }

    @Test("targets that name nothing, a base that is not there and frozen layers beside it are refused by name")
    func refusals() throws {
        func refusal(_ change: (inout TrainingOptions) -> Void) -> String? {
            do {
                let directory = try ModelDirectory.open(Fixtures.model("gpt2-lora"))
                var options = TrainingOptions(seed: 1)
                options.lora = LoRAOptions()
                change(&options)
                _ = try Trainer(model: .directory(directory), dataset: nil, options: options, pool: ThreadPool(threads: 1))
                return nil
            } catch TrainingError.option(let name, _) { return name } catch { return "\(error)" }
        }
        #expect(refusal { $0.lora?.targets = ["attn.c_proj", "c_fc"] } == nil)
        #expect(refusal { $0.lora?.targets = ["c_attn", "wte"] } == "lora.targets")
        #expect(refusal { $0.lora?.targets = ["attn"] } == "lora.targets")
        #expect(refusal { $0.lora?.targets = [] } == "lora.targets")
        #expect(refusal { $0.lora?.rank = 0 } == "lora.rank")
        #expect(refusal { $0.lora?.alpha = .nan } == "lora.alpha")
        #expect(refusal { $0.lora?.dropout = 1 } == "lora.dropout")
        #expect(refusal { $0.freezeLayers = true } == "freeze_layers")
        #expect(throws: TrainingError.self) { try TinyRun.trainer { $0.lora = LoRAOptions() } }
    }
}
