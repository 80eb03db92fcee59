import Encodings
import Generation
import LanguageModels
import TestSupport
import Testing

@Suite("Logits processors against transformers")
struct LogitsProcessorsTests {
    @Test("the resulting probabilities are transformers'", arguments: ["logits_processors.json", "logits_processors_wide.json"])
    func reference(file: String) throws {
        let cases = try #require(Reference.json(file).arrayValue)
        #expect(!cases.isEmpty)
        for (index, item) in cases.enumerated() {
            let params = try #require(item["params"])
            var parameters = SamplingParameters()
            parameters.temperature = [try #require(params["temperature"]?.doubleValue)]
            parameters.topK = Int(params["top_k"]?.intValue ?? 0)
            parameters.topP = params["top_p"]?.doubleValue ?? 1
            parameters.minP = params["min_p"]?.doubleValue ?? 0
            parameters.typicalP = params["typical_p"]?.doubleValue ?? 1
            parameters.repetitionPenalty = params["repetition_penalty"]?.doubleValue ?? 1
            parameters.noRepeatNgramSize = Int(params["no_repeat_ngram_size"]?.intValue ?? 0)
            let logits = try #require(item["logits"]).floats
            let found = try Sampler.distribution(
                logits: logits, previous: try #require(item["previous_ids"]).ids, parameters: parameters, description: description(rows: logits.count)
            )
            let wanted = try #require(item["probabilities"]).doubles
            #expect(zip(found, wanted).allSatisfy { ($0 == 0) == ($1 == 0) && abs($0 - $1) <= 1e-6 }, "\(file) case \(index): \(params)")
        }
    }

    private func description(rows: Int) throws -> ModelDescription {
        try Architectures.describe(config: [
            "vocab_size": .integer(Int64(rows)), "n_positions": 8, "n_embd": 8, "n_layer": 1, "n_head": 1, "eos_token_id": 0,
        ])
    }

    private func distribution(_ logits: [Float], _ previous: [Int32] = [1], _ edit: (inout SamplingParameters) -> Void) throws -> [Double] {
        var parameters = SamplingParameters()
        parameters.temperature = [1]
        edit(&parameters)
        return try Sampler.distribution(logits: logits, previous: previous, parameters: parameters, description: description(rows: logits.count))
    }

    @Test("all that tie with the k-th score survive top_k")
    func ties() throws {
        #expect(try distribution([1, 2, 2, 2, 0]) { $0.topK = 2 } == [0, 1.0 / 3, 1.0 / 3, 1.0 / 3, 0])
    }

    @Test("equal scores fall out of top_p by id, the higher first")
    func topPTies() throws {
        #expect(try distribution([1, 1, 1, 1]) { $0.topP = 0.5 } == [0.5, 0.5, 0, 0])
        #expect(try distribution([1, 1, 1, 1]) { $0.topP = 0 } == [1, 0, 0, 0])
    }

    @Test("banned tokens and the end token before min_length cannot come")
    func bans() throws {
        #expect(try distribution([1, 1, 1, 1]) { $0.bannedTokens = [2, 3] } == [0.5, 0.5, 0, 0])
        #expect(try distribution([1, 1]) { $0.minLength = 2 } == [0, 1])
        #expect(try distribution([1, 1]) { $0.minLength = 1 } == [0.5, 0.5])
        #expect(try distribution([1, 1]) { $0.bannedTokens = [0, 1] } == [0, 0])
    }

    @Test(
        "a parameter out of range is refused by its name",
        arguments: ["temperature", "top_p", "min_p", "typical_p", "top_k", "repetition_penalty", "banned_tokens", "stop", "logprobs", "max_length"])
    func ranges(field: String) throws {
        do {
            _ = try distribution([1, 1]) {
                switch field {
                case "temperature": $0.temperature = [1, 0]
                case "top_p": $0.topP = 1.5
                case "min_p": $0.minP = -0.1
                case "typical_p": $0.typicalP = 0
                case "top_k": $0.topK = -1
                case "repetition_penalty": $0.repetitionPenalty = 0
                case "banned_tokens": $0.bannedTokens = [2]
                case "stop": $0.stop = [""]
                case "logprobs": $0.logprobs = 21
                default: $0.maxLength = 0
                }
            }
            Issue.record("\(field) was accepted")
        } catch {
            #expect((error as? GenerationError)?.field == field)
        }
    }
}
