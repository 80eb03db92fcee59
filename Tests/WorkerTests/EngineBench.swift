import ArtifactStore
import Encodings
import FoundationEssentials
import LanguageModels
import ModelFiles
import TaskProtocol
import TestSupport
import Worker

/// A ``LocalEngine`` over a temporary store with the reference model in it.
struct EngineBench {
    let folder: TemporaryDirectory
    let store: ArtifactDirectory
    let engine: LocalEngine
    private var leases: UInt64 = 0

    init(threads: Int = 1, slots: Int = 8, cacheBytes: Int = 1 << 30, sharing other: EngineBench? = nil, signingKey: SigningKey? = nil) throws {
        folder = try TemporaryDirectory()
        store = try other?.store ?? ArtifactDirectory(path: folder.path + "/artifacts")
        engine = try LocalEngine(
            artifacts: store, cacheDirectory: folder.path + "/cache", cacheBytes: cacheBytes, threads: threads, slots: slots, signingKey: signingKey)
    }

    /// Puts a model's folder into the store.
    func model(_ path: String = Fixtures.reference + "/gpt2") throws -> ResolvedModel {
        let manifest = try store.putDirectory(path) { !$0.hasSuffix("golden.json") }
        let files = try ModelDirectory.open(path)
        let description = try Architectures.describe(config: files.config, generation: files.generationConfig)
        return ResolvedModel(
            name: "demo", checkpoint: UUIDValue(hi: 1, lo: 1), sha256: try description.checkpointDigest(description.weights(in: files.tensors)),
            manifest: manifest.sha256,
            tokenizerSHA256: nil, contextLength: description.contextLength, lineByLine: false)
    }

    /// Puts a model into the store whose weights are no numbers: it loads, and computes nothing.
    func modelWithoutNumbers() throws -> ResolvedModel {
        let damaged = folder.path + "/damaged"
        try FileManager.default.copyItem(atPath: Fixtures.reference + "/gpt2", toPath: damaged)
        var weights = try Data(contentsOf: URL(filePath: damaged + "/model.safetensors"))
        let header = weights.prefix(8).enumerated().reduce(0) { $0 | Int($1.element) << (8 * $1.offset) }
        for place in stride(from: 8 + header, to: weights.count - 3, by: 4) { weights.replaceSubrange(place..<place + 4, with: [0, 0, 0xC0, 0x7F]) }
        try weights.write(to: URL(filePath: damaged + "/model.safetensors"))
        return try model(damaged)
    }

    /// Starts a task.
    mutating func start(
        _ parameters: TaskParameters, seed: Int64 = 12_345_678, model: ResolvedModel? = nil, dataset: ResolvedDataset? = nil,
        texts: [ResolvedText] = [],
        resume: [UInt8]? = nil
    ) -> LeaseID {
        leases += 1
        let task = ResolvedTask(parameters: parameters, seed: seed, seedAssigned: true, model: model, dataset: dataset, texts: texts)
        let lease = LeaseID(hi: 2, lo: leases)
        engine.start(WorkerGrant(task: TaskID(hi: 3, lo: leases), lease: lease, attempt: 1, resolved: task.json, resume: resume))
        return lease
    }

    /// Works until nothing is left to do, or `enough` says so.
    func run(until enough: ([EngineReport]) -> Bool = { _ in false }) -> [EngineReport] {
        var reports = engine.takeReports()
        while !enough(reports), engine.turn() { reports += engine.takeReports() }
        return reports + engine.takeReports()
    }

    /// Lets a finetune make some turns, then drains it.
    /// - Returns: what another attempt can go on from.
    func drain(_ lease: LeaseID, afterTurns count: Int) -> [UInt8]? {
        var turns = 0
        _ = run { reports in
            turns += reports.contains(.started(lease)) ? 1 : 0
            return turns == count
        }
        engine.stop(lease, .draining)
        return run().stopped(lease).resume
    }

    /// A generate of the reference model.
    static func generate(_ change: (inout GenerateParameters) -> Void = { _ in }) -> TaskParameters {
        var parameters = GenerateParameters(model: "demo")
        parameters.prompts = ["Granite violet"]
        parameters.maxLength = 40
        change(&parameters)
        return .generate(parameters)
    }

