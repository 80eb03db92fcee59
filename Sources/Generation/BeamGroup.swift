import LanguageModels

/// A prompt's search with beams inside the scheduler: its beams' texts and sequences, round by round.
///
/// A round gives each beam a row of logits, in one step or in several where there are more beams than slots. All beams
/// begin as one: the first round has the first beam's row alone, and the others fork from it, sharing its pages until
/// either writes.
final class BeamGroup {
    enum Stage { case waitingForPrompt, decoding, refilling }

    let job: Job
    let prompt: PromptState
    /// Slots that it holds: rows that it may have in a step.
    let slots: Int
    var stage = Stage.waitingForPrompt
    var reservedPages: Int
    private(set) var search: BeamSearch
    /// The running beams, best first.
    private(set) var beams: [Hypothesis] = []
    /// Beams of this round that have had their row.
    var rowsDone = 0
    /// The tokens that a refill feeds to each beam, and the beam that it is at.
    var refill: Range<Int> = 0..<0
    var refilledBeams = 0
    private(set) var finished: [FinishedBeam] = []
    /// [beams, continuations]
    private let offers: UnsafeMutablePointer<Continuation>
    /// [beams]
    private let rows: UnsafeMutablePointer<BeamRow>
    /// torch's numbers for each beam's row, where they are asked for.
    private let streams: [TorchStream]
    private var chosen: [Continuation] = []
    private var scores: [Float] = []
    private var ends: [Bool] = []
    private var reasons: [FinishReason?] = []
    private var next: [Hypothesis] = []
    private var spare: [Hypothesis] = []
    private var cursors: [Int] = []
    private var heirs: [Int] = []

    init(job: Job, prompt: PromptState, slots: Int, reservedPages: Int, vocabulary: Int) {
        (self.job, self.prompt, self.slots, self.reservedPages) = (job, prompt, slots, reservedPages)
        let plan = job.plan
        search = BeamSearch(
            beams: plan.beams, lengthPenalty: plan.lengthPenalty, earlyStopping: plan.earlyStopping,
            maximumLength: job.maximumLength - prompt.tokens.count)
        offers = .allocate(capacity: plan.beams * plan.continuations)
        rows = .allocate(capacity: plan.beams)
        rows.initialize(repeating: BeamRow(), count: plan.beams)
        let start = prompt.batch?.start
        streams = (0..<plan.beams).compactMap { _ in start.map { TorchStream(copying: $0) } }
        beams = [makeHypothesis(vocabulary)]
    }

    deinit {
        offers.deallocate()
        rows.deinitialize(count: job.plan.beams)
        rows.deallocate()
    }

    private func makeHypothesis(_ vocabulary: Int) -> Hypothesis {
        Hypothesis(
            prompt: prompt.tokens, plan: job.plan, vocabulary: vocabulary, capacity: min(job.maximumLength, 4096),
            stops: job.request.parameters.stopStrings)
    }

    /// Tokens of every running beam.
    var length: Int { prompt.tokens.count + search.length }

    /// Brings torch's numbers to the row of a beam in this round.
    func prepareDraw(_ beam: Int, vocabulary: Int) {
        guard !streams.isEmpty, let batch = prompt.batch else { return }
        batch.prepare(streams[beam], round: search.length, row: beam, vocabulary: vocabulary)
    }

    /// Looks at a beam's row of logits. Threads may look at several beams at a time: each writes to its own place.
    func read(_ logits: UnsafePointer<Float>, beam: Int, vocabulary: Int, candidates: Candidates) {
        let place = Sampler.Place(sample: UInt32(beam), draw: UInt32(prompt.batch?.draw ?? 0), torch: streams.isEmpty ? nil : streams[beam].state)
        rows[beam] = Sampler.continuations(
            logits, rows: vocabulary, plan: job.plan, history: beams[beam].history, place: place, beam: beam, sum: beams[beam].score,
            candidates: candidates, into: offers + beam * job.plan.continuations)
    }

    /// Ends a round in which every beam has had its row: chooses among all offers, files what is finished.
    /// - Returns: why nothing could be chosen, where that is so.
    func choose(_ table: TokenTable) -> Sampler.Fault {
        for beam in beams.indices where rows[beam].hasFault { return .notANumber }
        merge()
        guard !chosen.isEmpty else { return .everythingBanned }
        scores.removeAll(keepingCapacity: true)
        ends.removeAll(keepingCapacity: true)
        reasons.removeAll(keepingCapacity: true)
        for continuation in chosen {
            let reason = finishReason(continuation, table)
            scores.append(continuation.score)
            ends.append(reason != nil)
            reasons.append(reason)
        }
        search.take(scores, ends: ends)
        for filed in search.filed { file(chosen[filed.place], reason: reasons[filed.place] ?? .length, rank: filed.rank) }
        for rank in finished.indices { finished[rank].score = search.finishedScores[rank] }
        rowsDone = 0
        return search.isOver && finished.count < job.request.n ? .everythingBanned : .none
    }

