import Encodings
package import Generation
import LanguageModels
package import TaskProtocol
import Tokenizers

/// One generate task in the engine: its request, and what became of it so far.
struct GenerateRun {
    let lease: LeaseID
    let parameters: GenerateParameters
    let seat: ModelSeat
    let request: Generation.RequestID
    /// Why it is being stopped, once it is.
    var stopping: StopReason?
    private var records: [GenerationRecord] = []
    private var events: [WorkerEvent] = []
    private var isStarted = false
    private var saidProgressAt: Milliseconds
    private let slots: Int
    private let signingKey: SigningKey?
    private static let progressMilliseconds: Milliseconds = 1000

    /// Adds the task to its model's scheduler.
    /// - Parameter signingKey: signs the proof record of every text.
    init(
        lease: LeaseID, task: ResolvedTask, parameters: GenerateParameters, seat: ModelSeat, slots: Int, signingKey: SigningKey?, now: Milliseconds
    ) throws(TaskFault) {
        let parameters = parameters.completed(by: seat.loaded.schema)
        self.lease = lease
        self.parameters = parameters
        self.seat = seat
        self.slots = slots
        self.signingKey = signingKey
        saidProgressAt = now
        do throws(GenerationError) {
            request = try seat.scheduler.add(GenerationRequest(task: task, parameters: parameters, lineByLine: seat.loaded.lineByLine))
        } catch { throw TaskFault(error, hasPromptList: parameters.hasPromptList) }
        seat.leases[request] = lease
    }

    /// Takes what a step of the scheduler said about this task.
    mutating func take(_ event: GenerationEvent) {
        switch event {
        case .token(_, let piece):
            events.append(
                .token(sample: piece.sample, draw: piece.draw, index: piece.index, tokenID: Int(piece.tokenID), text: piece.text))
        case .sample(_, let sample):
            var record = GenerationRecord(sample, parameters: parameters, loaded: seat.loaded)
            record.signature = signingKey.map { NamedSignature(sample.record, by: $0).description }
            records.append(record)
            events.append(
                .sample(
                    sample: sample.sample, promptIndex: sample.promptIndex, draw: sample.draw, text: sample.text,
                    finishReason: sample.finishReason.rawValue, step: nil))
        case .finished, .failed, .cancelled: break
        }
    }

    /// What is to be reported after a step in which the task took part.
    mutating func reports(now: Milliseconds) -> [EngineReport] {
        var reports: [EngineReport] = []
        if !isStarted {
            isStarted = true
            reports.append(.started(lease))
        }
        if !events.isEmpty {
            reports.append(.events(lease, events))
            events = []
        }
        let remaining = parameters.sequenceCount(texts: parameters.textCount - records.count)
        if remaining < slots { reports.append(.remaining(lease, sequences: remaining)) }
        if now - saidProgressAt >= Self.progressMilliseconds {
            saidProgressAt = now
            reports.append(.progress(lease, WorkerProgress(phase: .generating, done: records.count, total: parameters.textCount), steps: []))
        }
        return reports
    }

    /// The task's end.
    func end(_ event: GenerationEvent) -> EngineReport? {
        switch event {
        case .finished: .finished(lease, generations: records, result: nil)
        case .failed(_, let error):
            TaskFault(error, hasPromptList: parameters.hasPromptList).report(lease)
        case .cancelled: .stopped(lease, resume: nil)
        case .token, .sample: nil
        }
    }
}

extension TaskFault {
    /// How the task ends: failed, or given back where this machine is at fault.
    func report(_ lease: LeaseID) -> EngineReport { machine.map { .unfit(lease, $0) } ?? .failed(lease, error: error, final: isFinal) }
}

extension GenerationRequest {
    /// The engine's view of a task whose every value is pinned.
    init(task: ResolvedTask, parameters: GenerateParameters, lineByLine: Bool) {
        self.init(parameters: parameters, seed: task.seed, seedAssigned: task.seedAssigned, lineByLine: lineByLine)
    }

    /// The engine's view of a generate's parameters; their canonical JSON becomes part of the proof record.
    package init(parameters: GenerateParameters, seed: Int64, seedAssigned: Bool, lineByLine: Bool) {
        let params = (try? JSONValue.parse(parameters.recordJSON))?.objectValue ?? [:]
        self.init(
            prompts: parameters.prompts, n: parameters.n, parameters: SamplingParameters(parameters, seed: seed), text: TextOptions(parameters),
            prependBos: parameters.prependBOS ?? lineByLine, stream: parameters.stream,
            identity: ProofIdentity(params: params, seedAssigned: seedAssigned))
    }
}

extension SamplingParameters {
    init(_ parameters: GenerateParameters, seed: Int64) {
        self.init()
        doSample = parameters.doSample
        temperature = parameters.temperature
        topK = parameters.topK
        topP = parameters.topP
        minP = parameters.minP
        typicalP = parameters.typicalP
        repetitionPenalty = parameters.repetitionPenalty
        noRepeatNgramSize = parameters.noRepeatNgramSize
        minLength = parameters.minLength
        maxLength = parameters.maxLength
        slidingWindow = parameters.slidingWindow
        numBeams = parameters.numBeams
        lengthPenalty = parameters.lengthPenalty
        switch parameters.earlyStopping {
        case .no: earlyStopping = .no
        case .yes: earlyStopping = .yes
        case .never: earlyStopping = .never
        }
        badWords = parameters.badWords
        bannedTokens = parameters.bannedTokens
        stop = parameters.stop
        truncate = parameters.truncate
        self.seed = UInt64(clamping: seed)
        rng = parameters.rng == .torch ? .torch : .philox
        logprobs = parameters.logprobs
    }
}

extension TextOptions {
    init(_ parameters: GenerateParameters) {
        self.init()
        lstrip = parameters.lstrip
        includePrefix = parameters.includePrefix
        skipSpecialTokens = parameters.skipSpecialTokens
        cleanUpTokenizationSpaces = parameters.cleanUpTokenizationSpaces
        nonemptyOutput = parameters.nonemptyOutput
        deduplicate = parameters.deduplicate
        if parameters.schema {
            schema = Schema(
                tokens: parameters.schemaTokens ?? [], returned: parameters.schemaReturn, normalizesKeys: parameters.normalizeKey)
        }
    }
}

extension GenerateParameters {
    /// The parameters with the markers of the model's own config where the task asks for a schema and names none.
    package func completed(by config: Schema?) -> GenerateParameters {
        var result = self
        guard schema, schemaTokens == nil, let config else { return result }
        result.schemaTokens = config.tokens
        if schemaReturn == nil { result.schemaReturn = config.returned }
        return result
    }
}
extension GenerationRecord {
    init(_ sample: GeneratedSample, parameters: GenerateParameters, loaded: LoadedModel) {
        self.init(
            sample: sample.sample, promptIndex: sample.promptIndex, draw: sample.draw, prompt: sample.prompt, text: sample.text,
            schema: sample.schema, promptTokenIDs: sample.promptTokenIDs, tokenIDs: sample.tokenIDs,
            finishReason: TaskProtocol.FinishReason(rawValue: sample.finishReason.rawValue) ?? .length,
            meanLogprob: sample.tokenIDs.isEmpty ? nil : sample.meanLogprob, logprobs: sample.logprobs.map { $0.json.serialised },
            redrawn: sample.redrawn,
            params: parameters.recordJSON, recordSHA256: sample.recordSHA256,
            numerics: Numerics.version(of: loaded.model.precision),
            checkpointSHA256: loaded.model.checkpointSHA256, tokenizerSHA256: loaded.tokenizer.digest)
    }
}
