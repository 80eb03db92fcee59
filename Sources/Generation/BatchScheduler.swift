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
    var searches: [BeamGroup] = []
    var reservedPages = 0
    var outbox: [GenerationEvent] = []
    /// Requests that the session refused while a step was gathered: they end when it has run, since its rows still
    /// point at their pages.
    var refused: [(Job, ModelError)] = []
    /// The samples of this step's first rows of logits, and what was chosen for them.
    var rows: [RunningSample] = []
    var choices: [Sampler.Choice] = []
    /// The beams of the rows behind them.
    var beamRows: [(group: BeamGroup, beam: Int)] = []

    /// - Parameters:
    ///   - pool: with the instruction set that the model was packed for.
    /// - Throws: ``ModelError/tokenizerTooLarge(tokens:rows:)``.
    package init(model: LanguageModel, tokenizer: Tokenizer, pool: ThreadPool, options: SchedulerOptions = SchedulerOptions()) throws(ModelError) {
        try model.check(tokenizerCount: tokenizer.vocabularySize)
        self.model = model
        self.tokenizer = tokenizer
        self.options = options
        let most = max(2 * options.slots, Self.leastTexts) * InferenceSession.pageCount(positions: model.description.contextLength)
        let pageBytes = InferenceSession.pageByteCount(model)
        pageLimit = options.keyValueBytes.map { max(1, $0 / pageBytes) } ?? most
        session = InferenceSession(
            model: model, pool: pool, maximumRows: options.slots + max(options.prefillRows, options.mixedPrefillRows),
            maximumLogitRows: options.slots,
            maximumSequences: 2 * options.slots + SamplingParameters.mostBeams, maximumPages: nil)
        table = TokenTable(tokenizer, rows: model.description.vocabularySize)
        candidates = (0..<pool.threadCount).map { _ in Candidates(rows: model.description.vocabularySize) }
    }

    /// Texts of the whole context whose pages fit at least, however few the slots: a search with beams may have more beams.
    private static let leastTexts = 64

    /// Slots that samples and searches hold.
    package var runningCount: Int { searches.reduce(running.count) { $0 + $1.slots } }
    /// Whether a step would do nothing.
    package var isIdle: Bool { jobs.isEmpty && outbox.isEmpty }

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
        if !running.isEmpty || !searches.isEmpty {
            session.begin()
            rows.removeAll(keepingCapacity: true)
            beamRows.removeAll(keepingCapacity: true)
            gatherDecodes()
            gatherBeams()
            let prefilled = gatherPrefill()
            session.run()
            for (job, error) in refused { fail(job, .model(error)) }
            refused.removeAll()
            for prompt in prefilled { startDecoding(prompt) }
            chooseTokens()
            takeTokens()
            endRounds()
        }
        events.append(contentsOf: outbox)
        outbox.removeAll(keepingCapacity: true)
        return hadWork
    }
}
