import Encodings
import Kernels
import LanguageModels

/// One pass over prompt and text, chunk by chunk: at every position the draw is repeated, with the sampler that generates, and
/// compared with the token that stands there.
///
/// A row's logits do not depend on what else is in a step, so they are those of the generating run, bit for bit. What is read of a
/// text stops at the first difference.
final class ForwardPass {
    /// How it ended.
    enum Result {
        /// Every token is the one; what the record yields beside them.
        case holds(GeneratedSample)
        case differs(Finding)
    }

    private let verifier: Verifier
    private let record: ProofRecord
    private let request: GenerationRequest
    private let plan: SamplingPlan
    private let ending: Ending
    private let cutter: SchemaCutter?
    /// Prompt and text as far as they can be read: up to the first id that the model does not have, and to the context.
    private let tokens: [Int32]
    private var sequence: SequenceID?
    /// Tokens read so far.
    private(set) var fed = 0
    /// The numbers that the sample may still have, ascending: as a rule the first draw leaves one.
    private var numbers: [Int]
    /// The text before each thread's next row.
    private let readers: [RowReader]
    private var choices: [Sampler.Choice] = []
    private var bits: [Double] = []
    private var assembler: TextAssembler
    private var end: FinishReason?
    private var logprobSum = 0.0
    private var logprobs: [TokenLogprob] = []
    private var bitSum = 0.0

    /// What one thread keeps between two of its rows.
    private final class RowReader {
        var history: TokenHistory
        let torch: TorchStream?

        init(history: TokenHistory, torch: TorchStream?) { (self.history, self.torch) = (history, torch) }
    }

    /// - Throws: where no text can come of the parameters or the prompt.
    init(_ verifier: Verifier, _ record: ProofRecord, _ request: GenerationRequest, sampleNumbers: [Int]) throws(GenerationError) {
        (self.verifier, self.record, self.request) = (verifier, record, request)
        let description = verifier.model.description
        let rows = description.vocabularySize
        plan = try SamplingPlan(request.parameters, tokenizer: verifier.tokenizer, description: description)
        if let schema = request.text.schema { cutter = try SchemaCutter(schema, tokenizer: verifier.tokenizer) } else { cutter = nil }
        ending = Ending(endTokens: plan.endTokens, maximumLength: request.parameters.maximumLength(context: description.contextLength))
        let prompt = record.promptTokenIDs
        guard !prompt.isEmpty, prompt.allSatisfy({ (0..<Int32(rows)).contains($0) }) else {
            throw .invalidParameter(field: "prompt_token_ids", reason: "do not fit the model's vocabulary of \(rows)")
        }
        guard prompt.count < ending.maximumLength else {
            throw .promptTooLong(promptIndex: record.promptIndex, tokens: prompt.count, limit: ending.maximumLength, isContext: false)
        }
        guard plan.doSample || sampleNumbers.contains(0) else {
            throw .invalidParameter(field: "n", reason: "must be 1 where do_sample is false: all texts would be equal")
        }
        tokens = Array((prompt + record.tokenIDs.prefix { (0..<Int32(rows)).contains($0) }).prefix(description.contextLength))
        numbers = plan.doSample ? sampleNumbers : [0]
        let history = TokenHistory(prompt: prompt, capacity: tokens.count, vocabulary: plan.repetitionPenalty == 1 ? nil : rows)
        let seed = plan.drawsInBatches ? plan.seed : nil
        readers = verifier.candidates.map { _ in RowReader(history: history, torch: seed.map { TorchStream(seed: $0) }) }
        assembler = TextAssembler(stops: request.parameters.stopStrings)
        choices = [Sampler.Choice](repeating: Sampler.Choice(), count: Verifier.rows)
        bits = [Double](repeating: 0, count: Verifier.rows)
    }

    deinit { release() }

    private func release() {
        if let sequence { verifier.session.release(sequence) }
        sequence = nil
    }

    /// −log2 of the text's probability under the distributions that its tokens were drawn from; nil where none was drawn.
    var surprisalBits: Double? { plan.doSample ? bitSum : nil }

    private var promptCount: Int { record.promptTokenIDs.count }

