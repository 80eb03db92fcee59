import Encodings
package import Kernels
package import LanguageModels
import Tokenizers

/// What `scriptorium bench verify` measures: what it costs to prove a text, beside what it costs to generate it.
package struct VerificationBenchmark: Sendable, Equatable {
    package var promptTokens: Int
    package var newTokens: Int
    /// The best round's time for the text, prompt included.
    package var generateSeconds: Double
    /// The best round's time for its verdict.
    package var verifySeconds: Double
    package var isVerified: Bool
    package var threads: Int
    package var instructionSet: String
    package var parameters: Int
    package var precision: String

    /// Verifying takes this share of generating.
    package var ratio: Double { verifySeconds / generateSeconds }

    /// A line of `--json`.
    package var json: [UInt8] {
        JSONValue.object([
            "bench": "verify", "batch": 1, "prompt_tokens": .integer(Int64(promptTokens)), "new_tokens": .integer(Int64(newTokens)),
            "generate_seconds": .real(generateSeconds), "verify_seconds": .real(verifySeconds), "ratio": .real(ratio),
            "tokens_per_second": .real(Double(newTokens) / verifySeconds), "verified": .bool(isVerified), "threads": .integer(Int64(threads)),
            "instruction_set": .string(instructionSet), "precision": .string(precision), "parameters": .integer(Int64(parameters)),
        ]).serialised
    }

    /// Generates one text and proves it, in turns.
    /// - Parameters:
    ///   - newTokens: what is generated behind a prompt of 32 tokens; both must fit into the model's context.
    ///   - rounds: of each the best counts.
    package static func run(_ model: LanguageModel, pool: ThreadPool, newTokens: Int, rounds: Int = 3) throws(GenerationError)
        -> VerificationBenchmark
    {
        let engine: (tokenizer: Tokenizer, verifier: Verifier, scheduler: BatchScheduler)
        do {
            // A token a byte: what a text says does not matter here.
            let tokenizer = try TokenizerTrainer(vocabularySize: 257).train()
            engine = (
                tokenizer, try Verifier(model: model, tokenizer: tokenizer, pool: pool),
                try BatchScheduler(model: model, tokenizer: tokenizer, pool: pool, options: SchedulerOptions(slots: 1))
            )
        } catch let error as ModelError { throw .model(error) } catch {
            throw .invalidParameter(field: "tokenizer", reason: "\(error)")
        }
        let request = request(model, newTokens: newTokens)
        var best = (generate: Double.infinity, verify: Double.infinity)
        var isVerified = true
        var promptTokens = 0
        for _ in 0..<rounds {
            let clock = ContinuousClock()
            let start = clock.now
            let sample = try generate(request, engine.scheduler)
            let middle = clock.now
            do {
                let verdict = try engine.verifier.verify(Claim(JSONValue.parse(sample.jsonLine)))
                isVerified = isVerified && verdict.isVerified == true
            } catch let error as ModelError { throw .model(error) } catch {
                throw .invalidParameter(field: "record", reason: "\(error)")
            }
            best.generate = min(best.generate, seconds(start.duration(to: middle)))
            best.verify = min(best.verify, seconds(middle.duration(to: clock.now)))
            promptTokens = sample.promptTokenIDs.count
        }
        return VerificationBenchmark(
            promptTokens: promptTokens, newTokens: newTokens, generateSeconds: best.generate, verifySeconds: best.verify, isVerified: isVerified,
            threads: pool.threadCount, instructionSet: pool.instructionSet.rawValue, parameters: model.description.parameterCount,
            precision: model.precision.rawValue)
    }

    private static func request(_ model: LanguageModel, newTokens: Int) -> GenerationRequest {
        var request = GenerationRequest(prompts: [String(repeating: "a", count: 32)], prependBos: false)
        request.parameters.seed = 1
        request.parameters.maxLength = 32 + newTokens
        // A text of that length, whatever the weights.
        request.parameters.bannedTokens = model.description.eosIDs
        request.text.nonemptyOutput = false
        request.identity = ProofIdentity(params: request.effectiveParams(precision: model.precision))
        return request
    }

    private static func generate(_ request: GenerationRequest, _ scheduler: BatchScheduler) throws(GenerationError) -> GeneratedSample {
        _ = try scheduler.add(request)
        var events: [GenerationEvent] = []
        while scheduler.step(into: &events) {
            for event in events {
                if case .sample(_, let sample) = event {
                    while scheduler.step(into: &events) {}
                    return sample
                }
                if case .failed(_, let error) = event { throw error }
            }
            events.removeAll(keepingCapacity: true)
        }
        throw .invalidParameter(field: "prompt", reason: "gave no text")
    }

    private static func seconds(_ duration: Duration) -> Double {
        Double(duration.components.seconds) + Double(duration.components.attoseconds) * 1e-18
    }
}
