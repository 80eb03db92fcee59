import FoundationEssentials
import ScriptoriumEngine
import TestSupport
import Testing

@Suite("The engine as a library")
struct TextEngineTests {
    private func engine() throws -> TextEngine { try TextEngine(model: Fixtures.reference + "/gpt2", threads: 2) }

    @Test("equal seeds give equal texts that begin with the prompt")
    func generate() throws {
        let engine = try engine()
        var options = GenerateOptions(n: 3, seed: 42, maxLength: 40)
        options.logprobs = 2
        let texts = try engine.generate("In the", options)
        #expect(texts.map(\.sample) == [0, 1, 2] && Set(texts.map(\.text)).count == 3)
        for text in texts {
            #expect(text.text.hasPrefix("In the") && text.promptTokens == engine.encode("In the"))
            #expect(try #require(text.logprobs).map(\.id) == text.tokens && text.logprobs?.first?.alternatives.count == 2)
            #expect(text.record.contains(engine.checkpointSHA256))
        }
        #expect(try engine.generate("In the", options) == texts)
        options.seed = 43
        #expect(try engine.generate("In the", options).map(\.text) != texts.map(\.text))
    }

    @Test("without a seed each call draws one of eight digits and tells it, and one that no record can hold is refused")
    func seeds() throws {
        let engine = try engine()
        let options = GenerateOptions(maxLength: 40, temperature: 1.2)
        let texts = try (0..<4).map { _ in try engine.generate("In the", options)[0] }
        #expect(Set(texts.map(\.seed)).count == 4 && texts.allSatisfy { (10_000_000...99_999_999).contains($0.seed) })
        #expect(Set(texts.map(\.text)).count > 1 && texts.allSatisfy { $0.record.contains("\"seed_assigned\":true") })
        var again = options
        again.seed = texts[0].seed
        let same = try engine.generate("In the", again)[0]
        #expect(same.text == texts[0].text && same.record.contains("\"seed_assigned\":false"))
        for seed in [1 << 53, 1 << 63, UInt64.max] {
            again.seed = seed
            let error = #expect(throws: EngineError.self) { try engine.generate("In the", again) }
            #expect(error?.description.contains("seed") == true)
        }
        #expect(try engine.stream("In the", options) { _ in }[0].seed >= 10_000_000)
    }

    @Test("a record holds what the model decides: the bound of its context, and whether a beginning stands before the prompt")
    func settled() throws {
        let record = try engine().generate("In the", GenerateOptions(seed: 5))[0].record
        #expect(record.contains("\"max_length\":64,") && record.contains("\"prepend_bos\":false,"))
        var sliding = GenerateOptions(seed: 5, maxLength: 90)
        (sliding.slidingWindow, sliding.prependBOS, sliding.bannedTokens) = (true, true, [0])
        let long = try engine().generate("In the", sliding)[0].record
        #expect(long.contains("\"max_length\":90,") && long.contains("\"prepend_bos\":true,"))
    }

    @Test("each precision writes texts of its own, and its record says which it was")
    func precisions() throws {
        let options = GenerateOptions(n: 2, seed: 42, maxLength: 60, temperature: 1)
        var texts: Set<[String]> = []
        for precision in TextEngine.Precision.allCases {
            let engine = try TextEngine(model: Fixtures.reference + "/gpt2", precision: precision, threads: 2)
            let made = try engine.generate("In the", options)
            texts.insert(made.map(\.text))
            #expect(made.allSatisfy { $0.record.contains("\"numerics\":\"\(precision.rawValue)/1\"") })
            #expect(made.allSatisfy { $0.record.ranges(of: "\"precision\":\"\(precision.rawValue)\"").count == 2 })
            #expect(try #require(try engine.score("In the beginning").perplexity) > 1)
        }
        #expect(texts.count == 3)
    }

    @Test("streamed pieces spell the text behind the prompt")
    func stream() throws {
        var options = GenerateOptions(seed: 7, maxLength: 40)
        options.lstrip = false
        var text = "In the"
        let finished = try engine().stream("In the", options) { if $0.draw == 0 { text += $0.text } }
        #expect(finished.map(\.text) == [text])
    }