    /// Reads the next chunk.
    /// - Returns: nil while there is more to read.
    func step() throws(ModelError) -> Result? {
        let session = verifier.session
        let sequence: SequenceID
        if let begun = self.sequence { sequence = begun } else { sequence = try session.makeSequence() }
        self.sequence = sequence
        // The prompt's last token is the first whose logits decide something.
        let isPrompt = fed < promptCount - 1
        let last = min(fed + Verifier.rows, isPrompt ? promptCount - 1 : tokens.count)
        session.begin()
        try session.append(tokens[fed..<last], to: sequence, logits: isPrompt ? .none : .all)
        session.run()
        let first = fed - (promptCount - 1)
        fed = last
        guard !isPrompt else { return nil }
        let count = last - (promptCount - 1) - first
        choose(first, count)
        for row in 0..<count {
            guard let result = take(choices[row], bits[row], index: first + row) else { continue }
            release()
            return result
        }
        guard fed == tokens.count else { return nil }
        // The context is full and the text has not ended: its window would move, and it would go on.
        release()
        return .differs(
            Finding(
                .tokens, "the text stops short, where its window would move",
                Difference(field: "token_ids", token: record.tokenIDs.count, expected: .null, actual: .null)))
    }

    private func actual(_ index: Int) -> Int32? { index < record.tokenIDs.count ? record.tokenIDs[index] : nil }

    // MARK: Draws

    /// Repeats the draws of a chunk's rows, shared out between the threads once the sample's number is known.
    /// - Parameter first: the generated token that row 0 decides.
    private func choose(_ first: Int, _ count: Int) {
        var row = 0
        while row < count, numbers.count > 1 {
            choices[row] = choose(row, index: first + row, thread: 0)
            guard narrow(row, index: first + row) else { return }
            row += 1
        }
        let threads = min(count - row, readers.count)
        guard threads > 0 else { return }
        let start = row
        var results = choices
        var surprisals = bits
        results.withUnsafeMutableBufferPointer { results in
            surprisals.withUnsafeMutableBufferPointer { surprisals in
                let (results, surprisals) = (results, surprisals)
                verifier.pool.run(parts: threads) { thread in
                    for row in stride(from: start + thread, to: count, by: threads) {
                        results[row] = self.choose(row, index: first + row, thread: thread)
                        surprisals[row] = self.surprisal(of: results[row], thread: thread)
                    }
                }
            }
        }
        (choices, bits) = (results, surprisals)
    }

    private func choose(_ row: Int, index: Int, thread: Int) -> Sampler.Choice {
        let reader = readers[thread]
        let vocabulary = verifier.model.description.vocabularySize
        while reader.history.generatedCount < index { reader.history.append(tokens[promptCount + reader.history.generatedCount]) }
        if let torch = reader.torch {
            let width = min(request.n, request.parameters.batchSize ?? request.n)
            torch.advance(to: UInt64(index * width + numbers[0]) * UInt64(vocabulary))
        }
        return Sampler.choose(
            UnsafePointer(verifier.session.logits(row)), rows: vocabulary, plan: plan, history: reader.history, place: place(numbers[0], reader),
            candidates: verifier.candidates[thread])
    }

    private func place(_ number: Int, _ reader: RowReader) -> Sampler.Place {
        Sampler.Place(sample: UInt32(number), draw: UInt32(record.draw), torch: reader.torch?.state)
    }

    private func surprisal(of choice: Sampler.Choice, thread: Int) -> Double {
        plan.doSample && choice.fault == .none ? verifier.candidates[thread].surprisalBits(of: choice.token) : 0
    }

    /// Drops the numbers under which another token would have been drawn here, and counts the row's surprisal.
    /// - Returns: false where none is left: the row's choice then stands for the lowest of them.
    private func narrow(_ row: Int, index: Int) -> Bool {
        bits[row] = surprisal(of: choices[row], thread: 0)
        guard choices[row].fault == .none, let actual = actual(index) else { return false }
        let candidates = verifier.candidates[0]
        let fitting = numbers.filter { number in
            number == numbers[0]
                ? choices[row].token == actual
                : candidates.race(Sampler.key(plan, history: readers[0].history, place: place(number, readers[0]))) == actual
        }
        guard let number = fitting.first else { return false }
        if number != numbers[0] {
            // The row's probabilities are those of every number: only the draw was another.
            let logits = UnsafePointer(verifier.session.logits(row))
            choices[row].logprob = logits[Int(actual)] - Rows.logSumExp(logits, count: verifier.model.description.vocabularySize)
            choices[row].token = actual
            bits[row] = surprisal(of: choices[row], thread: 0)
        }
        numbers = fitting
        return true
    }

    // MARK: The text

