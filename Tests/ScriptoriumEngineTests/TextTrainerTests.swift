import Datasets
import FoundationEssentials
import Kernels
import ScriptoriumEngine
import TestSupport
import Testing
import Tokenizers

@Suite("Training with the engine as a library")
struct TextTrainerTests {
    private let corpus = Fixtures.reference + "/corpus.txt"

    /// Four steps of sixteen tokens.
    private func options(_ edit: (inout TrainOptions) -> Void = { _ in }) -> TrainOptions {
        var options = TrainOptions(numSteps: 4, seed: 3)
        (options.blockSize, options.batchSize, options.vocabularySize) = (16, 2, 300)
        edit(&options)
        return options
    }

    private func refuses(
        _ base: TrainingBase, on data: TrainingData, _ output: String, _ options: TrainOptions, naming words: String...,
        at place: SourceLocation = #_sourceLocation
    ) {
        let error = #expect(throws: EngineError.self, sourceLocation: place) { try TextEngine.train(base, on: data, output: output, options) }
        for word in words { #expect(error?.description.contains(word) == true, "\(error?.description ?? "")", sourceLocation: place) }
        #expect(!FileManager.default.fileExists(atPath: output), sourceLocation: place)
    }

    @Test("training from scratch writes a model that loads, the same for the same seed")
    func train() throws {
        let folder = try TemporaryDirectory()
        var options = TrainOptions(numSteps: 4, seed: 3)
        (options.blockSize, options.batchSize, options.vocabularySize) = (16, 2, 300)
        var losses: [Double] = []
        func run(_ name: String) throws -> String {
            try TextEngine.train(.config("gpt2-cpu"), on: [Fixtures.reference + "/corpus.txt"], output: folder.path + "/" + name, options) {
                losses.append($0.loss)
            }
        }
        let digest = try run("a")
        #expect(try run("b") == digest)
        #expect(losses.count == 8 && losses.prefix(4) == losses.suffix(4))
        let trained = try TextEngine(model: folder.path + "/a")
        #expect(trained.checkpointSHA256 == digest)
        #expect(try trained.generate("the", GenerateOptions(maxLength: 12)).count == 1)
        try TextEngine.train(.model(folder.path + "/a"), on: [Fixtures.reference + "/corpus.txt"], output: folder.path + "/c", options)
        #expect(FileManager.default.fileExists(atPath: folder.path + "/c/model.safetensors"))
        func config(_ name: String) throws -> String { try String(contentsOfFile: "\(folder.path)/\(name)/config.json", encoding: .utf8) }
        #expect(try !config("c").contains("\"line_by_line\": true"))
        options.lineByLine = true
        try TextEngine.train(.model(folder.path + "/a"), on: [Fixtures.reference + "/corpus.txt"], output: folder.path + "/d", options)
        #expect(try config("d").contains("\"line_by_line\": true"))
    }

    @Test("training takes the place of a model, never of anything else, and keeps what is put beside it meanwhile")
    func output() throws {
        let folder = try TemporaryDirectory()
        var options = TrainOptions(numSteps: 1)
        (options.blockSize, options.vocabularySize) = (16, 300)
        func train(_ name: String, each: () -> Void = {}) throws(EngineError) {
            let corpus = Fixtures.reference + "/corpus.txt"
            try TextEngine.train(.config("gpt2-cpu"), on: [corpus], output: folder.path + "/" + name, options) { _ in each() }
        }
        func write(_ name: String) throws { try Data("mine".utf8).write(to: URL(filePath: folder.path + "/" + name)) }
        func refuses(_ name: String, naming word: String) {
            do {
                try train(name)
                Issue.record("\(name) was replaced")
            } catch { #expect(error.description.contains(folder.path + "/" + name) && error.description.contains(word)) }
        }
        try FileManager.default.createDirectory(atPath: folder.path + "/models/gpt2", withIntermediateDirectories: true)
        try write("models/gpt2/config.json")
        refuses("models", naming: "no model")
        #expect(FileManager.default.fileExists(atPath: folder.path + "/models/gpt2/config.json"))
        try write("file")
        refuses("file", naming: "no folder")
        try train("made")
        try train("made") { try? write("made/notes.txt") }
        #expect(FileManager.default.contents(atPath: folder.path + "/made/notes.txt") == Data("mine".utf8))
        refuses("made", naming: "notes.txt")
        #expect(try TextEngine(model: folder.path + "/made").generate("the", GenerateOptions(maxLength: 12)).count == 1)
    }

    @Test("what changes the arithmetic changes the checkpoint, and what only saves memory does not")
    func arithmetic() throws {
        let folder = try TemporaryDirectory()
        func digest(_ name: String, _ edit: @escaping (inout TrainOptions) -> Void = { _ in }) throws -> String {
            try TextEngine.train(.model(Fixtures.reference + "/gpt2"), on: [corpus], output: folder.path + "/" + name, options(edit))
        }
        let plain = try digest("plain")
        #expect(try digest("checkpointing") { $0.gradientCheckpointing = true } == plain)
        let edits: [(String, (inout TrainOptions) -> Void)] = [
            ("precision", { $0.precision = .bfloat16 }), ("frozen", { $0.freezeLayers = true }), ("epsilon", { $0.adamEpsilon = 1e-3 }),
            ("blocks", { ($0.freezeLayers, $0.numLayersFreeze) = (true, 1) }), ("warm-up", { $0.warmupSteps = 2 }),
        ]
        var digests: Set = [plain]
        for (name, edit) in edits { digests.insert(try digest(name, edit)) }
        #expect(digests.count == 1 + edits.count)
    }

    @Test("an adapter is trained beside its base, and merged where it is asked to be")
    func adapter() throws {
        let folder = try TemporaryDirectory()
        let base = TrainingBase.model(Fixtures.reference + "/gpt2")
        var made = options { $0.lora = TrainOptions.LoRA(rank: 4, alpha: 16) }
        let beside = try TextEngine.train(base, on: [corpus], output: folder.path + "/beside", made)
        #expect(FileManager.default.fileExists(atPath: folder.path + "/beside/adapter_model.safetensors"))
        made.lora?.merged = true
        let merged = try TextEngine.train(base, on: [corpus], output: folder.path + "/merged", made)
        #expect(!FileManager.default.fileExists(atPath: folder.path + "/merged/adapter_model.safetensors"))
        // One model to generate from, under a digest of each form.
        let engines = try ["beside", "merged"].map { try TextEngine(model: folder.path + "/" + $0) }
        #expect(engines.map(\.checkpointSHA256) == [beside, merged] && beside != merged)
        let texts = try engines.map { try $0.generate("In the", GenerateOptions(n: 2, seed: 1, maxLength: 30)).map(\.text) }
        let scores = try engines.map { try $0.score("In the beginning").logprobs }
        #expect(texts[0] == texts[1] && scores[0] == scores[1])
        #expect(try scores[0] != TextEngine(model: Fixtures.reference + "/gpt2").score("In the beginning").logprobs)
        made.lora?.targets = ["c_fc"]
        #expect(try TextEngine.train(base, on: [corpus], output: folder.path + "/other", made) != merged)
    }

    @Test("a stopped run goes on to the checkpoint of one that was never stopped, and only with the same data and options")
    func resume() throws {
        let folder = try TemporaryDirectory()
        let output = folder.path + "/stopped"
        let base = TrainingBase.model(Fixtures.reference + "/gpt2")
        for adapter in [nil, TrainOptions.LoRA(rank: 2, merged: true)] {
            var options = options { $0.lora = adapter }
            let whole = try TextEngine.train(base, on: [corpus], output: folder.path + "/whole", options)
            options.resume = true
            var steps: [Int] = []
            func go(_ options: TrainOptions, until last: Int) throws(EngineError) -> String {
                try TextEngine.train(base, on: [corpus], output: output, options, each: { steps.append($0.step) }, isStopped: { steps.last == last })
            }
            _ = try go(options, until: 2)
            var other = options
            other.learningRate = 0.5
            let error = #expect(throws: EngineError.self) { try go(other, until: 4) }
            #expect(error?.description.contains("other options") == true)
            #expect(try go(options, until: 4) == whole && steps == [1, 2, 3, 4])
            try FileManager.default.removeItem(atPath: output)
        }
    }

    @Test("checkpoints and samples come on schedule, and samples change nothing")
    func schedule() throws {
        let folder = try TemporaryDirectory()
        let base = TrainingBase.model(Fixtures.reference + "/gpt2")
        let silent = try TextEngine.train(base, on: [corpus], output: folder.path + "/silent", options())
        var samples: [TrainedSample] = []
        var saved: [Int] = []
        let output = folder.path + "/watched"
        let watched = options { ($0.saveEvery, $0.generateEvery, $0.nGenerate) = (3, 2, 2) }
        let digest = try TextEngine.train(
            base, on: [corpus], output: output, watched,
            each: { step in
                #expect(step.learningRate > 0 && step.gradientNorm > 0 && step.tokensPerSecond > 0)
                if FileManager.default.fileExists(atPath: output + "/model.safetensors") { saved.append(step.step) }
            }, sample: { samples.append($0) })
        #expect(digest == silent && saved == [4])
        #expect(samples.map { [$0.step, $0.sample] } == [[2, 0], [2, 1], [4, 0], [4, 1]] && samples.allSatisfy { !$0.text.isEmpty })
    }

    @Test("texts, CSV rows, encoded and joined data are what a finetune takes, and stages halve steps and rate")
    func data() throws {
        let folder = try TemporaryDirectory()
        let base = TrainingBase.model(Fixtures.reference + "/gpt2")
        let rows = (0..<40).map { "In the beginning of day \($0)" }
        let csv = folder.path + "/rows.csv"
        try Data(("text,number\n" + rows.map { "\($0),7\n" }.joined()).utf8).write(to: URL(filePath: csv))
        let encoded = folder.path + "/encoded"
        let tokenizer = try Tokenizer.load(path: Fixtures.reference + "/gpt2")
        _ = try TokenDataset.encode(files: [csv], tokenizer: tokenizer, lineByLine: true, toCache: encoded)
        var digests: Set<String> = []
        for data in [.texts(rows), .files([csv], lineByLine: true), .encoded(encoded)] as [TrainingData] {
            digests.insert(try TextEngine.train(base, on: data, output: folder.path + "/made", options()))
        }
        #expect(digests.count == 1)
        let parts: [TrainingData] = [.texts(rows), .files([corpus])]
        for equalize in [true, false] {
            digests.insert(try TextEngine.train(base, on: .merge(parts, equalize: equalize), output: folder.path + "/made", options()))
        }
        #expect(digests.count == 3)
        var steps: [TrainedStep] = []
        try TextEngine.train(base, on: .crossTrain(parts), output: folder.path + "/made", options()) { steps.append($0) }
        #expect(steps.count == 6 && steps[4].learningRate == steps[0].learningRate / 2)
    }

    @Test("what a finetune would be refused for is refused here, before anything is written")
    func refused() throws {
        let folder = try TemporaryDirectory()
        let output = folder.path + "/made"
        let base = TrainingBase.model(Fixtures.reference + "/gpt2")
        let texts = TrainingData.files([corpus])
        refuses(.config("gpt2-cpu"), on: texts, output, options { $0.lora = TrainOptions.LoRA() }, naming: "lora", "base model")
        refuses(base, on: texts, output, options { ($0.lora, $0.freezeLayers) = (TrainOptions.LoRA(), true) }, naming: "freeze_layers")
        refuses(base, on: texts, output, options { $0.lora = TrainOptions.LoRA(rank: 0) }, naming: "lora.rank")
        refuses(
            base, on: texts, output,
            options {
                $0.lora = TrainOptions.LoRA()
                $0.lora?.targets = ["no_such"]
            }, naming: "no_such")
        refuses(base, on: texts, output, options { $0.seed = 1 << 53 }, naming: "seed")
        refuses(base, on: texts, output, options { $0.saveEvery = -1 }, naming: "save_every")
        refuses(base, on: texts, output, options { $0.warmupSteps = 5 }, naming: "warmup_steps")
        refuses(base, on: .texts(["In"]), output, options(), naming: "tokens", "block_size")
        refuses(base, on: .merge([]), output, options(), naming: "merge")
        refuses(base, on: .merge([.crossTrain([texts])]), output, options(), naming: "cross_train")
        refuses(base, on: .crossTrain([texts, texts, texts, texts]), output, options(), naming: "num_steps")
        refuses(base, on: .files([folder.path + "/none.txt"]), output, options(), naming: "none.txt")
        let encoded = folder.path + "/encoded"
        _ = try TokenDataset.encode(files: [corpus], tokenizer: Tokenizer.load(path: Fixtures.reference + "/gpt2"), toCache: encoded)
        refuses(.config("gpt2-cpu"), on: .encoded(encoded), output, options(), naming: "encoded already")
        let other = folder.path + "/other"
        try TextEngine.train(.config("gpt2-cpu"), on: [corpus], output: other, options())
        refuses(base, on: texts, output, options { $0.tokenizer = other }, naming: "tokenizer", other)
        try TextEngine.train(.config("gpt2-cpu"), on: .encoded(encoded), output: output, options { $0.tokenizer = Fixtures.reference + "/gpt2" })
        #expect(try TextEngine(model: output).encode("In the") == TextEngine(model: Fixtures.reference + "/gpt2").encode("In the"))
    }

    @Test("where no kernel can run, an error says so, and nothing is tried")
    func noInstructionSet() throws {
        let error = #expect(throws: KernelError.self) { _ = try TextEngine.computePool(threads: 1, available: []) }
        #expect(error == .noInstructionSet)
    }
}
