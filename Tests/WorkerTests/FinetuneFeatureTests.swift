import ArtifactStore
import Encodings
import ModelFiles
import TaskProtocol
import TestSupport
import Testing
import Worker

/// What a finetune task can ask for, through the worker's engine: it runs, and a stop changes no bit.
@Suite("Finetune features")
struct FinetuneFeatureTests {
    /// A task, and the base that it needs.
    struct Feature: Sendable, CustomTestStringConvertible {
        let name: String
        var hasBase = false
        let change: @Sendable (inout FinetuneParameters) -> Void
        var testDescription: String { name }
    }

    private static let texts = (0..<40).map { "line \($0) of the river and the stone, the garden and the glass number \($0 * 7)" }
    private static let lines = texts.joined(separator: "\n")

    static let features = [
        Feature(name: "dropout") { $0.dropout = 0.2 },
        Feature(name: "bfloat16") { $0.precision = .bfloat16 },
        Feature(name: "frozen and checkpointed") {
            ($0.freezeLayers, $0.numLayersFreeze, $0.gradientCheckpointing) = (true, 2, true)
        },
        Feature(name: "accumulated, warmed up") { ($0.gradientAccumulationSteps, $0.warmupSteps, $0.avgLossSmoothing) = (2, 3, 0.5) },
        Feature(name: "texts") { $0.dataset = .texts(texts) },
        Feature(name: "line by line") { ($0.dataset, $0.lineByLine, $0.header) = (.text(lines), true, true) },
        Feature(name: "merged and equalized") {
            $0.dataset = .merge([.init(.text(lines), lineByLine: true), .init(.texts(Array(texts.prefix(20))))], equalize: true)
        },
        Feature(name: "merged whole") { $0.dataset = .merge([.init(.text(lines)), .init(.texts(texts))], equalize: false) },
        Feature(name: "cross-trained") {
            $0.dataset = .crossTrain([.init(.text(lines)), .init(.merge([.init(.texts(texts)), .init(.text(lines))], equalize: true))])
        },
        Feature(name: "GPT Neo") { $0.base = .namedConfig("gpt-neo-cpu") },
        Feature(name: "LoRA", hasBase: true) { $0.lora = .init() },
        Feature(name: "LoRA with dropout in bfloat16, cross-trained", hasBase: true) {
            var lora = FinetuneParameters.LoRA()
            (lora.rank, lora.alpha, lora.dropout, lora.targets) = (3, 6, 0.1, ["c_attn", "mlp.c_proj"])
            ($0.lora, $0.precision) = (lora, .bfloat16)
            $0.dataset = .crossTrain([.init(.text(lines)), .init(.texts(texts))])
        },
    ]

    private func task(_ feature: Feature, _ change: (inout FinetuneParameters) -> Void = { _ in }) throws -> TaskParameters {
        try EngineBench.finetune {
            $0.saveEvery = 0
            feature.change(&$0)
            if feature.hasBase { ($0.base, $0.tokenizer) = (.model("demo"), nil) }
            change(&$0)
        }
    }

    private func whole(_ feature: Feature, _ change: (inout FinetuneParameters) -> Void = { _ in }) throws -> [EngineReport] {
        var bench = try EngineBench(threads: 2)
        let model = feature.hasBase ? try bench.model() : nil
        let lease = bench.start(try task(feature, change), model: model)
        let reports = bench.run()
        #expect(reports.failure(of: lease)?.error == nil)
        return reports
    }

    @Test("a run that is drained and goes on elsewhere files the checkpoint of one that was not", arguments: features)
    func resumes(feature: Feature) throws {
        let expected = try #require(try whole(feature).checkpoints.last)
        var first = try EngineBench()
        let model = feature.hasBase ? try first.model() : nil
        let lease = first.start(try task(feature), model: model)
        let resume = try #require(first.drain(lease, afterTurns: 4))
        #expect((1..<expected.step).contains(try #require(ResumeReference(json: resume)).step))
        var second = try EngineBench(threads: 2, sharing: first)
        let again = second.start(try task(feature), model: model, resume: resume)
        let reports = second.run()
        #expect(reports.failure(of: again)?.error == nil)
        #expect(reports.checkpoints.map(\.sha256) == [expected.sha256] && reports.checkpoints.map(\.step) == [expected.step])
    }

    @Test("samples and saves on schedule change no bit, and dropout does", arguments: [features[0], features[10]])
    func schedules(feature: Feature) throws {
        let plain = try #require(try whole(feature).checkpoints.last)
        let busy = try whole(feature) { ($0.generateEvery, $0.nGenerate, $0.saveEvery) = (3, 2, 2) }
        #expect(busy.checkpoints.map(\.step) == [2, 4, 6, 8] && busy.checkpoints.last?.sha256 == plain.sha256)
        var sampled: [Int?] = []
        for case .events(_, let events) in busy { for case .sample(_, _, _, _, _, let step) in events { sampled.append(step) } }
        #expect(sampled == [3, 3, 6, 6])
        let dropped = try #require(try whole(feature) { $0.dropout = 0.3 }.checkpoints.last)
        #expect(dropped.sha256 != plain.sha256)
    }

