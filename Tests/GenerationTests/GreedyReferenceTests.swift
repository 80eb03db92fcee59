import Encodings
import Generation
import LanguageModels
import TestSupport
import Testing

@Suite("Greedy texts and likelihoods against transformers")
struct GreedyReferenceTests {
    @Test("greedy texts to the full context are equal", arguments: ["gpt2", "gpt2-variant"])
    func greedy(name: String) throws {
        let engine = try Engine(name)
        for prompt in try #require(Reference.json("\(name)/golden.json")["prompts"]?.arrayValue) {
            let ids = try #require(prompt["ids"]).ids
            let wanted = try #require(prompt["greedy"]).ids
            let request = GenerationRequest.tokens(ids) {
                $0.doSample = false
                $0.maxLength = wanted.count
                $0.ignoresEndToken = true
            }
            #expect(try ids + engine.generate(request)[0].tokenIDs == wanted)
        }
    }

    @Test("greedy texts with repetition penalty 1.3 and no repeated 3-grams are equal", arguments: ["gpt2", "gpt2-variant"])
    func processed(name: String) throws {
        let engine = try Engine(name)
        for prompt in try #require(Reference.json("\(name)/golden.json")["prompts"]?.arrayValue) {
            let ids = try #require(prompt["ids"]).ids
            let wanted = try #require(prompt["greedy_rep1.3_ngram3"]).ids
            let request = GenerationRequest.tokens(ids) {
                $0.doSample = false
                $0.maxLength = wanted.count
                $0.ignoresEndToken = true
                $0.repetitionPenalty = 1.3
                $0.noRepeatNgramSize = 3
            }
            #expect(try ids + engine.generate(request)[0].tokenIDs == wanted)
        }
    }

    @Test("greedy texts end where transformers' end, also with min_length")
    func ending() throws {
        let engine = try Engine("gpt2-ending")
        let context = engine.model.description.contextLength
        for item in try #require(Reference.json("gpt2-ending/golden.json")["greedy"]?.arrayValue) {
            let ids = try #require(item["ids"]).ids
            let wanted = try #require(item["greedy"]).ids
            var request = GenerationRequest.tokens(ids) {
                $0.doSample = false
                $0.maxLength = context
            }
            let sample = try engine.generate(request)[0]
            #expect(ids + sample.tokenIDs == wanted)
            #expect((sample.finishReason == .eos) == item["ends"]?.boolValue)
            guard let least = item["min_length"]?.intValue, let longer = item["greedy_min_length"]?.ids else { continue }
            request.parameters.minLength = Int(least)
            #expect(try ids + engine.generate(request)[0].tokenIDs == longer)
        }
    }

    @Test("the likelihood of every prompt is transformers'", arguments: ["gpt2", "gpt2-variant"])
    func score(name: String) throws {
        let engine = try Engine(name)
        let scorer = Scorer(model: engine.model, pool: engine.pool)
        for prompt in try #require(Reference.json("\(name)/golden.json")["prompts"]?.arrayValue) {
            let ids = try #require(prompt["ids"]).ids
            let score = try scorer.score(ids)
            let wanted = try #require(prompt["logprob_of_prompt"]?.doubleValue)
            #expect(abs(score.sum - wanted) <= 1e-4 * max(1, Double(ids.count)))
            #expect(score.logprobs.count == ids.count - 1)
            #expect(zip(score.lastLogits, try #require(prompt["last_logits"]).floats).allSatisfy { abs($0 - $1) <= 1e-4 })
            #expect(zip(score.firstLogits, try #require(prompt["first_logits"]).floats).allSatisfy { abs($0 - $1) <= 1e-4 })
        }
    }

    @Test("mean_logprob is the scorer's mean over the generated tokens")
    func meanLogprob() throws {
        let engine = try Engine()
        let request = GenerationRequest.tokens([5, 6, 7]) {
            $0.maxLength = 40
            $0.seed = 3
            $0.logprobs = 3
            $0.temperature = [1.3]
            $0.repetitionPenalty = 1.2
        }
        let sample = try engine.generate(request)[0]
        let score = try Scorer(model: engine.model, pool: engine.pool).score([5, 6, 7] + sample.tokenIDs)
        let wanted = score.logprobs.dropFirst(2)
        #expect(try #require(sample.logprobs).map(\.logprob) == Array(wanted))
        #expect(abs(sample.meanLogprob - wanted.reduce(0) { $0 + Double($1) } / Double(wanted.count)) < 1e-12)
        for entry in try #require(sample.logprobs) {
            #expect(entry.top.count == 3)
            #expect(zip(entry.top, entry.top.dropFirst()).allSatisfy { $0.logprob >= $1.logprob })
            #expect(entry.top[0].logprob >= entry.logprob)
        }
    }
}
