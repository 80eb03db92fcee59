import Encodings
import Generation
import Kernels
import LanguageModels
import TestSupport
import Testing
import Tokenizers

@Suite("A text is proved by its record")
struct VerificationTests {
    @Test(
        "every generated text is proved by a replay and, but for beams, moved windows, redraws and what torch drew beside, by one pass",
        arguments: 0..<40)
    func everything(seed: UInt64) throws {
        var generator = SeededGenerator(seed: seed)
        let precision = WeightPrecision.allCases[Int(seed / 3 % 3)]
        let engine = try Engine(["gpt2", "gpt-neo", "gpt2-ending"][Int(seed % 3)], precision: precision)
        let request = Proofs.request(engine, using: &generator)
        let samples: [GeneratedSample]
        do { samples = try engine.generate(request) } catch GenerationError.everythingBanned { return }
        let verifier = try engine.verifier()
        for sample in samples {
            let claim = try sample.claim
            let told = Comment(
                rawValue: "seed \(seed), sample \(sample.sample): \(String(decoding: JSONValue.object(claim.members).canonical, as: UTF8.self))")
            let forward = try verifier.verify(claim, method: .forward)
            let mayNeedReplay =
                request.parameters.numBeams > 1 || request.parameters.rng == .torch || sample.draw > 0 || request.text.deduplicate
                || sample.promptTokenIDs.count + sample.tokenIDs.count > engine.model.description.contextLength
            if mayNeedReplay, forward.findings.first?.reason == .needsReplay {
                #expect(forward.isVerified == nil, told)
            } else {
                #expect(forward.findings == [], told)
                #expect((forward.surprisalBits == nil) == !request.parameters.doSample, told)
                #expect(forward.surprisalBits.map { $0 >= 0 && $0.isFinite } ?? true, told)
            }
            let replay = try verifier.verify(claim, method: .replay)
            #expect(replay.findings == [] && replay.method == .replay, told)
            #expect(try verifier.verify(claim).isVerified == true, told)
        }
    }

    @Test("a text is proved with the model in its own precision, and undecided with another", arguments: WeightPrecision.allCases)
    func precisions(precision: WeightPrecision) throws {
        let claim = try #require(try Engine(precision: precision).generate(Proofs.plain(in: precision)).first).claim
        #expect(claim.precision == precision)
        for other in WeightPrecision.allCases {
            let verdict = try Engine(precision: other).verifier().verify(claim)
            #expect(verdict.isVerified == (other == precision ? true : nil))
            #expect(other == precision || verdict.decisive?.reason == .numerics)
        }
        // A forger who says another precision than the text was made in is told that the tokens differ, or that this arithmetic is not known.
        let said = WeightPrecision.allCases.first { $0 != precision } ?? precision
        let forged = claim.forging("precision", .string(said.rawValue))
        #expect(try Engine(precision: said).verifier().verify(forged).isVerified != true)
    }

    @Test("beams, a window that moved, redraws and what torch drew beside are generated anew, and asked for one pass the answer is null")
    func obstacles() throws {
        let engine = try Engine()
        let verifier = try engine.verifier()
        let requests = [
            Proofs.plain { $0.parameters.numBeams = 2 },
            Proofs.plain { request in
                (request.parameters.slidingWindow, request.parameters.maxLength, request.parameters.bannedTokens) = (true, 90, [0])
            },
            Proofs.plain { ($0.parameters.rng, $0.parameters.minLength, $0.text.nonemptyOutput) = (.torch, 4000, true) },
            Proofs.plain { ($0.parameters.rng, $0.parameters.batchSize, $0.n) = (.torch, 1, 2) },
            Proofs.plain { ($0.parameters.minLength, $0.text.nonemptyOutput) = (4000, true) },
            Proofs.plain { ($0.text.deduplicate, $0.n) = (true, 2) },
        ]
        for request in requests {
            let claim = try #require(try engine.generate(request).last).claim
            let verdict = try verifier.verify(claim)
            #expect(verdict.method == .replay && verdict.isVerified == true && verdict.surprisalBits == nil)
            let forward = try verifier.verify(claim, method: .forward)
            #expect(forward.isVerified == nil && forward.decisive?.reason == .needsReplay)
            let changed = claim.forging(tokens: Array(claim.tokens.dropLast()) + [claim.tokens.last == 9 ? 8 : 9])
            #expect(try verifier.verify(changed).decisive?.difference?.token == claim.tokens.count - 1)
        }
    }

