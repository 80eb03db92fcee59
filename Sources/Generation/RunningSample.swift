import LanguageModels

/// One sample that holds a slot.
final class RunningSample {
    enum Stage {
        /// Its prompt is being prefilled.
        case waitingForPrompt
        /// One token a step.
        case decoding
        /// Its window has moved: what stays of the text is being prefilled anew.
        case refilling
        /// Complete, but lower samples decide whether it stands (`deduplicate`).
        case complete
    }

    let job: Job
    let prompt: PromptState
    /// Within its prompt: the random stream's number.
    let k: Int
    var stage = Stage.waitingForPrompt
    var sequence: SequenceID?
    var history: TokenHistory
    var assembler: TextAssembler
    var draw: Int
    var finishReason = FinishReason.length
    var logprobSum = 0.0
    var logprobs: [TokenLogprob] = []
    /// torch's numbers for its rows, where they are asked for.
    let torch: TorchStream?
    /// The tokens that a refill feeds.
    var refill: Range<Int> = 0..<0
    /// Whether its sequence no longer begins with the prompt.
    var hasSlid = false
    /// Pages set aside for it.
    var reservedPages: Int

    init(job: Job, prompt: PromptState, k: Int, reservedPages: Int, vocabulary: Int) {
        self.job = job
        self.prompt = prompt
        self.k = k
        draw = prompt.batch?.draw ?? job.request.firstDraw
        torch = prompt.batch?.start.map { TorchStream(copying: $0) }
        history = TokenHistory(
            prompt: prompt.tokens, capacity: min(job.maximumLength, 4096), vocabulary: job.plan.repetitionPenalty == 1 ? nil : vocabulary)
        assembler = TextAssembler(stops: job.request.parameters.stopStrings)
        self.reservedPages = reservedPages
    }

    /// i·n + k.
    var number: Int { prompt.index * job.request.n + k }
    /// Whether it is the first of those that share its prompt's prefill.
    var isFirst: Bool { k == prompt.firstToStart }
    /// What the next step feeds: the text's last token.
    var nextInput: Int32 { history.tokens[history.tokens.count - 1] }
    var place: Sampler.Place { Sampler.Place(sample: UInt32(k), draw: UInt32(draw), torch: torch?.state) }

    /// Brings torch's numbers to this sample's next row.
    func prepareDraw(vocabulary: Int) {
        guard let torch, let batch = prompt.batch else { return }
        batch.prepare(torch, round: history.generatedCount, row: k - batch.range.lowerBound, vocabulary: vocabulary)
    }

    /// Moves the window: the last half of the context is to be prefilled anew.
    /// - Parameter tokens: the part of the text that stays cached; its last token is the next step's input.
    func beginRefill(_ tokens: Range<Int>) {
        refill = tokens.dropLast()
        stage = refill.isEmpty ? .decoding : .refilling
    }

    /// Begins the next draw from the prompt's end.
    func redraw() {
        draw += 1
        stage = .decoding
        history.reset()
        assembler.reset()
        logprobSum = 0
        logprobs.removeAll()
    }
}
