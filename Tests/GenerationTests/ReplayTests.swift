import Encodings
import Generation
import Kernels
import TestSupport
import Testing

/// What a replay costs, and what a hostile record cannot make it cost.
@Suite("A replay makes what decides a text, and no more")
struct ReplayTests {
    private let engine: Engine
    private let verifier: Verifier

    init() throws {
        engine = try Engine()
        verifier = try engine.verifier()
    }

    /// A replay's verdict, and how many tokens it made at most.
    private func replay(_ claim: Claim) throws -> (verdict: Verdict, tokens: Int) {
        let verification = verifier.begin(claim, method: .replay)
        var tokens = 0
        while true {
            if let verdict = verification.verdict { return (verdict, tokens) }
            tokens = max(tokens, verification.tokensDone)
            try verification.step()
        }
    }

    @Test("of the numbers that a text of several prompts may have, those that begin otherwise cost a token")
    func prompts() throws {
        let request = Proofs.plain { ($0.prompts, $0.n, $0.parameters.bannedTokens) = (["In the", "Light", "He said"], 40, [0]) }
        for sample in try engine.generate(request) where sample.sample % 13 == 0 || sample.sample == 119 {
            let (verdict, tokens) = try replay(sample.claim)
            #expect(verdict.findings == [], "sample \(sample.sample)")
            #expect(tokens < 260, "sample \(sample.sample): \(tokens) tokens")
        }
    }

    @Test("a text of several prompts that was drawn again, or compared with others, is found and generated in full")
    func redrawn() throws {
        let redrawn = try engine.generate(Proofs.plain { ($0.prompts, $0.n, $0.parameters.minLength) = (["In the", "Light"], 3, 4000) })
        #expect(redrawn.allSatisfy { $0.draw == 16 })
        let compared = try engine.generate(
            Proofs.plain {
                ($0.prompts, $0.n, $0.text.deduplicate, $0.parameters.maxLength, $0.parameters.topK) = (["In the", "Light"], 5, true, 5, 2)
            })
        #expect(compared.contains { $0.draw > 0 })
        for sample in redrawn + compared {
            #expect(try replay(sample.claim).verdict.findings == [], "sample \(sample.sample)")
            let changed = try sample.claim.forging(tokens: sample.tokenIDs.dropLast() + [sample.tokenIDs.last == 9 ? 8 : 9])
            #expect(try replay(changed).verdict.isVerified == false)
        }
        // A draw that nothing refused before is not the one that was kept.
        let first = try #require(compared.first { $0.draw == 0 && $0.promptIndex == 1 })
        #expect(try replay(first.claim.forging("draw", 1)).verdict.isVerified == false)
    }

    @Test("it ends with the first token that differs, and one token behind the record's last")
    func ends() throws {
        var request = Proofs.plain { ($0.parameters.slidingWindow, $0.parameters.maxLength, $0.parameters.bannedTokens) = (true, 90, [0]) }
        let claim = try engine.generate(request)[0].claim
        let early = try replay(claim.forging(tokens: claim.tokens.enumerated().map { $0.offset == 2 ? ($0.element == 9 ? 8 : 9) : $0.element }))
        #expect(early.verdict.findings.map(\.reason) == [.tokens] && early.verdict.decisive?.difference?.token == 2)
        #expect(early.tokens <= 4)
        let endless = try replay(claim.forging(parameter: "max_length", 65_536))
        #expect(endless.verdict.decisive?.difference?.token == claim.tokens.count && endless.tokens <= claim.tokens.count + 2)
        request = Proofs.plain { ($0.parameters.rng, $0.n, $0.parameters.bannedTokens) = (.torch, 6, [0]) }
        let torch = try engine.generate(request)[4].claim
        let changed = try replay(torch.forging(tokens: [torch.tokens[0] == 9 ? 8 : 9] + torch.tokens.dropFirst()))
        #expect(changed.verdict.decisive?.difference?.token == 0 && changed.tokens <= 12)
    }

    @Test(
        "a record beyond the contract's limits is not read",
        arguments: [
            ("max_length", 65_537), ("max_length", 2_147_483_647), ("min_length", 65_537), ("no_repeat_ngram_size", 65_537), ("num_beams", 1025),
            ("logprobs", 21), ("n", 65_537), ("batch_size", 65_537),
        ])
    func limits(parameter: String, value: Int64) throws {
        let claim = try engine.generate(Proofs.plain())[0].claim
        for method in VerificationMethod.allCases {
            let verdict = try verifier.verify(claim.forging(parameter: parameter, .integer(value)), method: method)
            #expect(verdict.isVerified == nil && verdict.decisive?.reason == .format)
            #expect(verdict.decisive?.message.contains("params.\(parameter)") == true)
        }
        let seed = try verifier.verify(claim.forging("seed", .integer(1 << 53)))
        #expect(seed.decisive?.reason == .format && seed.decisive?.message.contains("seed") == true)
    }

    @Test("a text among tens of thousands is proved, by one pass and by a replay")
    func large() throws {
        // What a request of two prompts and 30,000 texts each records of the second's text 20,000.
        var request = Proofs.plain { ($0.n, $0.parameters.bannedTokens) = (20_001, [0]) }
        request.firstSample = 20_000
        let claim = try engine.generate(request)[0].claim.forging("sample", 50_000).forging("prompt_index", 1)
        #expect(try verifier.verify(claim).findings == [])
        #expect(try replay(claim).verdict.findings == [])
        #expect(try verifier.verify(claim.forging("sample", 65_536)).decisive?.reason == .format)
    }

    @Test("more texts than a proof can find or draw are refused, and so is a seed that a record cannot hold")
    func refused() throws {
        let requests: [(GenerationRequest, String)] = [
            (Proofs.plain { ($0.prompts, $0.n) = (["a", "b"], 32_769) }, "n"), (Proofs.plain { ($0.parameters.rng, $0.n) = (.torch, 65_537) }, "n"),
            (Proofs.plain { $0.n = 1 << 40 }, "n"), (Proofs.plain { $0.parameters.maxLength = 65_537 }, "max_length"),
        ]
        for (request, field) in requests {
            #expect(throws: GenerationError.self) { try engine.generate(request) }
            do { _ = try engine.generate(request) } catch let error as GenerationError { #expect(error.field == field) }
        }
        for seed in [1 << 53, 1 << 63, UInt64.max] {
            var request = GenerationRequest(prompts: ["In the"])
            request.parameters.seed = seed
            do { _ = try engine.generate(request) } catch let error as GenerationError { #expect(error.field == "seed") }
            #expect(throws: GenerationError.self) { try engine.generate(request) }
        }
        var largest = GenerationRequest(prompts: ["In the"])
        largest.parameters.seed = SamplingParameters.mostSeed
        #expect(try verifier.verify(engine.generate(largest.recorded(in: .float32))[0].claim).findings == [])
    }
}
