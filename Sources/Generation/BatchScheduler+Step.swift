import Kernels
import LanguageModels

/// The parts of a step, in the order in which it runs them.
extension BatchScheduler {
    /// Gives free slots to samples, requests in order of arrival.
    func admit() {
        for job in jobs where job.hasSamplesToStart {
            while job.hasSamplesToStart {
                guard running.count < options.slots, start(job) else { return }
            }
        }
    }

    /// Gives a slot to a job's next sample.
    /// - Returns: false where pages are short: it waits, and so does what came after it.
    private func start(_ job: Job) -> Bool {
        let prompt = job.prompts[job.nextToStart / job.request.n]
        let sample = RunningSample(job: job, prompt: prompt, k: job.nextToStart % job.request.n)
        let isFirst = sample.k == 0
        let needed = sample.reservedPages + (isFirst ? prefixPages(prompt) : 0)
        guard reservedPages + needed <= pageLimit else { return false }
        if isFirst {
            guard let prefix = try? session.makeSequence() else { return false }
            prompt.prefix = prefix
        }
        reservedPages += needed
        job.nextToStart += 1
        running.append(sample)
        if isPrefilled(prompt) { startDecoding(sample) }
        return true
    }

    private func prefixPages(_ prompt: PromptState) -> Int { InferenceSession.pageCount(positions: prompt.sharedCount) }

    private func isPrefilled(_ prompt: PromptState) -> Bool {
        prompt.prefix.map { session.length(of: $0) == prompt.sharedCount } ?? false
    }

    /// Lets every sample that waits for this prompt begin.
    func startDecoding(_ prompt: PromptState) {
        for sample in running where sample.prompt === prompt && sample.stage == .waitingForPrompt { startDecoding(sample) }
    }

    /// Gives a sample its own sequence: the last of its prompt takes the shared one over, so one sample alone copies
    /// nothing.
    private func startDecoding(_ sample: RunningSample) {
        guard let prefix = sample.prompt.prefix else { return }
        sample.prompt.undecoded -= 1
        if sample.prompt.undecoded == 0 {
            sample.sequence = prefix
            sample.prompt.prefix = nil
            reservedPages -= prefixPages(sample.prompt)
        } else {
            do {
                sample.sequence = try session.fork(prefix, length: sample.prompt.sharedCount)
            } catch {
                return fail(sample.job, .model(error))
            }
        }
        sample.stage = .decoding
    }

    /// One row for each sample that decodes.
    func gatherDecodes() {
        for sample in running where sample.stage == .decoding && !sample.job.isEnded {
            guard let sequence = sample.sequence else { continue }
            do {
                try session.append(CollectionOfOne(sample.nextInput), to: sequence, logits: .last)
                rows.append(sample)
            } catch {
                refused.append((sample.job, error))
            }
        }
    }

    /// Rows of prompts that are not prefilled yet, the oldest first.
    /// - Returns: the prompts that are complete with this step.
    func gatherPrefill() -> [PromptState] {
        var room = rows.isEmpty ? options.prefillRows : options.mixedPrefillRows
        var completed: [PromptState] = []
        for sample in running where sample.stage == .waitingForPrompt && sample.k == 0 {
            guard room > 0, let prefix = sample.prompt.prefix else { break }
            let done = session.length(of: prefix)
            let count = min(room, sample.prompt.sharedCount - done)
            if count > 0 {
                do {
                    try session.append(sample.prompt.tokens[done..<(done + count)], to: prefix, logits: .none)
                } catch {
                    refused.append((sample.job, error))
                    continue
                }
            }
            room -= count
            if done + count == sample.prompt.sharedCount { completed.append(sample.prompt) }
        }
        return completed
    }

    /// Chooses a token for every row, the rows shared out between the threads.
    func chooseTokens() {
        let count = rows.count
        guard count > 0 else { return }
        choices.removeAll(keepingCapacity: true)
        choices.append(contentsOf: repeatElement(Sampler.Choice(), count: count))
        let threads = min(count, candidates.count)
        let vocabulary = model.description.vocabularySize
        let (rows, session, candidates) = (rows, session, candidates)
        choices.withUnsafeMutableBufferPointer { buffer in
            let choices = buffer
            session.pool.run(parts: threads) { thread in
                for row in stride(from: thread, to: count, by: threads) {
                    let sample = rows[row]
                    choices[row] = Sampler.choose(
                        UnsafePointer(session.logits(row)), rows: vocabulary, plan: sample.job.plan, history: sample.history, place: sample.place,
                        candidates: candidates[thread])
                }
            }
        }
    }

    /// Adds the chosen tokens to their texts.
    func takeTokens() {
        for (row, sample) in rows.enumerated() where !sample.job.isEnded { take(choices[row], for: sample) }
        running.removeAll { $0.job.isEnded || $0.sequence == nil && $0.stage != .waitingForPrompt }
    }

    private func take(_ choice: Sampler.Choice, for sample: RunningSample) {
        let position = sample.history.tokens.count
        switch choice.fault {
        case .none: break
        case .notANumber: return fail(sample.job, .notANumber(sample: sample.number, position: position - 1))
        case .everythingBanned: return fail(sample.job, .everythingBanned(sample: sample.number, position: position))
        }
        let index = sample.history.generatedCount
        sample.history.append(choice.token)
        sample.logprobSum += Double(choice.logprob)
        if sample.job.plan.logprobs != nil {
            sample.logprobs.append(TokenLogprob(tokenID: choice.token, logprob: choice.logprob, top: choice.top))
        }
        let request = sample.job.request
        sample.assembler.append(table.bytes(of: choice.token, skippingSpecial: request.text.skipSpecialTokens))
        let reason = finishReason(sample, token: choice.token)
        if reason != nil { sample.assembler.finish() }
        if request.stream {
            let text = sample.assembler.takePiece(isLast: reason != nil)
            outbox.append(
                .token(
                    sample.job.id, TokenPiece(sample: sample.number, draw: sample.draw, index: index, tokenID: choice.token, text: text)))
        }
        if let reason { complete(sample, sample.assembler.isStopped && reason != .eos ? .stop : reason) }
    }

    private func finishReason(_ sample: RunningSample, token: Int32) -> FinishReason? {
        if sample.job.plan.endTokens.contains(token) { return .eos }
        if sample.assembler.isStopped { return .stop }
        return sample.history.tokens.count >= sample.job.maximumLength ? .length : nil
    }
}
