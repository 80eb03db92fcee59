import LanguageModels

/// A request inside the scheduler.
final class Job {
    let id: RequestID
    let request: GenerationRequest
    let plan: SamplingPlan
    let prompts: [PromptState]
    /// Tokens at which a text of this request ends at the latest.
    let maximumLength: Int
    /// The next sample (i·n + k) to get a slot.
    var nextToStart = 0
    /// The next sample to hand over: they leave in ascending order.
    var nextToHandOver = 0
    /// Settled samples that wait for lower ones.
    var settled: [Int: GeneratedSample] = [:]
    var isEnded = false

    init(id: RequestID, request: GenerationRequest, plan: SamplingPlan, prompts: [PromptState], maximumLength: Int) {
        self.id = id
        self.request = request
        self.plan = plan
        self.prompts = prompts
        self.maximumLength = maximumLength
    }

    /// Samples in all.
    var count: Int { prompts.count * request.n }
    var hasSamplesToStart: Bool { !isEnded && nextToStart < count }
    /// Whether texts are ever drawn again.
    var redraws: Bool { request.parameters.doSample && (request.text.nonemptyOutput || request.text.deduplicate) }
}

/// One prompt of a request: its tokens, and the cached positions that its samples share.
final class PromptState {
    let index: Int
    let text: String
    let tokens: [Int32]
    /// Holds the first `tokens.count − 1` positions once they are prefilled; the last token is each sample's own first
    /// step, so that all samples are alike and no logits are kept. Nil before the first sample starts and after the last
    /// one has taken it over.
    var prefix: SequenceID?
    /// Samples that have not begun to decode.
    var undecoded: Int
    /// Settled texts in order, where duplicates are looked for.
    var texts: [String] = []

    init(index: Int, text: String, tokens: [Int32], samples: Int) {
        self.index = index
        self.text = text
        self.tokens = tokens
        undecoded = samples
    }

    /// Positions that are prefilled once for all samples.
    var sharedCount: Int { tokens.count - 1 }
}

/// One sample that holds a slot.
final class RunningSample {
    enum Stage {
        /// Its prompt is being prefilled.
        case waitingForPrompt
        /// One token a step.
        case decoding
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
    var draw = 0
    var finishReason = FinishReason.length
    var logprobSum = 0.0
    var logprobs: [TokenLogprob] = []
    /// Pages set aside for it.
    var reservedPages: Int

    init(job: Job, prompt: PromptState, k: Int) {
        self.job = job
        self.prompt = prompt
        self.k = k
        history = TokenHistory(prompt: prompt.tokens, capacity: min(job.maximumLength, 4096), tracksDistinct: job.plan.repetitionPenalty != 1)
        assembler = TextAssembler(stops: job.request.parameters.stopStrings)
        reservedPages = InferenceSession.pageCount(positions: job.maximumLength)
    }

    /// i·n + k.
    var number: Int { prompt.index * job.request.n + k }
    /// What the next step feeds: the text's last token.
    var nextInput: Int32 { history.tokens[history.tokens.count - 1] }
    var place: Sampler.Place { Sampler.Place(sample: UInt32(k), draw: UInt32(draw)) }

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
