import Encodings
import Generation
import LanguageModels
import TestSupport
import Testing
import Tokenizers

@Suite("How texts are put together and end")
struct TextTests {
    /// What the tokens of a long greedy text spell, token by token.
    private func greedy(_ engine: Engine, stop: [String] = [], truncate: String? = nil, stream: Bool = false) throws -> (
        GeneratedSample, [TokenPiece]
    ) {
        var request = GenerationRequest.tokens([5, 9]) {
            $0.doSample = false
            $0.maxLength = 60
            $0.ignoresEndToken = true
            $0.stop = stop
            $0.truncate = truncate
        }
        request.text.includePrefix = false
        request.text.lstrip = false
        request.text.skipSpecialTokens = false
        request.stream = stream
        let scheduler = try engine.scheduler()
        let id = try scheduler.add(request)
        let outcome = Outcome(running: scheduler)
        return (try #require(outcome.samples(id).first), outcome.pieces(id))
    }

    @Test("every substring as a stop string cuts the text before its first occurrence, also across tokens")
    func stops() throws {
        let engine = try Engine()
        let whole = Array(try greedy(engine).0.text.unicodeScalars)
        #expect(whole.count > 20)
        for length in [1, 2, 5, 9] {
            for start in stride(from: 0, to: whole.count - length, by: 7) {
                let stop = string(whole[start..<(start + length)])
                if stop.unicodeScalars.contains("\u{FFFD}") { continue }
                let first = firstIndex(of: Array(stop.unicodeScalars), in: whole)
                let (sample, pieces) = try greedy(engine, stop: ["no such string", stop], stream: true)
                #expect(sample.text == string(whole[..<first]))
                #expect(sample.finishReason == .stop)
                #expect(pieces.map(\.text).joined() == sample.text)
                #expect(try greedy(engine, truncate: stop).0.text == sample.text)
            }
        }
    }

    private func string(_ scalars: ArraySlice<Unicode.Scalar>) -> String {
        var text = String.UnicodeScalarView()
        text.append(contentsOf: scalars)
        return String(text)
    }

    private func firstIndex(of part: [Unicode.Scalar], in whole: [Unicode.Scalar]) -> Int {
        (0...(whole.count - part.count)).first { whole[$0..<($0 + part.count)].elementsEqual(part) } ?? 0
    }

    @Test("the text is the plain concatenation of the tokens' bytes")
    func concatenation() throws {
        let engine = try Engine()
        let sample = try greedy(engine).0
        #expect(sample.text == engine.tokenizer.decode(sample.tokenIDs, skipSpecial: false).replacing("\0", by: "\u{FFFD}"))
    }

    @Test("prompt, leading white space and clean-up follow the options")
    func options() throws {
        let engine = try Engine()
        var request = GenerationRequest(prompts: [" \u{2003}In the ,"])
        request.parameters.doSample = false
        request.parameters.maxLength = 30
        let stripped = try engine.generate(request)[0].text
        #expect(stripped.hasPrefix("In the ,"))
        request.text.lstrip = false
        #expect(try engine.generate(request)[0].text == " \u{2003}" + stripped)
        request.text.lstrip = true
        request.text.cleanUpTokenizationSpaces = true
        #expect(try engine.generate(request)[0].text.hasPrefix("In the,"))
        request.text.cleanUpTokenizationSpaces = false
        request.text.includePrefix = false
        let bare = try engine.generate(request)[0].text
        #expect(stripped.hasSuffix(bare))
        #expect(!bare.hasPrefix("In the"))
    }

    @Test("bad words, single or of several tokens, never appear")
    func badWords() throws {
        let engine = try Engine()
        let free = try greedy(engine).0.tokenIDs
        for length in [1, 2] {
            // The first words of the free text that the tokenizer divides as the model wrote them.
            let words = (0...(free.count - length)).map { Array(free[$0..<($0 + length)]) }
            let whole = words.filter { engine.tokenizer.encode(engine.tokenizer.decode($0, skipSpecial: false)) == $0 }.prefix(3)
            for word in whole {
                let banned = try engine.generate(
                    .tokens([5, 9]) {
                        $0.doSample = false
                        $0.maxLength = 60
                        $0.ignoresEndToken = true
                        $0.badWords = [engine.tokenizer.decode(word, skipSpecial: false)]
                    })[0].tokenIDs
                let first = try #require(words.firstIndex(of: word))
                #expect(banned.prefix(first + length - 1) == free.prefix(first + length - 1))
                #expect(!(0...(banned.count - length)).contains { Array(banned[$0..<($0 + length)]) == word })
            }
        }
    }

    @Test("prepend_bos puts the beginning-of-text token before the prompt")
    func prependBos() throws {
        let engine = try Engine()
        let bare = try engine.generate(GenerationRequest(prompts: ["In the"]))[0]
        let led = try engine.generate(GenerationRequest(prompts: ["In the"], prependBos: true))[0]
        #expect(led.promptTokenIDs.first == engine.model.description.bosID)
        #expect(led.promptTokenIDs.dropFirst() == bare.promptTokenIDs[...])
        #expect(led.text.hasPrefix("In the"))
    }

    @Test("the proof record names everything that determined the text, in canonical JSON under its digest")
    func record() throws {
        let engine = try Engine()
        var request = GenerationRequest(
            prompts: ["And"], identity: ProofIdentity(params: ["top_k": 3, "temperature": .real(0.7), "prompt": "And"], seedAssigned: true))
        request.parameters.seed = 12_345_678
        request.parameters.topK = 3
        let sample = try engine.generate(request)[0]
        let value = try JSONValue.parse(sample.record)
        #expect(value.canonical == sample.record)
        #expect(SHA256Digest.hex(of: sample.record) == sample.recordSHA256)
        #expect(
            value.objectValue?.keys.sorted() == [
                "checkpoint_sha256", "draw", "finish_reason", "format", "numerics", "params", "precision", "prompt", "prompt_index",
                "prompt_token_ids",
                "rng", "sample", "seed", "seed_assigned", "token_ids", "tokenizer_sha256",
            ])
        #expect(value["format"] == "scriptorium/1")
        #expect(value["numerics"] == "float32/1")
        #expect(value["token_ids"]?.ids == sample.tokenIDs)
        #expect(value["seed_assigned"] == true)
        #expect(value["params"]?["temperature"] == 0.7)
    }
}

extension String {
    fileprivate func replacing(_ old: Unicode.Scalar, by new: Unicode.Scalar) -> String {
        var view = String.UnicodeScalarView()
        for scalar in unicodeScalars { view.append(scalar == old ? new : scalar) }
        return String(view)
    }
}
