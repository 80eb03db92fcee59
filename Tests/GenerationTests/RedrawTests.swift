import Encodings
import Generation
import LanguageModels
import TestSupport
import Testing
import Tokenizers

@Suite("Texts that are drawn again")
struct RedrawTests {
    /// A request whose texts often are empty: the end token is likely once a short text is long enough.
    private func request(_ engine: Engine, n: Int) throws -> GenerationRequest {
        var request = GenerationRequest.tokens([3, 4], n: n) {
            $0.maxLength = 4
            $0.temperature = [3]
            $0.seed = 11
        }
        request.text.includePrefix = false
        return request
    }

    @Test("an empty text is drawn again with the same seed, at most 16 times, and marked")
    func nonempty() throws {
        let engine = try Engine()
        var request = try request(engine, n: 6)
        // No text of two tokens has more characters than this, so every draw is refused.
        request.parameters.minLength = 4000
        let samples = try engine.generate(request)
        #expect(samples.allSatisfy { $0.draw == 16 && $0.redrawn == 16 })
        request.text.nonemptyOutput = false
        let first = try engine.generate(request)
        #expect(first.allSatisfy { $0.draw == 0 && $0.redrawn == nil })
        #expect(first.map(\.tokenIDs) != samples.map(\.tokenIDs))
        let record = try #require(JSONValue.parse(samples[0].record).objectValue)
        #expect(record["draw"] == 16)
    }

    @Test("greedy never draws again")
    func greedy() throws {
        let engine = try Engine()
        var request = try request(engine, n: 1)
        request.parameters.doSample = false
        request.parameters.minLength = 4000
        #expect(try engine.generate(request)[0].redrawn == nil)
    }

    @Test("deduplicate compares bytes: two spaces that Unicode calls equivalent are two texts")
    func deduplicateBytes() throws {
        let engine = try Engine()
        let spaces = ["\u{2000}", "\u{2002}"].map { engine.tokenizer.encode($0) }
        #expect("\u{2000}" == "\u{2002}" && spaces[0].count == spaces[1].count)
        let wanted = Set(spaces.joined())
        var request = GenerationRequest.tokens([3, 4], n: 2) {
            $0.maxLength = 2 + spaces[0].count
            $0.temperature = [1000]
            $0.bannedTokens = (0..<Int32(engine.model.description.vocabularySize)).filter { !wanted.contains($0) }
        }
        (request.text.includePrefix, request.text.lstrip) = (false, false)
        for seed in 0..<20_000 {
            request.parameters.seed = UInt64(seed)
            request.text.deduplicate = false
            let plain = try engine.generate(request)
            guard Set(plain.map { Array($0.text.utf8) }) == Set([Array("\u{2000}".utf8), Array("\u{2002}".utf8)]) else { continue }
            request.text.deduplicate = true
            #expect(try engine.generate(request).map(\.tokenIDs) == plain.map(\.tokenIDs))
            return
        }
        Issue.record("no seed gave both texts")
    }

    @Test("deduplicate leaves no two equal texts of a prompt while draws last, settled in ascending order")
    func deduplicate() throws {
        let engine = try Engine()
        var request = try request(engine, n: 24)
        request.parameters.temperature = [1]
        // Nine texts at most (ties aside), so 24 cannot all differ.
        request.parameters.topK = 3
        let plain = try engine.generate(request)
        #expect(Set(plain.map(\.text)).count < 24)
        request.text.deduplicate = true
        for slots in [1, 5, 32] {
            let samples = try engine.generate(request, options: SchedulerOptions(slots: slots))
            var seen: Set<String> = []
            for (sample, first) in zip(samples, plain) {
                let isNew = seen.insert(sample.text).inserted
                #expect(isNew || sample.redrawn == 16)
                if sample.draw == 0 { #expect(sample.tokenIDs == first.tokenIDs) }
            }
            #expect(samples.contains { $0.draw > 0 })
            #expect(try engine.generate(request, options: SchedulerOptions(slots: 3)) == samples)
        }
    }
}
