import Kernels
import LanguageModels

/// The parts of a step, in the order in which it runs them.
extension BatchScheduler {
    /// Gives free slots to samples and searches, requests in order of arrival.
    func admit() {
        for job in jobs {
            while let prompt = job.nextPrompt {
                guard job.searches ? startSearch(job, prompt) : start(job, prompt) else { return }
            }
        }
    }

    /// Gives a slot to a prompt's next sample.
    /// - Returns: false where slots or pages are short: it waits, and so does what came after it.
    private func start(_ job: Job, _ prompt: PromptState) -> Bool {
        guard runningCount < options.slots, makeRoom(pages(of: job, prompt), for: prompt) else { return false }
        let sample = RunningSample(
            job: job, prompt: prompt, k: prompt.nextToStart, reservedPages: pages(of: job, prompt), vocabulary: model.description.vocabularySize)
        prompt.nextToStart += 1
        running.append(sample)
        if isPrefilled(prompt) { startDecoding(sample) }
        return true
    }

    /// Sets pages aside, and a sequence for the prompt where it has none yet.
    func makeRoom(_ pages: Int, for prompt: PromptState) -> Bool {
        let needed = pages + (prompt.prefix == nil ? prefixPages(prompt) : 0)
        guard reservedPages + needed <= pageLimit else { return false }
        if prompt.prefix == nil {
            guard let prefix = try? session.makeSequence() else { return false }
            prompt.prefix = prefix
        }
        reservedPages += needed
        return true
    }

    func isPrefilled(_ prompt: PromptState) -> Bool {
        prompt.prefix.map { session.length(of: $0) == prompt.sharedCount } ?? false
    }

    /// Lets every sample that waits for this prompt begin.
    func startDecoding(_ prompt: PromptState) {
        for sample in running where sample.prompt === prompt && sample.stage == .waitingForPrompt { startDecoding(sample) }
        for group in searches where group.prompt === prompt && group.stage == .waitingForPrompt { startDecoding(group) }
    }

    /// Gives a sample its own sequence: the last of its prompt takes the shared one over, so one sample alone copies
    /// nothing.
    private func startDecoding(_ sample: RunningSample) {
        do {
            sample.sequence = try sequence(from: sample.prompt)
        } catch {
            return fail(sample.job, .model(error))
        }
        sample.stage = .decoding
    }

    /// A sequence that begins with a prompt.
    func sequence(from prompt: PromptState) throws(ModelError) -> SequenceID? {
        guard let prefix = prompt.prefix else { return nil }
        prompt.undecoded -= 1
        if prompt.undecoded > 0 { return try session.fork(prefix, length: prompt.sharedCount) }
        prompt.prefix = nil
        reservedPages -= prefixPages(prompt)
        return prefix
    }

    /// One row for each sample that decodes.
    func gatherDecodes() {
        let context = model.description.contextLength
        for sample in running where sample.stage == .decoding && !sample.job.isEnded {
            guard let sequence = sample.sequence else { continue }
            if session.length(of: sequence) == context {
                slide(sample, sequence)
                guard sample.stage == .decoding else { continue }
            }
            do {
                try session.append(CollectionOfOne(sample.nextInput), to: sequence, logits: .last)
                rows.append(sample)
            } catch {
                refused.append((sample.job, error))
            }
        }
    }

    /// Moves the window of a text that fills the context.
    private func slide(_ sample: RunningSample, _ sequence: SequenceID) {
        session.truncate(sequence, to: 0)
        let count = sample.history.tokens.count
        sample.hasSlid = true
        sample.beginRefill((count - PromptState.refill(context: model.description.contextLength))..<count)
    }

    /// Rows of prompts that are not prefilled yet and of windows that moved, the oldest first.
    /// - Returns: the prompts that are complete with this step.
    func gatherPrefill() -> [PromptState] {
        var room = rows.isEmpty && beamRows.isEmpty ? options.prefillRows : options.mixedPrefillRows
        var completed: [PromptState] = []
        for sample in running where room > 0 {
            if sample.stage == .refilling, let sequence = sample.sequence {
                feed(sample.history.tokens[sample.refill], to: sequence, of: sample.job, room: &room)
                if session.length(of: sequence) == sample.refill.count { sample.stage = .decoding }
            } else if sample.stage == .waitingForPrompt, sample.isFirst {
                gatherPrefill(sample.prompt, of: sample.job, room: &room, completed: &completed)
            }
        }
        for group in searches where room > 0 {
            if group.stage == .refilling { gatherRefill(group, room: &room) }
            if group.stage == .waitingForPrompt { gatherPrefill(group.prompt, of: group.job, room: &room, completed: &completed) }
        }
        return completed
    }

    private func gatherPrefill(_ prompt: PromptState, of job: Job, room: inout Int, completed: inout [PromptState]) {
        guard let prefix = prompt.prefix else { return }
        feed(prompt.tokens[prompt.windowStart..<(prompt.tokens.count - 1)], to: prefix, of: job, room: &room)
        if session.length(of: prefix) == prompt.sharedCount { completed.append(prompt) }
    }

    /// Feeds as much of these tokens as there is room for, behind what the sequence holds of them.
    func feed(_ tokens: ArraySlice<Int32>, to sequence: SequenceID, of job: Job, room: inout Int) {
        let rest = tokens.dropFirst(session.length(of: sequence)).prefix(room)
        guard !rest.isEmpty else { return }
        do {
            try session.append(rest, to: sequence, logits: .none)
            room -= rest.count
        } catch {
            refused.append((job, error))
        }
    }

    /// Chooses a token for every row, the rows shared out between the threads.
    func chooseTokens() {
        let (count, total) = (rows.count, rows.count + beamRows.count)
        guard total > 0 else { return }
        choices.removeAll(keepingCapacity: true)
        choices.append(contentsOf: repeatElement(Sampler.Choice(), count: count))
        let threads = min(total, candidates.count)
        let vocabulary = model.description.vocabularySize
        for sample in rows { sample.prepareDraw(vocabulary: vocabulary) }
        for row in beamRows { row.group.prepareDraw(row.beam, vocabulary: vocabulary) }
        let (rows, beamRows, session, candidates) = (rows, beamRows, session, candidates)
        choices.withUnsafeMutableBufferPointer { buffer in
            let choices = buffer
            session.pool.run(parts: threads) { thread in
                for row in stride(from: thread, to: total, by: threads) {
                    let logits = UnsafePointer(session.logits(row))
                    guard row < count else {
                        let (group, beam) = beamRows[row - count]
                        group.read(logits, beam: beam, vocabulary: vocabulary, candidates: candidates[thread])
                        continue
                    }
                    let sample = rows[row]
                    choices[row] = Sampler.choose(
                        logits, rows: vocabulary, plan: sample.job.plan, history: sample.history, place: sample.place, candidates: candidates[thread])
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
        if let expected = request.expected, expected.excludes(choice.token, at: index, draw: sample.draw, number: sample.k) { return cut(sample) }
        sample.assembler.append(table.bytes(of: choice.token, skippingSpecial: request.text.skipSpecialTokens))
        let reason = sample.job.ending.reason(
            token: choice.token, length: sample.history.tokens.count, assembler: &sample.assembler)
        if request.stream {
            let text = sample.assembler.takePiece(isLast: reason != nil)
            outbox.append(
                .token(
                    sample.job.id, TokenPiece(sample: sample.number, draw: sample.draw, index: index, tokenID: choice.token, text: text)))
        }
        if let reason { complete(sample, reason) }
    }
}
