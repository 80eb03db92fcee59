import Encodings
import Generation
import Kernels
import LanguageModels
import ModelFiles
import TestSupport
import Testing
import Tokenizers

/// A loaded reference model with its tokenizer.
struct Engine {
    let pool: ThreadPool
    let model: LanguageModel
    let tokenizer: Tokenizer

    init(_ name: String = "gpt2", threads: Int = 2, set: InstructionSet = .current, precision: WeightPrecision = .float32) throws {
        pool = ThreadPool(threads: threads, instructionSet: set)
        let directory = try ModelDirectory.open(Fixtures.reference + "/" + name)
        model = try LanguageModel.load(directory, precision: precision, pool: pool)
        tokenizer = try Tokenizer.load(path: directory.tokenizerPath ?? Fixtures.reference)
    }

    init(model: LanguageModel, tokenizer: Tokenizer, pool: ThreadPool) {
        (self.model, self.tokenizer, self.pool) = (model, tokenizer, pool)
    }

    func scheduler(_ options: SchedulerOptions = SchedulerOptions(slots: 8)) throws -> BatchScheduler {
        try BatchScheduler(model: model, tokenizer: tokenizer, pool: pool, options: options)
    }

    /// Runs one request alone.
    func generate(_ request: GenerationRequest, options: SchedulerOptions = SchedulerOptions(slots: 8)) throws -> [GeneratedSample] {
        let scheduler = try scheduler(options)
        let id = try scheduler.add(request)
        return try Outcome(running: scheduler).samples(id)
    }
}

/// Everything that a scheduler reported until it was idle.
struct Outcome {
    var events: [GenerationEvent] = []

    init() {}

    init(running scheduler: BatchScheduler) {
        while scheduler.step(into: &events) {}
    }

    /// The samples of a request that finished.
    func samples(_ id: RequestID) throws -> [GeneratedSample] {
        var samples: [GeneratedSample] = []
        var isFinished = false
        for event in events {
            switch event {
            case .sample(id, let sample): samples.append(sample)
            case .finished(id): isFinished = true
            case .failed(id, let error): throw error
            default: break
            }
        }
        #expect(isFinished)
        return samples
    }

    func failure(_ id: RequestID) -> GenerationError? {
        for case .failed(id, let error) in events { return error }
        return nil
    }

    func pieces(_ id: RequestID) -> [TokenPiece] {
        events.compactMap { if case .token(id, let piece) = $0 { piece } else { nil } }
    }
}

enum Reference {
    static func json(_ path: String) throws -> JSONValue { try JSONValue.parse(Fixtures.bytes(path)) }
}

extension JSONValue {
    var floats: [Float] { (arrayValue ?? []).map { Float($0.doubleValue ?? .nan) } }
    var doubles: [Double] { (arrayValue ?? []).map { $0.doubleValue ?? .nan } }
    var ids: [Int32] { (arrayValue ?? []).map { Int32($0.intValue ?? -1) } }
}

extension GenerationRequest {
    /// A request over tokens instead of text.
    static func tokens(_ ids: [Int32], n: Int = 1, _ edit: (inout SamplingParameters) -> Void = { _ in }) -> GenerationRequest {
        var parameters = SamplingParameters()
        edit(&parameters)
        return GenerationRequest(prompts: [""], promptTokenIDs: [ids], n: n, parameters: parameters)
    }
}