    /// What the store hands to a verify of these texts, as `scriptorium.proof()` puts it together.
    static func texts(_ records: [GenerationRecord], seed: Int64 = 12_345_678, change: (inout JSONObject) -> Void = { _ in }) throws -> [ResolvedText]
    {
        try records.enumerated().map { index, record in
            func ids(_ tokens: [Int32]) -> JSONValue { .array(tokens.map { .integer(Int64($0)) }) }
            let params = try JSONValue.parse(record.params)
            var proof: JSONObject = [
                "format": "scriptorium/1", "checkpoint_sha256": .string(record.checkpointSHA256), "tokenizer_sha256": .string(record.tokenizerSHA256),
                "numerics": .string(record.numerics), "precision": params["precision"] ?? .null, "rng": params["rng"] ?? .null,
                "seed": .integer(seed), "seed_assigned": true, "params": params, "sample": .integer(Int64(record.sample)),
                "prompt_index": .integer(Int64(record.promptIndex)), "draw": .integer(Int64(record.draw)), "prompt": .string(record.prompt),
                "prompt_token_ids": ids(record.promptTokenIDs), "token_ids": ids(record.tokenIDs),
                "finish_reason": .string(record.finishReason.rawValue), "record_sha256": .string(record.recordSHA256), "text": .string(record.text),
                "signature": record.signature.map { .string($0) } ?? .null, "mean_logprob": record.meanLogprob.map { .real($0) } ?? .null,
                "schema": try record.schema.map { try JSONValue.parse($0) } ?? .null,
                "logprobs": try record.logprobs.map { try JSONValue.parse($0) } ?? .null,
            ]
            change(&proof)
            return ResolvedText(generation: UUIDValue(hi: 7, lo: UInt64(index)), proof: JSONValue.object(proof).canonical)
        }
    }

    /// A finetune from scratch on a piece of the reference corpus.
    static func finetune(_ change: (inout FinetuneParameters) -> Void = { _ in }) throws -> TaskParameters {
        let corpus = String(decoding: try Fixtures.bytes("corpus.txt").prefix(8000), as: UTF8.self)
        var parameters = FinetuneParameters(base: .namedConfig("gpt2-cpu"), output: "out", dataset: .text(corpus))
        parameters.tokenizer = .train(vocabularySize: 300, minimumFrequency: 2)
        parameters.blockSize = 16
        parameters.batchSize = 2
        parameters.numSteps = 8
        parameters.saveEvery = 4
        parameters.generateEvery = 0
        change(&parameters)
        return .finetune(parameters)
    }
}

extension [EngineReport] {
    /// The result of a task that finished.
    func result(of lease: LeaseID) -> JSONValue? {
        for case .finished(lease, _, let result?) in self { return try? JSONValue.parse(result) }
        return nil
    }

    /// The texts' records of a task that finished.
    func records(of lease: LeaseID) -> [GenerationRecord]? {
        for case .finished(lease, let generations, _) in self { return generations.sorted { $0.sample < $1.sample } }
        return nil
    }

    /// The texts of a task that finished.
    func texts(of lease: LeaseID) -> [String]? {
        for case .finished(lease, let generations, _) in self { return generations.sorted { $0.sample < $1.sample }.map(\.text) }
        return nil
    }

    /// How a task failed.
    func failure(of lease: LeaseID) -> (error: ContractError, isFinal: Bool)? {
        for case .failed(lease, let error, let final) in self { return (error, final) }
        return nil
    }

    /// The checkpoints that were filed, in order.
    var checkpoints: [CheckpointRecord] {
        compactMap { if case .checkpoint(_, _, let record?, _) = $0 { record } else { nil } }
    }

    /// Whether a task stopped, and what it can be resumed from.
    func stopped(_ lease: LeaseID) -> (isStopped: Bool, resume: [UInt8]?) {
        for case .stopped(lease, let resume) in self { return (true, resume) }
        return (false, nil)
    }
}
