package import Encodings
package import Kernels
package import LanguageModels

/// What `scriptorium bench decode` and `bench prefill` measure: the engine alone, with arbitrary tokens.
package enum EngineBenchmark {
    /// One measurement, a line of `--json`.
    package struct Result: Sendable, Equatable {
        /// `decode` or `prefill`.
        package var name: String
        /// Sequences that run together.
        package var batch: Int
        package var promptTokens: Int
        package var newTokens: Int
        package var tokensPerSecond: Double
        package var seconds: Double
        package var threads: Int
        package var instructionSet: String
        package var precision: WeightPrecision
        package var parameters: Int

        /// The line.
        package var json: [UInt8] {
            JSONValue.object([
                "bench": .string(name), "batch": .integer(Int64(batch)), "prompt_tokens": .integer(Int64(promptTokens)),
                "new_tokens": .integer(Int64(newTokens)), "tokens_per_second": .real(tokensPerSecond), "seconds": .real(seconds),
                "threads": .integer(Int64(threads)), "instruction_set": .string(instructionSet), "precision": .string(precision.rawValue),
                "parameters": .integer(Int64(parameters)),
            ]).serialised
        }
    }

    /// The configuration of GPT-2 124M, for a model with random weights.
    package static let gpt2Config: JSONObject = [
        "model_type": "gpt2", "vocab_size": 50257, "n_positions": 1024, "n_embd": 768, "n_layer": 12, "n_head": 12,
        "activation_function": "gelu_new", "layer_norm_epsilon": 1e-5, "bos_token_id": 50256, "eos_token_id": 50256,
    ]

    /// A model of GPT-2 124M's shape whose weights come from a seed: speed does not depend on their values.
    package static func gpt2(precision: WeightPrecision, pool: ThreadPool) throws(ModelError) -> LanguageModel {
        try LanguageModel.random(Architectures.describe(config: gpt2Config), seed: 1, precision: precision, pool: pool)
    }

    /// New tokens a second of `batch` sequences that draw from the whole vocabulary, after prompts of `promptTokens`.
    /// Prefill is not counted.
    package static func decode(
        _ model: LanguageModel, pool: ThreadPool, batch: Int, promptTokens: Int = 32, newTokens: Int = 64
    ) throws(GenerationError) -> Result {
        let session = InferenceSession(
            model: model, pool: pool, maximumRows: max(256, batch), maximumLogitRows: batch, maximumSequences: batch)
        let drawing = try Drawing(model: model, session: session, pool: pool, batch: batch, history: tokens(promptTokens, salt: 0, model))
        do throws(ModelError) {
            var sequences: [SequenceID] = []
            for index in 0..<batch {
                sequences.append(try session.makeSequence())
                try prefill(tokens(promptTokens, salt: index, model), to: sequences[index], in: session, chunk: 256)
            }
            let clock = ContinuousClock()
            let start = clock.now
            for _ in 0..<newTokens {
                session.begin()
                for index in 0..<batch { try session.append(CollectionOfOne(drawing.next[index]), to: sequences[index], logits: .last) }
                session.run()
                drawing.choose()
            }
            let seconds = start.duration(to: clock.now).seconds
            return result(
                "decode", model, pool, batch: batch, promptTokens: promptTokens, newTokens: newTokens, count: batch * newTokens, seconds: seconds)
        } catch {
            throw .model(error)
        }
    }

    /// Prompt tokens a second of one prompt, with the logits of its last position.
    package static func prefill(
        _ model: LanguageModel, pool: ThreadPool, promptTokens: Int = 1024, chunk: Int = 256
    ) throws(ModelError) -> Result {
        let count = min(promptTokens, model.description.contextLength)
        let session = InferenceSession(model: model, pool: pool, maximumRows: chunk, maximumLogitRows: 1, maximumSequences: 1)
        let prompt = tokens(count, salt: 0, model)
        let clock = ContinuousClock()
        var best = Double.infinity
        for _ in 0..<3 {
            let sequence = try session.makeSequence()
            let start = clock.now
            try prefill(prompt, to: sequence, in: session, chunk: chunk)
            best = min(best, start.duration(to: clock.now).seconds)
            session.release(sequence)
        }
        return result("prefill", model, pool, batch: 1, promptTokens: count, newTokens: 0, count: count, seconds: best)
    }

    private static func prefill(_ prompt: [Int32], to sequence: SequenceID, in session: InferenceSession, chunk: Int) throws(ModelError) {
        for start in stride(from: 0, to: prompt.count, by: chunk) {
            let end = min(start + chunk, prompt.count)
            session.begin()
            try session.append(prompt[start..<end], to: sequence, logits: end == prompt.count ? .last : .none)
            session.run()
        }
    }

    private static func tokens(_ count: Int, salt: Int, _ model: LanguageModel) -> [Int32] {
        (0..<count).map { Int32(($0 &* 7919 &+ salt &* 104_729 &+ 11) % model.description.vocabularySize) }
    }

    private static func result(
        _ name: String, _ model: LanguageModel, _ pool: ThreadPool, batch: Int, promptTokens: Int, newTokens: Int, count: Int, seconds: Double
    ) -> Result {
        Result(
            name: name, batch: batch, promptTokens: promptTokens, newTokens: newTokens, tokensPerSecond: Double(count) / seconds, seconds: seconds,
            threads: pool.threadCount, instructionSet: pool.instructionSet.rawValue, precision: model.precision,
            parameters: model.description.parameterCount)
    }

    /// Draws a token for each sequence of a batch, as the scheduler does.
    private final class Drawing {
        var next: [Int32]
        private let plan: SamplingPlan
        private let history: TokenHistory
        private let candidates: [Candidates]
        private let session: InferenceSession

        init(model: LanguageModel, session: InferenceSession, pool: ThreadPool, batch: Int, history: [Int32]) throws(GenerationError) {
            next = [Int32](repeating: 1, count: batch)
            plan = try SamplingPlan(SamplingParameters(), tokenizer: nil, description: model.description)
            self.history = TokenHistory(prompt: history, capacity: history.count, vocabulary: nil)
            candidates = (0..<pool.threadCount).map { _ in Candidates(rows: model.description.vocabularySize) }
            self.session = session
        }

        func choose() {
            let (session, plan, history, candidates) = (session, plan, history, candidates)
            let count = next.count
            let threads = min(count, candidates.count)
            next.withUnsafeMutableBufferPointer { buffer in
                let next = buffer
                session.pool.run(parts: threads) { thread in
                    for row in stride(from: thread, to: count, by: threads) {
                        let choice = Sampler.choose(
                            UnsafePointer(session.logits(row)), rows: session.model.description.vocabularySize, plan: plan, history: history,
                            place: .init(sample: UInt32(row), draw: 0), candidates: candidates[thread])
                        next[row] = max(0, choice.token)
                    }
                }
            }
        }
    }
}

extension Duration {
    /// As a real number.
    fileprivate var seconds: Double { Double(components.seconds) + Double(components.attoseconds) * 1e-18 }
}
