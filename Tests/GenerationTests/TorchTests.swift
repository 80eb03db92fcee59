import Encodings
import Generation
import LanguageModels
import TestSupport
import Testing

@Suite("torch's random numbers")
struct TorchTests {
    @Test("a seed gives the texts that torch and transformers drew for it, token for token")
    func samples() throws {
        let engine = try Engine("gpt2-ending")
        let cases = try #require(Reference.json("gpt2-ending/golden.json")["samples"]?.arrayValue)
        #expect(!cases.isEmpty)
        for item in cases {
            let wanted = try #require(item["sequences"]?.arrayValue).map(\.ids)
            for slots in [1, 2, 16] {
                let found = try engine.generate(try Self.request(item), options: SchedulerOptions(slots: slots))
                #expect(found.count == wanted.count)
                for (sample, sequence) in zip(found, wanted) {
                    let tokens = sample.promptTokenIDs + sample.tokenIDs
                    #expect(tokens[...] == sequence.prefix(tokens.count), "seed \(item["seed"]?.intValue ?? -1), \(slots) slots")
                }
            }
        }
    }

    static func request(_ item: JSONValue) throws -> GenerationRequest {
        var request = GenerationRequest.tokens(try #require(item["ids"]).ids, n: Int(item["n"]?.intValue ?? 1)) {
            $0.rng = .torch
            $0.seed = UInt64(item["seed"]?.intValue ?? 0)
            $0.maxLength = Int(item["max_length"]?.intValue ?? 0)
            $0.temperature = [item["temperature"]?.doubleValue ?? 1]
            $0.topK = Int(item["top_k"]?.intValue ?? 0)
            $0.topP = item["top_p"]?.doubleValue ?? 1
            $0.repetitionPenalty = item["repetition_penalty"]?.doubleValue ?? 1
        }
        request.text.nonemptyOutput = false
        return request
    }
}