    @Test("a pass proves the same on one thread or two, with any instruction set, in texts longer than a chunk")
    func everywhere() throws {
        let reference = try Engine()
        let description = try Architectures.describe(config: [
            "model_type": "gpt2", "vocab_size": 400, "n_positions": 400, "n_embd": 32, "n_layer": 2, "n_head": 2, "eos_token_id": 0,
            "bos_token_id": 0,
        ])
        let model = try LanguageModel.random(description, seed: 3, pool: reference.pool)
        let long = Engine(model: model, tokenizer: reference.tokenizer, pool: reference.pool)
        var prompt = ""
        while reference.tokenizer.encode(prompt).count < 150 { prompt += "garden violet " }
        let request = Proofs.plain { request in
            (request.prompts, request.parameters.maxLength, request.parameters.bannedTokens) = ([prompt], 400, [0])
        }
        let claim = try long.generate(request)[0].claim
        #expect(claim.tokens.count > 128 && (claim.members["prompt_token_ids"]?.ids.count ?? 0) > 128)
        #expect(try long.verifier().verify(claim).findings == [])
        let last = claim.tokens.count - 1
        let verdict = try long.verifier().verify(claim.forging(tokens: claim.tokens.dropLast() + [claim.tokens[last] == 7 ? 8 : 7]))
        #expect(verdict.decisive?.difference?.token == last)

        let short = try reference.generate(Proofs.plain())[0].claim
        var bits: Double?
        for set in reference.sets {
            for threads in [1, 2] {
                let verdict = try Engine(threads: threads, set: set).verifier().verify(short)
                #expect(verdict.findings == [], "\(set), \(threads) threads")
                #expect(bits == nil || bits == verdict.surprisalBits)
                bits = verdict.surprisalBits
            }
        }
    }

    @Test("surprisal is the text's own improbability where nothing is filtered; a short text may have been found, a greedy one has none")
    func surprisal() throws {
        let engine = try Engine()
        let verifier = try engine.verifier()
        let sample = try engine.generate(Proofs.plain { $0.parameters.temperature = [1] })[0]
        let verdict = try verifier.verify(sample.claim)
        let expected = -sample.meanLogprob * Double(sample.tokenIDs.count) / 0.693_147_180_559_945_3
        let bits = try #require(verdict.surprisalBits)
        #expect(abs(bits - expected) < 1e-3 * expected)
        #expect(verdict.isFindable == (bits < 64))
        let short = try verifier.verify(engine.generate(Proofs.plain { ($0.parameters.maxLength, $0.text.nonemptyOutput) = (6, false) })[0].claim)
        #expect(short.isVerified == true && short.isFindable == true)
        let long = try verifier.verify(engine.generate(Proofs.plain { $0.parameters.bannedTokens = [0] })[0].claim)
        #expect(long.isVerified == true && long.isFindable == false)
        let greedy = try verifier.verify(engine.generate(Proofs.plain { $0.parameters.doSample = false })[0].claim)
        #expect(greedy.isVerified == true && greedy.surprisalBits == nil && greedy.isFindable == nil)
        #expect(greedy.json(generation: nil)["surprisal_bits"] == .null)
    }

    @Test("a sample's number within its prompt is found, whatever n was")
    func sampleNumbers() throws {
        let engine = try Engine()
        let verifier = try engine.verifier()
        let samples = try engine.generate(Proofs.plain { ($0.prompts, $0.n) = (["In the", "Light", "He said"], 5) })
        #expect(Set(samples.map(\.tokenIDs)).count > 10)
        for sample in samples {
            let claim = try sample.claim
            #expect(try verifier.verify(claim).findings == [], "sample \(sample.sample)")
            // Of the first prompt a sample's number is its own; of others one n or another may give any.
            guard sample.promptIndex == 0 else { continue }
            #expect(try verifier.verify(claim.forging("sample", .integer(Int64(sample.sample + 1)))).isVerified == false)
        }
        let claim = try samples[14].claim
        #expect(try verifier.verify(claim.forging("sample", .integer(1))).isVerified != true)
    }

    @Test("steps tell a person what was looked at")
    func steps() throws {
        let engine = try Engine()
        let claim = try engine.generate(Proofs.plain())[0].claim
        var steps: [VerificationStep] = []
        _ = try engine.verifier().verify(claim) { steps.append($0) }
        #expect(steps.map(\.outcome) == [.holds, .holds, .holds, .holds, .note])
        steps = []
        _ = try engine.verifier().verify(claim.forging("finish_reason", "stop")) { steps.append($0) }
        #expect(steps.contains { $0.outcome == .fails && $0.text.contains("stop") })
    }
}

extension Engine {
    var sets: [InstructionSet] { InstructionSet.available }
}
