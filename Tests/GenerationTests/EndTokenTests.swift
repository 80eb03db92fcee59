import Encodings
import FoundationEssentials
import Generation
import Kernels
import LanguageModels
import ModelFiles
import TestSupport
import Testing
import Tokenizers

@Suite("End tokens, and rows without a token")
struct EndTokenTests {
    /// The reference model with other end tokens, as generation_config.json names them.
    private func engine(ending ends: [Int32]) throws -> Engine {
        let folder = try TemporaryDirectory()
        let source = Fixtures.reference + "/gpt2/"
        for name in ["config.json", "model.safetensors"] {
            try FileManager.default.copyItem(atPath: source + name, toPath: folder.path + "/" + name)
        }
        let generation: JSONObject = ["eos_token_id": .array(ends.map { .integer(Int64($0)) }), "bos_token_id": 0]
        try Data(JSONValue.object(generation).serialised).write(to: URL(filePath: folder.path + "/generation_config.json"))
        let pool = ThreadPool(threads: 2)
        return Engine(
            model: try LanguageModel.load(ModelDirectory.open(folder.path), pool: pool), tokenizer: try Tokenizer.load(path: source), pool: pool)
    }

    /// A text as it runs on where nothing ends it.
    private func free(_ edit: (inout SamplingParameters) -> Void) throws -> [Int32] {
        try Engine().generate(
            .tokens([5, 9]) {
                $0.maxLength = 60
                $0.ignoresEndToken = true
                edit(&$0)
            })[0].tokenIDs
    }

    @Test("a text ends at the first of several end tokens, whichever it is")
    func several() throws {
        let sampled: (inout SamplingParameters) -> Void = { ($0.seed, $0.temperature) = (4, [1.5]) }
        let whole = try free(sampled)
        // Two tokens of the text as end tokens, in either order, and one that never comes.
        let never = try #require((1..<300).first { !whole.contains($0) })
        for (a, b) in [(whole[7], whole[12]), (whole[12], whole[7]), (whole[20], never)] {
            let engine = try engine(ending: [a, b])
            #expect(engine.model.description.eosIDs == [a, b])
            let first = try #require(whole.firstIndex { $0 == a || $0 == b })
            let sample = try engine.generate(
                .tokens([5, 9]) {
                    $0.maxLength = 60
                    sampled(&$0)
                })[0]
            #expect(sample.tokenIDs == Array(whole[...first]) && sample.finishReason == .eos)
        }
    }

    @Test("every end token is banned until min_length")
    func minimum() throws {
        let greedy = try free { $0.doSample = false }
        let engine = try engine(ending: [greedy[0], greedy[1]])
        let sample = try engine.generate(.tokens([5, 9]) { ($0.doSample, $0.maxLength, $0.minLength) = (false, 40, 20) })[0]
        #expect(!sample.tokenIDs.prefix(18).contains { $0 == greedy[0] || $0 == greedy[1] } && sample.tokenIDs.count >= 18)
    }

    @Test("beams end at any of several end tokens, and nowhere else")
    func beams() throws {
        let greedy = try free { $0.doSample = false }
        let ends = Array(Set([greedy[2], greedy[5]]))
        let engine = try engine(ending: ends)
        let samples = try engine.generate(
            .tokens([5, 9], n: 4) { ($0.doSample, $0.numBeams, $0.maxLength, $0.lengthPenalty) = (false, 4, 24, 0) })
        var endedBy: Set<Int32> = []
        for sample in samples {
            let last = try #require(sample.tokenIDs.last)
            #expect(!sample.tokenIDs.dropLast().contains { ends.contains($0) })
            #expect((sample.finishReason == .eos) == ends.contains(last))
            if sample.finishReason == .eos { endedBy.insert(last) }
            #expect(sample.finishReason == .eos || sample.tokenIDs.count == 22)
        }
        #expect(!endedBy.isEmpty)
        let scores = samples.compactMap(\.beamScore)
        #expect(scores.count == 4 && scores == scores.sorted(by: >))
        // With one end token alone, what the other one ended runs on.
        for end in endedBy where ends.count > 1 {
            let other = try #require(ends.first { $0 != end })
            let alone = try self.engine(ending: [other])
            let longer = try alone.generate(.tokens([5, 9], n: 4) { ($0.doSample, $0.numBeams, $0.maxLength, $0.lengthPenalty) = (false, 4, 24, 0) })
            #expect(longer.map(\.tokenIDs) != samples.map(\.tokenIDs))
        }
    }

    @Test("rows of the model without a token of the tokenizer can come, and add nothing to the text")
    func rowsWithoutToken() throws {
        let reference = try Engine()
        let rows = reference.tokenizer.vocabularySize + 5
        let description = try Architectures.describe(config: [
            "model_type": "gpt2", "vocab_size": .integer(Int64(rows)), "n_positions": 32, "n_embd": 16, "n_layer": 1, "n_head": 2,
            "bos_token_id": 0, "eos_token_id": 0,
        ])
        let model = try LanguageModel.random(description, seed: 3, pool: reference.pool)
        let engine = Engine(model: model, tokenizer: reference.tokenizer, pool: reference.pool)
        let known = reference.tokenizer.encode("a")
        var request = GenerationRequest(prompts: ["In the"])
        request.parameters.maxLength = 20
        request.parameters.bannedTokens = (0..<Int32(reference.tokenizer.vocabularySize)).filter { $0 != known[0] }
        (request.text.nonemptyOutput, request.parameters.temperature) = (false, [5])
        let sample = try engine.generate(request)[0]
        let nameless = sample.tokenIDs.filter { Int($0) >= reference.tokenizer.vocabularySize }
        #expect(!nameless.isEmpty && nameless.count < sample.tokenIDs.count)
        #expect(sample.text == "In the" + String(repeating: "a", count: sample.tokenIDs.count - nameless.count))
        #expect(reference.tokenizer.decode(nameless, skipSpecial: false) == "")
    }
}
