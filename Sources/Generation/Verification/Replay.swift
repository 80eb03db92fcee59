import LanguageModels

/// A text generated anew from its record, as the scheduler generates any.
///
/// Only what decides the sample is made: of samples that are drawn one by one just those whose number the record's may be (with
/// `deduplicate` the lower ones too), of beams the whole search, with torch's numbers all samples of the prompt.
final class Replay {
    private let record: ProofRecord
    private let sampleNumbers: [Int]
    private let scheduler: BatchScheduler
    private var samples: [GeneratedSample] = []
    private var events: [GenerationEvent] = []
    private(set) var tokensDone = 0
    private static let mostSlots = 32

    /// - Throws: where no text can come of the parameters.
    init(_ verifier: Verifier, _ record: ProofRecord, _ request: GenerationRequest, sampleNumbers: [Int]) throws(GenerationError) {
        (self.record, self.sampleNumbers) = (record, sampleNumbers)
        var request = request
        let isTorch = request.parameters.rng == .torch && request.parameters.doSample
        if !isTorch { request.n = (sampleNumbers.max() ?? 0) + 1 }
        if request.parameters.numBeams > 1 {
            if !isTorch {
                // How many texts were asked for decides whether all were empty, and a record does not say it: the draw is taken as told.
                guard record.draw == 0 || request.parameters.doSample && request.text.nonemptyOutput else {
                    throw .invalidParameter(field: "draw", reason: "is \(record.draw), and these parameters draw nothing again")
                }
                request.firstDraw = record.draw
                request.text.nonemptyOutput = false
            }
        } else if !isTorch, !request.text.deduplicate {
            request.firstSample = sampleNumbers.min() ?? 0
        }
        guard request.parameters.doSample || request.parameters.numBeams > 1 || sampleNumbers.contains(0) else {
            throw .invalidParameter(field: "n", reason: "must be 1 where do_sample is false: all texts would be equal")
        }
        if !request.parameters.doSample, request.parameters.numBeams == 1 { (request.n, request.firstSample) = (1, 0) }
        let texts = max(request.n - request.firstSample, request.parameters.numBeams)
        do throws(ModelError) {
            scheduler = try BatchScheduler(
                model: verifier.model, tokenizer: verifier.tokenizer, pool: verifier.pool,
                options: SchedulerOptions(slots: min(texts, Self.mostSlots)))
        } catch { throw .model(error) }
        _ = try scheduler.add(request)
    }

    /// One token of every text.
    /// - Returns: what differs, once all is made; nil before.
    func step(_ claim: Claim) throws(ModelError) -> [Finding]? {
        events.removeAll(keepingCapacity: true)
        tokensDone += 1
        scheduler.step(into: &events)
        for event in events {
            switch event {
            case .sample(_, let sample): samples.append(sample)
            case .failed(_, .model(let error)): throw error
            case .failed(_, let error): return [Finding(.impossible, "no text comes of this record: \(error)")]
            case .finished: return findings(claim)
            case .token, .cancelled: break
            }
        }
        return nil
    }

    /// What differs from the sample that fits best.
    private func findings(_ claim: Claim) -> [Finding] {
        let possible = samples.filter { sampleNumbers.contains($0.sample) }
        var closest: (common: Int, findings: [Finding])?
        for sample in possible {
            let found = Comparison.findings(claim, record, sample)
            if found.isEmpty { return [] }
            let common = zip(sample.tokenIDs, record.tokenIDs).prefix { $0 == $1 }.count
            if common > closest?.common ?? -1 { closest = (common, found) }
        }
        return closest?.findings ?? [Finding(.impossible, "the request has no such sample")]
    }
}