    /// The best of all beams' offers in order, ties to the lower beam. In the first round the other beams would be copies
    /// of the first that score a billion less: they fill up where one beam has too few ways on.
    private func merge() {
        let most = job.plan.continuations
        chosen.removeAll(keepingCapacity: true)
        cursors.removeAll(keepingCapacity: true)
        for _ in beams { cursors.append(0) }
        while chosen.count < most, let beam = beamWithBestOffer(most) {
            chosen.append(offers[beam * most + cursors[beam]])
            cursors[beam] += 1
        }
        if !streams.isEmpty { sortByScore() }
        guard search.length == 0, !chosen.isEmpty else { return }
        let own = chosen.count
        for copy in own..<max(own, min(most, own * job.plan.beams)) {
            var offer = chosen[copy % own]
            offer.score += -1e9
            chosen.append(offer)
        }
    }

    /// What torch's numbers drew goes on by score, best first, and only the first of it may be filed as finished: so in transformers up to
    /// 4.49 and from 5.24 on. (Those between kept the order of the draws, as philox's searches do here.)
    private func sortByScore() {
        for index in chosen.indices {
            let continuation = chosen[index]
            var place = index
            while place > 0, chosen[place - 1].score < continuation.score {
                chosen[place] = chosen[place - 1]
                place -= 1
            }
            chosen[place] = continuation
        }
    }

    private func beamWithBestOffer(_ most: Int) -> Int? {
        var best: Int?
        for beam in beams.indices where cursors[beam] < rows[beam].count {
            if let leader = best, offers[beam * most + cursors[beam]].key <= offers[leader * most + cursors[leader]].key { continue }
            best = beam
        }
        return best
    }

    private func finishReason(_ continuation: Continuation, _ table: TokenTable) -> FinishReason? {
        if job.plan.endTokens.contains(continuation.token) { return .eos }
        let bytes = table.bytes(of: continuation.token, skippingSpecial: job.request.text.skipSpecialTokens)
        if beams[Int(continuation.beam)].wouldStop(bytes) { return .stop }
        return length + 1 >= job.maximumLength ? .length : nil
    }

    private func file(_ continuation: Continuation, reason: FinishReason, rank: Int) {
        let parent = beams[Int(continuation.beam)]
        var logprobs = parent.logprobs
        if job.plan.logprobs != nil {
            logprobs.append(TokenLogprob(tokenID: continuation.token, logprob: continuation.logprob, top: rows[Int(continuation.beam)].top))
        }
        if finished.count == job.plan.beams { finished.removeLast() }
        finished.insert(
            FinishedBeam(
                tokens: Array(parent.history.generated) + [continuation.token], logprobSum: parent.logprobSum + Double(continuation.logprob),
                logprobs: logprobs, reason: reason, score: 0), at: rank)
    }

    /// Goes on with the beams that run: each takes over its parent's text and sequence or, where a sister has them, a copy.
    func advance(in session: InferenceSession, table: TokenTable) throws(ModelError) {
        findHeirs()
        releaseChildless(session)
        next.removeAll(keepingCapacity: true)
        for (rank, place) in search.running.enumerated() {
            let parent = beams[Int(chosen[place].beam)]
            next.append(heirs[Int(chosen[place].beam)] == rank ? parent : try copy(of: parent, in: session))
        }
        for (hypothesis, place) in zip(next, search.running) {
            let continuation = chosen[place]
            let top = job.plan.logprobs == nil ? nil : rows[Int(continuation.beam)].top
            let bytes = table.bytes(of: continuation.token, skippingSpecial: job.request.text.skipSpecialTokens)
            hypothesis.append(continuation, top: top, bytes: bytes)
        }
        swap(&beams, &next)
    }

    /// For each beam the rank of the first that continues it, or −1.
    private func findHeirs() {
        heirs.removeAll(keepingCapacity: true)
        for _ in beams { heirs.append(-1) }
        for (rank, place) in search.running.enumerated() where heirs[Int(chosen[place].beam)] < 0 { heirs[Int(chosen[place].beam)] = rank }
    }

    private func releaseChildless(_ session: InferenceSession) {
        for (beam, hypothesis) in beams.enumerated() where heirs[beam] < 0 {
            hypothesis.release(session)
            spare.append(hypothesis)
        }
    }

    private func copy(of parent: Hypothesis, in session: InferenceSession) throws(ModelError) -> Hypothesis {
        let child = spare.popLast() ?? makeHypothesis(session.model.description.vocabularySize)
        child.copy(parent)
        if let sequence = parent.sequence { child.sequence = try session.fork(sequence, length: session.length(of: sequence)) }
        return child
    }

    /// Gives all sequences back.
    func release(_ session: InferenceSession) {
        for hypothesis in beams + next { hypothesis.release(session) }
    }
}
