import LanguageModels

/// How searches with beams run beside samples.
extension BatchScheduler {
    /// Gives slots to a prompt's search: as many as it has beams or, where those are more, all of them.
    func startSearch(_ job: Job, _ prompt: PromptState) -> Bool {
        let slots = min(job.plan.beams, options.slots)
        let pages = pages(of: job, prompt)
        guard runningCount + slots <= options.slots, makeRoom(pages, for: prompt) else { return false }
        prompt.nextToStart += 1
        let group = BeamGroup(job: job, prompt: prompt, slots: slots, reservedPages: pages, vocabulary: model.description.vocabularySize)
        searches.append(group)
        if isPrefilled(prompt) { startDecoding(group) }
        return true
    }

    /// Gives the first beam the prompt's sequence; the others fork from it after the first round.
    func startDecoding(_ group: BeamGroup) {
        do {
            group.beams[0].sequence = try sequence(from: group.prompt)
        } catch {
            return fail(group.job, .model(error))
        }
        group.stage = .decoding
    }

    /// Rows for the beams of each search that have had none in its round.
    func gatherBeams() {
        for group in searches where group.stage == .decoding && !group.job.isEnded {
            if group.rowsDone == 0 { slideWhereFull(group) }
            guard group.stage == .decoding else { continue }
            for beam in group.rowsDone..<min(group.beams.count, group.rowsDone + group.slots) {
                guard let sequence = group.beams[beam].sequence else { continue }
                do {
                    try session.append(CollectionOfOne(group.beams[beam].nextInput), to: sequence, logits: .last)
                    beamRows.append((group, beam))
                } catch {
                    refused.append((group.job, error))
                }
            }
        }
    }

    /// Moves the windows of beams that fill the context: they are of one length, so all move together.
    private func slideWhereFull(_ group: BeamGroup) {
        guard let first = group.beams[0].sequence, session.length(of: first) == model.description.contextLength else { return }
        for beam in group.beams { if let sequence = beam.sequence { session.truncate(sequence, to: 0) } }
        let kept = (group.length - PromptState.refill(context: model.description.contextLength))..<group.length
        group.refill = kept.dropLast()
        group.refilledBeams = 0
        if !group.refill.isEmpty { group.stage = .refilling }
    }

    /// Feeds the beams whose windows moved, one after another.
    func gatherRefill(_ group: BeamGroup, room: inout Int) {
        while room > 0, group.refilledBeams < group.beams.count {
            let beam = group.beams[group.refilledBeams]
            guard let sequence = beam.sequence else { return }
            feed(beam.history.tokens[group.refill], to: sequence, of: group.job, room: &room)
            guard session.length(of: sequence) == group.refill.count else { return }
            group.refilledBeams += 1
        }
        if group.refilledBeams == group.beams.count { group.stage = .decoding }
    }

    /// Ends the rounds in which every beam has had its row.
    func endRounds() {
        for (group, _) in beamRows where !group.job.isEnded { group.rowsDone += 1 }
        for group in searches where group.stage == .decoding && group.rowsDone == group.beams.count && !group.job.isEnded { endRound(group) }
        searches.removeAll { $0.job.isEnded || $0.reservedPages == 0 }
    }

    private func endRound(_ group: BeamGroup) {
        let (sample, position) = (group.prompt.index * group.job.request.n, group.length)
        switch group.choose(table) {
        case .notANumber: return fail(group.job, .notANumber(sample: sample, position: position - 1))
        case .everythingBanned: return fail(group.job, .everythingBanned(sample: sample, position: position))
        case .none: break
        }
        if group.search.isOver { return complete(group) }
        do {
            try group.advance(in: session, table: table)
        } catch {
            fail(group.job, .model(error))
        }
    }
}