    @Test("an adapter is filed beside its base as PEFT keeps it, and texts come from the two merged")
    func adapter() throws {
        var bench = try EngineBench()
        let model = try bench.model()
        _ = bench.start(try task(Self.features[10]), model: model)
        let record = try #require(bench.run().checkpoints.last)
        let files = Set(try bench.store.manifest(record.manifest).files.map(\.path))
        #expect(files.isSuperset(of: ["adapter_config.json", "adapter_model.safetensors", "model.safetensors", "config.json", "tokenizer.json"]))
        let folder = try TemporaryDirectory()
        try bench.store.materialise(record.manifest, into: folder.path + "/model")
        let adapter = try #require(try ModelDirectory.open(folder.path + "/model").tensors.adapter)
        #expect(adapter.rank == 8 && adapter.config["base_model_name_or_path"] == .string("demo"))
        func text(_ model: ResolvedModel) throws -> String? {
            let lease = bench.start(EngineBench.generate { $0.doSample = false }, model: model)
            return bench.run().texts(of: lease)?.first
        }
        let adapted = ResolvedModel(
            name: "out", checkpoint: UUIDValue(hi: 1, lo: 2), sha256: record.sha256, manifest: record.manifest,
            tokenizerSHA256: record.tokenizerSHA256, contextLength: record.contextLength, lineByLine: record.lineByLine)
        #expect(try text(adapted) != nil && record.sha256 != model.sha256)
        // What was trained so can be trained further, from the merged weights.
        let further = bench.start(try task(Self.features[11]), model: adapted)
        let reports = bench.run()
        #expect(reports.failure(of: further)?.error == nil && reports.checkpoints.last?.sha256 != record.sha256)
    }

    @Test("a stage counts its own steps, the run all of them, and every step is a row with its rate")
    func rows() throws {
        let reports = try whole(Self.features[8])
        let rows = reports.flatMap { if case .progress(_, _, let steps) = $0 { steps } else { [TrainingStepRecord]() } }
        #expect(rows.map(\.step) == Array(1...12))
        #expect(rows[0].learningRate == 1e-3 && rows[8].learningRate == 5e-4 && rows[11].learningRate < rows[8].learningRate)
        guard case .finished(_, _, let result?)? = reports.last else {
            Issue.record("it did not finish")
            return
        }
        #expect(try JSONValue.parse(result)["steps"] == .integer(12))
    }

    @Test("a loss that is no number fails the task, names the step, is never tried again, and the last good checkpoint stays")
    func diverges() throws {
        var bench = try EngineBench()
        let lease = bench.start(
            try EngineBench.finetune {
                ($0.learningRate, $0.weightDecay, $0.numSteps, $0.saveEvery) = (1000, 1000, 400, 1)
            })
        let reports = bench.run()
        let failure = try #require(reports.failure(of: lease))
        #expect(failure.error.code == .modelError && failure.isFinal && failure.error.message.contains("at step "))
        let last = try #require(reports.checkpoints.last)
        let folder = try TemporaryDirectory()
        try bench.store.materialise(last.manifest, into: folder.path + "/model")
        let tensors = try ModelDirectory.open(folder.path + "/model").tensors
        for name in tensors.names { #expect(try tensors.float32(name).allSatisfy(\.isFinite)) }
        let rows = reports.flatMap { if case .progress(_, _, let steps) = $0 { steps.map(\.step) } else { [Int]() } }
        #expect(rows == Array(1...(try #require(rows.last))))
    }

    @Test("what does not fit is invalid_argument and names its parameter")
    func refusals() throws {
        func refusal(_ change: (inout FinetuneParameters) -> Void, hasBase: Bool = false) throws -> String? {
            var bench = try EngineBench()
            let lease = bench.start(try EngineBench.finetune(change), model: hasBase ? try bench.model() : nil)
            let failure = bench.run().failure(of: lease)
            #expect(failure?.isFinal != false && failure?.error.code != .internalError)
            return failure?.error.field
        }
        #expect(try refusal { $0.dataset = .crossTrain([.init(.text(Self.lines)), .init(.text("a b"))]) } == "params.cross_train")
        #expect(try refusal { $0.dataset = .merge([.init(.text("a")), .init(.text("b"))], equalize: true) } == "params.dataset")
        #expect(
            try refusal(
                {
                    ($0.base, $0.tokenizer) = (.model("demo"), nil)
                    $0.lora = .init()
                    $0.lora?.targets = ["q_proj"]
                }, hasBase: true) == "params.lora.targets")
        #expect(try refusal { ($0.freezeLayers, $0.numLayersFreeze) = (true, 5) } == "params.num_layers_freeze")
    }
}