    /// Compares one token, and follows the text to see that nothing should have ended it earlier.
    private func take(_ choice: Sampler.Choice, _ surprisal: Double, index: Int) -> Result? {
        let actual = actual(index)
        switch choice.fault {
        case .none: break
        case .everythingBanned: return .differs(Comparison.token(index, expected: nil, actual: actual))
        case .notANumber:
            return .differs(Finding(.impossible, "the model's logits before token \(index) are not numbers: no text comes of it"))
        }
        guard choice.token == actual else { return .differs(Comparison.token(index, expected: choice.token, actual: actual)) }
        logprobSum += Double(choice.logprob)
        if plan.logprobs != nil { logprobs.append(TokenLogprob(tokenID: choice.token, logprob: choice.logprob, top: choice.top)) }
        bitSum += surprisal
        assembler.append(verifier.table.bytes(of: choice.token, skippingSpecial: request.text.skipSpecialTokens))
        guard let reason = ending.reason(token: choice.token, length: promptCount + index + 1, assembler: &assembler) else { return nil }
        guard index + 1 == record.tokenIDs.count else {
            return .differs(Comparison.token(index + 1, expected: nil, actual: self.actual(index + 1)))
        }
        return .holds(sample(reason))
    }

    /// What the record yields.
    private func sample(_ reason: FinishReason) -> GeneratedSample {
        let text = FinishedText.assemble(prompt: record.prompt, generated: assembler.utf8, options: request.text)
        var sample = GeneratedSample(
            sample: record.sample, promptIndex: record.promptIndex, draw: record.draw, text: text, prompt: record.prompt,
            promptTokenIDs: record.promptTokenIDs, tokenIDs: record.tokenIDs, finishReason: reason,
            meanLogprob: logprobSum / Double(record.tokenIDs.count))
        sample.logprobs = plan.logprobs == nil ? nil : logprobs
        if let cutter {
            let spelled = SpelledTokens(
                prompt: record.promptTokenIDs, generated: record.tokenIDs, stops: request.parameters.stopStrings, table: verifier.table)
            sample.schema = cutter.cut(spelled, cleansUp: request.text.cleanUpTokenizationSpaces)
        }
        return sample
    }

    /// What a result says of a claim.
    func findings(_ result: Result, _ claim: Claim) -> [Finding] {
        switch result {
        case .differs(let finding): [finding]
        case .holds(let sample): Comparison.findings(claim, record, sample) + drawFindings(sample)
        }
    }

    /// Whether this draw can be the one that was kept. That the earlier ones were refused only a replay shows.
    private func drawFindings(_ sample: GeneratedSample) -> [Finding] {
        let last = BatchScheduler.maximumDraw
        let redraws = plan.doSample && (request.text.nonemptyOutput || request.text.deduplicate)
        guard record.draw <= (redraws ? last : 0) else { return [Comparison.draw(expected: redraws ? last : 0, actual: record.draw)] }
        let isRefused =
            redraws && !plan.drawsInBatches && request.text.nonemptyOutput
            && FinishedText.isEmpty(sample.text, minLength: request.parameters.minLength)
        return isRefused && record.draw < last ? [Comparison.draw(expected: record.draw + 1, actual: record.draw)] : []
    }
}

extension Candidates {
    /// −log2 of the probability that this token is drawn here, after a row was weighed; infinite where it is not among the survivors.
    func surprisalBits(of token: Int32) -> Double {
        guard let index = index(of: token), weights[index] > 0 else { return .infinity }
        // Four sums side by side: one alone would wait for each addition.
        var sums = SIMD4<Double>()
        var place = 0
        while place + 4 <= count {
            sums += SIMD4<Double>(Double(weights[place]), Double(weights[place + 1]), Double(weights[place + 2]), Double(weights[place + 3]))
            place += 4
        }
        while place < count {
            sums[0] += Double(weights[place])
            place += 1
        }
        return (Functions.log(sums.sum()) - Functions.log(Double(weights[index]))) / Self.naturalLogOfTwo
    }

    private static let naturalLogOfTwo = 0x1.62e42fefa39efp-1

    /// Where a token stands among the survivors, whose ids ascend.
    private func index(of token: Int32) -> Int? {
        guard isListed else { return Int(token) < count ? Int(token) : nil }
        var (low, high) = (0, count)
        while low < high {
            let middle = (low + high) / 2
            if ids[middle] < token { low = middle + 1 } else { high = middle }
        }
        return low < count && ids[low] == token ? low : nil
    }
}
