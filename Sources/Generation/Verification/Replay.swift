import LanguageModels

/// A text generated anew from its record, as the scheduler generates any.
///
/// Only what decides the sample is made: of samples that are drawn one by one just the record's own (with `deduplicate` the lower ones
/// too), of beams the whole search, with torch's numbers the samples of the prompt up to its batch. Where several numbers may be the
/// sample's, all are begun and each is cut at its first token that is not the record's; where earlier texts or draws matter too, the
/// numbers that fit are then generated in full. Nothing is made beyond the record's tokens and one.
final class Replay {
    private let record: ProofRecord
    private let scheduler: BatchScheduler
    /// What makes the text of one number in full.
    private let whole: GenerationRequest
    /// The numbers within its prompt that the sample may have, in what runs.
    private var numbers: Set<Int>
    /// Whether what runs only finds the numbers whose tokens fit, and others decide.
    private var isSearch = false
    /// Those numbers; each is generated in full until one holds.
    private var fitting: [Int] = []
    private var closest: (common: Int, findings: [Finding])?
    private var events: [GenerationEvent] = []
    /// Tokens of all texts.
    private(set) var tokensDone = 0
    private static let mostSlots = 32
    /// Tokens that a replay makes at most: what the contract lets one task make.
    private static let mostTokens = 4_194_304

    /// - Throws: where no text can come of the parameters.
    init(_ verifier: Verifier, _ record: ProofRecord, _ request: GenerationRequest, sampleNumbers: [Int]) throws(GenerationError) {
        self.record = record
        let parameters = request.parameters
        let isTorch = parameters.rng == .torch && parameters.doSample
        let searches = parameters.numBeams > 1
        guard parameters.doSample || searches || sampleNumbers.contains(0) else {
            throw .invalidParameter(field: "n", reason: "must be 1 where do_sample is false: all texts would be equal")
        }
        numbers = parameters.doSample || searches ? Set(sampleNumbers) : [0]
        var whole = request
        var first: GenerationRequest
        if isTorch {
            if !searches, let number = sampleNumbers.first, sampleNumbers.count == 1 {
                whole.expected = ExpectedText(tokens: record.tokenIDs, draw: record.draw, number: number)
            }
            first = whole
        } else if searches {
            // How many texts were asked for decides whether all were empty, and a record does not say it: the draw is taken as told.
            guard record.draw == 0 || parameters.doSample && request.text.nonemptyOutput else {
                throw .invalidParameter(field: "draw", reason: "is \(record.draw), and these parameters draw nothing again")
            }
            whole.n = (numbers.max() ?? 0) + 1
            whole.firstDraw = record.draw
            whole.text.nonemptyOutput = false
            first = whole
        } else if numbers.count == 1, let number = numbers.first {
            first = whole.making(number, record)
        } else {
            first = request
            (first.firstSample, first.n) = (numbers.min() ?? 0, (numbers.max() ?? 0) + 1)
            first.expected = ExpectedText(tokens: record.tokenIDs, draw: record.draw, number: nil)
            isSearch = record.draw > 0 || request.text.deduplicate
            if isSearch {
                first.firstDraw = record.draw
                (first.text.nonemptyOutput, first.text.deduplicate) = (false, false)
            }
        }
        self.whole = whole
        let texts = max(request.text.deduplicate ? first.n : first.n - first.firstSample, parameters.numBeams)
        do throws(ModelError) {
            scheduler = try BatchScheduler(
                model: verifier.model, tokenizer: verifier.tokenizer, pool: verifier.pool,
                options: SchedulerOptions(slots: min(texts, Self.mostSlots)))
        } catch { throw .model(error) }
        _ = try scheduler.add(first)
    }

    /// One token of every text.
    /// - Returns: what differs, once that is known; nil before.
    func step(_ claim: Claim) throws(ModelError) -> [Finding]? {
        guard tokensDone < Self.mostTokens else {
            return [Finding(.needsReplay, "a replay of this text makes more than \(Self.mostTokens) tokens: it was given up")]
        }
        events.removeAll(keepingCapacity: true)
        scheduler.step(into: &events)
        tokensDone += max(1, scheduler.runningCount)
        for event in events {
            switch event {
            case .sample(_, let sample):
                if take(sample, claim) { return [] }
            case .failed(_, .model(let error)): throw error
            case .failed(_, let error): return [impossible(error)]
            case .finished: return next()
            case .token, .cancelled: break
            }
        }
        return nil
    }

    /// Looks at a sample that was made.
    /// - Returns: whether it proves the claim.
    private func take(_ sample: GeneratedSample, _ claim: Claim) -> Bool {
        guard numbers.contains(sample.sample) else { return false }
        let found = Comparison.findings(claim, record, sample)
        if found.isEmpty {
            if isSearch { fitting.append(sample.sample) }
            return !isSearch
        }
        let common = zip(sample.tokenIDs, record.tokenIDs).prefix { $0 == $1 }.count
        if common > closest?.common ?? -1 { closest = (common, found) }
        return false
    }

    /// Goes on with the next number that fits.
    /// - Returns: what differs from the sample that fits best, where there is none.
    private func next() -> [Finding]? {
        isSearch = false
        guard !fitting.isEmpty else { return closest?.findings ?? [Finding(.impossible, "the request has no such sample")] }
        let number = fitting.removeFirst()
        numbers = [number]
        do throws(GenerationError) {
            _ = try scheduler.add(whole.making(number, record))
            return nil
        } catch { return [impossible(error)] }
    }

    private func impossible(_ error: GenerationError) -> Finding { Finding(.impossible, "no text comes of this record: \(error)") }
}

extension GenerationRequest {
    /// The request as far as it makes one sample of one prompt, drawn by itself: with `deduplicate` the lower ones decide too.
    fileprivate func making(_ number: Int, _ record: ProofRecord) -> GenerationRequest {
        var request = self
        request.n = number + 1
        request.firstSample = text.deduplicate ? 0 : number
        request.expected = ExpectedText(tokens: record.tokenIDs, draw: record.draw, number: number)
        return request
    }
}
