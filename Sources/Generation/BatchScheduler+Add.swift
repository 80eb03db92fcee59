import LanguageModels
import Tokenizers

/// How a request is checked and taken in.
extension BatchScheduler {
    /// Takes a request. Its samples start as slots become free, in order of arrival.
    /// - Throws: what is wrong with it; nothing of it then stays here.
    package func add(_ request: GenerationRequest) throws(GenerationError) -> RequestID {
        try checkCounts(request)
        let plan = try SamplingPlan(request.parameters, tokenizer: tokenizer, description: model.description)
        var cutter: SchemaCutter?
        if let schema = request.text.schema { cutter = try SchemaCutter(schema, tokenizer: tokenizer) }
        let context = model.description.contextLength
        let maximumLength = request.parameters.maximumLength(context: context)
        var prompts: [PromptState] = []
        for (index, text) in request.prompts.enumerated() {
            let tokens = try tokens(of: request, index: index, text: text)
            try check(promptTokens: tokens.count, index: index, request.parameters)
            prompts.append(PromptState(index: index, text: text, tokens: tokens, n: request.n, context: context))
        }
        let job = Job(
            id: RequestID(value: nextID), request: request, plan: plan, prompts: prompts, maximumLength: maximumLength, cutter: cutter)
        try checkPages(job)
        for prompt in prompts { open(prompt, of: job) }
        nextID += 1
        jobs.append(job)
        return job.id
    }

    /// Lets a prompt's samples start: one by one, in torch's batches, or as one search.
    private func open(_ prompt: PromptState, of job: Job) {
        let n = job.request.n
        let first = job.request.firstSample
        guard job.settlesTogether else { return prompt.open(first..<n, starts: n - first) }
        let range = 0..<(job.searches ? n : min(n, job.request.parameters.batchSize ?? n))
        let batch = Batch(range: range)
        batch.draw = job.request.firstDraw
        if job.plan.drawsInBatches {
            let stream = TorchStream(seed: job.plan.seed)
            (batch.start, batch.stream) = (stream, TorchStream(copying: stream))
            batch.drawsPerRound = UInt64((job.searches ? job.plan.beams : range.count) * model.description.vocabularySize)
        }
        prompt.batch = batch
        prompt.open(range, starts: job.searches ? 1 : range.count)
    }

    private func checkCounts(_ request: GenerationRequest) throws(GenerationError) {
        let (n, beams) = (request.n, request.parameters.numBeams)
        guard (1...Int(Int32.max)).contains(n) else { throw .invalidParameter(field: "n", reason: "must be in 1 ... \(Int32.max)") }
        guard request.firstSample == 0 || (request.firstSample < n && request.prompts.count == 1) else {
            throw .invalidParameter(field: "n", reason: "leaves no sample of one prompt from \(request.firstSample) on")
        }
        guard !request.prompts.isEmpty else { throw .invalidParameter(field: "prompts", reason: "is empty") }
        let isBounded = request.prompts.count > 1 || request.parameters.rng == .torch
        guard !isBounded || n <= GenerationRequest.mostTexts / request.prompts.count else {
            let most = GenerationRequest.mostTexts
            throw .invalidParameter(
                field: "n", reason: "times the number of prompts must be at most \(most) with several prompts or torch's random numbers")
        }
        guard request.parameters.doSample || beams > 1 || n == 1 else {
            throw .invalidParameter(field: "n", reason: "must be 1 where do_sample is false: all texts would be equal")
        }
        guard beams == 1 || n <= beams else { throw .invalidParameter(field: "n", reason: "must be at most num_beams (\(beams)), not \(n)") }
        guard beams == 1 || !request.stream else { throw .invalidParameter(field: "stream", reason: "and beams exclude each other") }
        if let size = request.parameters.batchSize, size < 1 || n % size != 0 {
            throw .invalidParameter(field: "batch_size", reason: "must divide n (\(n)), and \(size) does not")
        }
    }

    private func tokens(of request: GenerationRequest, index: Int, text: String) throws(GenerationError) -> [Int32] {
        guard let given = request.promptTokenIDs else {
            return try tokenizer.promptTokens(
                text, prependBos: request.prependBos ?? model.description.lineByLine, description: model.description)
        }
        let rows = model.description.vocabularySize
        guard given.count == request.prompts.count, !given[index].isEmpty, given[index].allSatisfy({ $0 >= 0 && $0 < rows }) else {
            throw .invalidParameter(field: "prompt_token_ids", reason: "do not fit the prompts or the model's vocabulary of \(rows)")
        }
        return given[index]
    }

    private func check(promptTokens count: Int, index: Int, _ parameters: SamplingParameters) throws(GenerationError) {
        let context = model.description.contextLength
        guard count < context || parameters.slidingWindow else {
            throw .promptTooLong(promptIndex: index, tokens: count, limit: context, isContext: true)
        }
        guard count < parameters.maxLength else {
            throw .promptTooLong(promptIndex: index, tokens: count, limit: parameters.maxLength, isContext: false)
        }
    }

    private func checkPages(_ job: Job) throws(GenerationError) {
        let needed = job.prompts.map { pages(of: job, $0) + prefixPages($0) }.max() ?? 0
        guard needed <= pageLimit else {
            let pageBytes = InferenceSession.pageByteCount(model)
            throw .tooLarge(neededBytes: needed * pageBytes, allowedBytes: pageLimit * pageBytes)
        }
    }

    /// Pages that a sample of a prompt may come to hold or, with beams, its whole search: the prompt's full pages are then
    /// shared by all.
    func pages(of job: Job, _ prompt: PromptState) -> Int {
        let whole = InferenceSession.pageCount(positions: min(job.maximumLength, model.description.contextLength))
        let canSlide = job.maximumLength > model.description.contextLength
        let shared = canSlide ? 0 : InferenceSession.pageCount(positions: prompt.sharedCount + 1) - 1
        return job.searches ? shared + job.plan.beams * (whole - shared) : whole
    }

    func prefixPages(_ prompt: PromptState) -> Int { InferenceSession.pageCount(positions: prompt.sharedCount) }
}
