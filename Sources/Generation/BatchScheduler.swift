package import Kernels
package import LanguageModels
package import Tokenizers

/// What a scheduler may use.
package struct SchedulerOptions: Sendable, Equatable {
    /// Samples that run at a time.
    package var slots = 32
    /// Prompt tokens a step while nothing is being decoded.
    package var prefillRows = 256
    /// Prompt tokens a step while other texts are being decoded: they wait that long at most.
    package var mixedPrefillRows = 64
    /// Bytes that key-value pages may take; nil: as many as the slots can fill.
    package var keyValueBytes: Int?

    package init(slots: Int = 32, prefillRows: Int = 256, mixedPrefillRows: Int = 64, keyValueBytes: Int? = nil) {
        self.slots = slots
        self.prefillRows = prefillRows
        self.mixedPrefillRows = mixedPrefillRows
        self.keyValueBytes = keyValueBytes
    }
}

/// Continuous batching: runs the samples of any number of requests together, one token a step each, and lets new ones in
/// as soon as a slot is free.
///
///     let id = try scheduler.add(request)
///     var events: [GenerationEvent] = []
///     while scheduler.step(into: &events) { … }
///
/// A state machine without I/O, clocks or randomness of its own. A sample is the same, bit for bit, whatever runs beside
/// it: batch mates, cancellations and the moment it starts change nothing. Samples of one prompt share its prefill. A
/// request that fails ends alone. Not Sendable: it lives on the engine's thread.
package final class BatchScheduler {
    package let model: LanguageModel
    package let tokenizer: Tokenizer
    package let options: SchedulerOptions
    /// Runs the model; its pool also shares out the choosing of tokens.
    package let session: InferenceSession
    let table: TokenTable
    let candidates: [Candidates]
    let pageLimit: Int
    var nextID: UInt64 = 0
    /// In order of arrival, until they end.
    var jobs: [Job] = []
    var running: [RunningSample] = []
    var reservedPages = 0
    var outbox: [GenerationEvent] = []
    /// Requests that the session refused while a step was gathered: they end when it has run, since its rows still
    /// point at their pages.
    var refused: [(Job, ModelError)] = []
    /// The samples of this step's rows of logits, and what was chosen for them.
    var rows: [RunningSample] = []
    var choices: [Sampler.Choice] = []

    /// - Parameters:
    ///   - pool: with the instruction set that the model was packed for.
    /// - Throws: ``ModelError/tokenizerTooLarge(tokens:rows:)``.
    package init(model: LanguageModel, tokenizer: Tokenizer, pool: ThreadPool, options: SchedulerOptions = SchedulerOptions()) throws(ModelError) {
        try model.check(tokenizerCount: tokenizer.vocabularySize)
        self.model = model
        self.tokenizer = tokenizer
        self.options = options
        let most = 2 * options.slots * InferenceSession.pageCount(positions: model.description.contextLength)
        let pageBytes = InferenceSession.pageByteCount(model.description)
        pageLimit = options.keyValueBytes.map { max(1, $0 / pageBytes) } ?? most
        session = InferenceSession(
            model: model, pool: pool, maximumRows: options.slots + options.prefillRows, maximumLogitRows: options.slots,
            maximumSequences: 2 * options.slots, maximumPages: nil)
        table = TokenTable(tokenizer, rows: model.description.vocabularySize)
        candidates = (0..<pool.threadCount).map { _ in Candidates(rows: model.description.vocabularySize) }
    }

    /// Slots that no sample holds or waits for.
    package var freeSlots: Int { max(0, options.slots - running.count - jobs.reduce(0) { $0 + ($1.isEnded ? 0 : $1.count - $1.nextToStart) }) }
    /// Samples that hold a slot.
    package var runningCount: Int { running.count }
    /// Whether a step would do nothing.
    package var isIdle: Bool { jobs.isEmpty && outbox.isEmpty }

    /// Takes a request. Its samples start as slots become free, in order of arrival.
    /// - Throws: what is wrong with it; nothing of it then stays here.
    package func add(_ request: GenerationRequest) throws(GenerationError) -> RequestID {
        guard request.n >= 1 else { throw .invalidParameter(field: "n", reason: "must be at least 1") }
        guard !request.prompts.isEmpty else { throw .invalidParameter(field: "prompts", reason: "is empty") }
        guard request.parameters.doSample || request.n == 1 else {
            throw .invalidParameter(field: "n", reason: "must be 1 where do_sample is false: all texts would be equal")
        }
        let plan = try SamplingPlan(request.parameters, tokenizer: tokenizer, description: model.description)
        let maximumLength = min(request.parameters.maxLength, model.description.contextLength)
        var prompts: [PromptState] = []
        for (index, text) in request.prompts.enumerated() {
            let tokens = try tokens(of: request, index: index, text: text)
            try check(promptTokens: tokens.count, index: index, maximumLength: request.parameters.maxLength)
            prompts.append(PromptState(index: index, text: text, tokens: tokens, samples: request.n))
        }
        let needed = 2 * InferenceSession.pageCount(positions: maximumLength)
        guard needed <= pageLimit else {
            let pageBytes = InferenceSession.pageByteCount(model.description)
            throw .tooLarge(neededBytes: needed * pageBytes, allowedBytes: pageLimit * pageBytes)
        }
        let id = RequestID(value: nextID)
        nextID += 1
        jobs.append(Job(id: id, request: request, plan: plan, prompts: prompts, maximumLength: maximumLength))
        return id
    }

    /// Ends a request; the next step reports it. False where it has ended already.
    @discardableResult
    package func cancel(_ id: RequestID) -> Bool {
        guard let job = jobs.first(where: { $0.id == id }) else { return false }
        end(job, with: .cancelled(id))
        return true
    }

    /// Runs one step: a token for every sample that decodes, and a piece of the prompts that wait.
    /// - Parameter events: what happened is added to it.
    /// - Returns: false where there was nothing to do.
    @discardableResult
    package func step(into events: inout [GenerationEvent]) -> Bool {
        let hadWork = !isIdle
        admit()
        if !running.isEmpty {
            session.begin()
            rows.removeAll(keepingCapacity: true)
            gatherDecodes()
            let prefilled = gatherPrefill()
            session.run()
            for (job, error) in refused { fail(job, .model(error)) }
            refused.removeAll()
            for prompt in prefilled { startDecoding(prompt) }
            chooseTokens()
            takeTokens()
        }
        events.append(contentsOf: outbox)
        outbox.removeAll(keepingCapacity: true)
        return hadWork
    }

    private func tokens(of request: GenerationRequest, index: Int, text: String) throws(GenerationError) -> [Int32] {
        guard let given = request.promptTokenIDs else { return try encode(text, prependBos: request.prependBos ?? model.description.lineByLine) }
        let rows = model.description.vocabularySize
        guard given.count == request.prompts.count, !given[index].isEmpty, given[index].allSatisfy({ $0 >= 0 && $0 < rows }) else {
            throw .invalidParameter(field: "prompt_token_ids", reason: "do not fit the prompts or the model's vocabulary of \(rows)")
        }
        return given[index]
    }

    private func encode(_ prompt: String, prependBos: Bool) throws(GenerationError) -> [Int32] {
        let tokens = prompt.isEmpty ? [] : tokenizer.encode(prompt)
        let rows = model.description.vocabularySize
        guard tokens.allSatisfy({ $0 < rows }) else { throw .model(.tokenizerTooLarge(tokens: tokenizer.vocabularySize, rows: rows)) }
        guard prependBos || tokens.isEmpty else { return tokens }
        guard let bos = model.description.bosID else { throw .noBeginning }
        return [bos] + tokens
    }

    private func check(promptTokens count: Int, index: Int, maximumLength: Int) throws(GenerationError) {
        let context = model.description.contextLength
        guard count < context else { throw .promptTooLong(promptIndex: index, tokens: count, limit: context, isContext: true) }
        guard count < maximumLength else { throw .promptTooLong(promptIndex: index, tokens: count, limit: maximumLength, isContext: false) }
    }
}