    @Test("beams come best first, and a wrong option is named")
    func beams() throws {
        var options = GenerateOptions(n: 2, maxLength: 20)
        (options.numBeams, options.doSample) = (3, false)
        let scores = try engine().generate("And", options).compactMap(\.beamScore)
        #expect(scores.count == 2 && scores[0] >= scores[1])
        options.topP = 2
        do {
            _ = try engine().generate("And", options)
            Issue.record("top_p of 2 was accepted")
        } catch { #expect("\(error)".contains("top_p")) }
    }

    @Test("a text's score is the sum of its tokens' log-probabilities")
    func score() throws {
        let engine = try engine()
        let score = try engine.score("In the beginning")
        #expect(score.tokens == engine.encode("In the beginning") && score.logprobs.count == score.tokens.count - 1)
        #expect(score.sum < 0 && (score.perplexity ?? 0) > 1)
        #expect(engine.decode(score.tokens) == "In the beginning")
    }

    @Test("several prompts in one call give the texts that each gives alone")
    func prompts() throws {
        let engine = try engine()
        let options = GenerateOptions(n: 2, seed: 42, maxLength: 40)
        let texts = try engine.generate(["In the", "And God"], options)
        #expect(texts.map(\.sample) == [0, 1, 2, 3] && texts.map(\.promptIndex) == [0, 0, 1, 1])
        #expect(try texts.map(\.text) == ["In the", "And God"].flatMap { try engine.generate($0, options).map(\.text) })
        var streamed: Set<Int> = []
        #expect(try engine.stream(["In the", "And God"], options) { streamed.insert($0.sample) }.map(\.text) == texts.map(\.text))
        #expect(streamed == [0, 1, 2, 3])
        let error = #expect(throws: EngineError.self) { try engine.generate([String](), options) }
        #expect(error?.description.contains("prompts") == true)
    }

    @Test("a text is cut at truncate as at stop, and loses spaces before punctuation where it is asked to")
    func truncated() throws {
        let engine = try engine()
        var options = GenerateOptions(seed: 42, maxLength: 60)
        options.includePrefix = false
        let whole = try engine.generate("In the", options)[0].text
        let mark = String(whole.dropFirst(5).prefix(3))
        options.truncate = mark
        let cut = try engine.generate("In the", options)[0]
        #expect(cut.finishReason == .stop && whole.hasPrefix(cut.text) && !cut.text.contains(mark))
        (options.stop, options.truncate) = ([mark], nil)
        #expect(try engine.generate("In the", options)[0].text == cut.text)
        options.stop = []
        options.truncate = ""
        let error = #expect(throws: EngineError.self) { try engine.generate("In the", options) }
        #expect(error?.description.contains("truncate") == true)
        (options.truncate, options.includePrefix, options.maxLength) = (nil, true, 20)
        #expect(try engine.generate("the light .", options)[0].text.hasPrefix("the light ."))
        options.cleanUpTokenizationSpaces = true
        #expect(try engine.generate("the light .", options)[0].text.hasPrefix("the light."))
    }

    @Test("markers of the call cut its texts into parts, under keys as they are asked for")
    func schema() throws {
        let engine = try engine()
        var options = GenerateOptions(seed: 42, maxLength: 50)
        options.schema = true
        let prompt = "<|title|>Light<|body|>In the"
        let missing = #expect(throws: EngineError.self) { try engine.generate(prompt, options) }
        #expect(missing?.description.contains("schema_tokens") == true)
        options.schemaTokens = ["<|title|>", "<|body|>"]
        func parts() throws -> String { try #require(try engine.generate(prompt, options)[0].schemaJSON) }
        #expect(try parts().hasPrefix("{\"body\":\"In the") && parts().hasSuffix("\"title\":\"Light\"}"))
        options.normalizeKey = false
        #expect(try parts().hasSuffix("\"<|title|>\":\"Light\"}"))
        options.schemaReturn = ["<|title|>"]
        #expect(try parts() == "\"Light\"")
        options.schemaReturn = ["author"]
        let unknown = #expect(throws: EngineError.self) { try engine.generate(prompt, options) }
        #expect(unknown?.description.contains("schema_return") == true)
    }

    @Test("a folder that is no model is refused by name")
    func missing() throws {
        do {
            _ = try TextEngine(model: "/no/such/model")
            Issue.record("it was loaded")
        } catch { #expect("\(error)".contains("/no/such/model")) }
    }
}
