import Encodings
import LanguageModels
import Tokenizers

/// How finished texts become samples, and requests end.
extension BatchScheduler {
    /// The highest number of redraws.
    static let maximumDraw = 16

    /// A text has ended: it is settled, or drawn again, or waits for lower samples to decide.
    func complete(_ sample: RunningSample, _ reason: FinishReason) {
        sample.finishReason = reason
        sample.stage = .complete
        if !sample.job.request.text.deduplicate || !sample.job.redraws { return settleOrRedraw(sample) }
        while let next = running.first(where: { $0.prompt === sample.prompt && $0.k == sample.prompt.texts.count && $0.stage == .complete }) {
            settleOrRedraw(next)
        }
    }

    private func settleOrRedraw(_ sample: RunningSample) {
        let request = sample.job.request
        let text = FinishedText.assemble(prompt: sample.prompt.text, generated: sample.assembler.utf8, options: request.text)
        if sample.job.redraws, sample.draw < Self.maximumDraw, isRefused(text, of: sample), let sequence = sample.sequence {
            session.truncate(sequence, to: sample.prompt.sharedCount)
            return sample.redraw()
        }
        if request.text.deduplicate { sample.prompt.texts.append(text) }
        let settled = finished(sample, text: text)
        release(sample)
        handOver(settled, of: sample.job)
    }

    private func isRefused(_ text: String, of sample: RunningSample) -> Bool {
        let request = sample.job.request
        if request.text.nonemptyOutput, FinishedText.isEmpty(text, minLength: request.parameters.minLength) { return true }
        return request.text.deduplicate && sample.prompt.texts.contains(text)
    }

    private func finished(_ sample: RunningSample, text: String) -> GeneratedSample {
        let request = sample.job.request
        let tokens = Array(sample.history.generated)
        let record = ProofRecord(
            checkpointSHA256: model.checkpointSHA256, tokenizerSHA256: tokenizer.digest, numerics: Numerics.float32, precision: "float32",
            rng: "philox",
            seed: sample.job.plan.seed, seedAssigned: request.identity.seedAssigned, params: request.identity.params, sample: sample.number,
            promptIndex: sample.prompt.index, draw: sample.draw, prompt: sample.prompt.text, promptTokenIDs: sample.prompt.tokens, tokenIDs: tokens,
            finishReason: sample.finishReason
        ).canonical
        return GeneratedSample(
            sample: sample.number, promptIndex: sample.prompt.index, draw: sample.draw, text: text, prompt: sample.prompt.text,
            promptTokenIDs: sample.prompt.tokens, tokenIDs: tokens, finishReason: sample.finishReason,
            meanLogprob: sample.logprobSum / Double(tokens.count), logprobs: sample.job.plan.logprobs == nil ? nil : sample.logprobs,
            redrawn: sample.draw > 0 ? sample.draw : nil, record: record, recordSHA256: SHA256Digest.hex(of: record))
    }

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
        for prompt in job.prompts {
            guard let prefix = prompt.prefix else { continue }
            session.release(prefix)
            prompt.prefix = nil
            reservedPages -= InferenceSession.pageCount(positions: prompt.sharedCount)
        }
        jobs.removeAll { $0 === job }
        running.removeAll { $0.job === job }
        outbox.append(event)
    }

    private func release(_ sample: RunningSample) {
        if let sequence = sample.sequence { session.release(sequence) }
        sample.sequence = nil
        reservedPages -= sample.reservedPages
        sample.reservedPages = 0
    }
}
