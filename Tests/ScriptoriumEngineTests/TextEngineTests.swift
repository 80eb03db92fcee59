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

    @Test("training from scratch writes a model that loads, the same for the same seed")
    func train() throws {
        let folder = try TemporaryDirectory()
        var options = TrainOptions(numSteps: 4, seed: 3)
        (options.blockSize, options.batchSize, options.vocabularySize) = (16, 2, 300)
        var losses: [Double] = []
        func run(_ name: String) throws -> String {
            try TextEngine.train(.config("gpt2-cpu"), on: [Fixtures.reference + "/corpus.txt"], output: folder.path + "/" + name, options) {
                losses.append($0.loss)
            }
        }
        let digest = try run("a")
        #expect(try run("b") == digest)
        #expect(losses.count == 8 && losses.prefix(4) == losses.suffix(4))
        let trained = try TextEngine(model: folder.path + "/a")
        #expect(trained.checkpointSHA256 == digest)
        #expect(try trained.generate("the", GenerateOptions(maxLength: 12)).count == 1)
        try TextEngine.train(.model(folder.path + "/a"), on: [Fixtures.reference + "/corpus.txt"], output: folder.path + "/c", options)
        #expect(FileManager.default.fileExists(atPath: folder.path + "/c/model.safetensors"))
        func config(_ name: String) throws -> String { try String(contentsOfFile: "\(folder.path)/\(name)/config.json", encoding: .utf8) }
        #expect(try !config("c").contains("\"line_by_line\": true"))
        options.lineByLine = true
        try TextEngine.train(.model(folder.path + "/a"), on: [Fixtures.reference + "/corpus.txt"], output: folder.path + "/d", options)
        #expect(try config("d").contains("\"line_by_line\": true"))
    }

    @Test("training takes the place of a model, never of anything else, and keeps what is put beside it meanwhile")
    func output() throws {
        let folder = try TemporaryDirectory()
        var options = TrainOptions(numSteps: 1)
        (options.blockSize, options.vocabularySize) = (16, 300)
        func train(_ name: String, each: () -> Void = {}) throws(EngineError) {
            let corpus = Fixtures.reference + "/corpus.txt"
            try TextEngine.train(.config("gpt2-cpu"), on: [corpus], output: folder.path + "/" + name, options) { _ in each() }
        }
        func write(_ name: String) throws { try Data("mine".utf8).write(to: URL(filePath: folder.path + "/" + name)) }
        func refuses(_ name: String, naming word: String) {
            do {
                try train(name)
                Issue.record("\(name) was replaced")
            } catch { #expect(error.description.contains(folder.path + "/" + name) && error.description.contains(word)) }
        }
        try FileManager.default.createDirectory(atPath: folder.path + "/models/gpt2", withIntermediateDirectories: true)
        try write("models/gpt2/config.json")
        refuses("models", naming: "no model")
        #expect(FileManager.default.fileExists(atPath: folder.path + "/models/gpt2/config.json"))
        try write("file")
        refuses("file", naming: "no folder")
        try train("made")
        try train("made") { try? write("made/notes.txt") }
        #expect(FileManager.default.contents(atPath: folder.path + "/made/notes.txt") == Data("mine".utf8))
        refuses("made", naming: "notes.txt")
        #expect(try TextEngine(model: folder.path + "/made").generate("the", GenerateOptions(maxLength: 12)).count == 1)
    }

    @Test("a folder that is no model is refused by name")
    func missing() throws {
        do {
            _ = try TextEngine(model: "/no/such/model")
            Issue.record("it was loaded")
        } catch { #expect("\(error)".contains("/no/such/model")) }
    }
}
