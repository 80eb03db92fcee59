import Encodings
import FoundationEssentials
import Generation
import LanguageModels
import ModelFiles
import TestSupport
import Testing

@Suite("Whatever is changed is caught")
struct ForgeryTests {
    private let engine: Engine
    private let verifier: Verifier
    private let claim: Claim

    init() throws {
        engine = try Engine()
        verifier = try engine.verifier()
        // Texts that the end token cannot end: 48 tokens in all.
        claim = try engine.generate(Proofs.plain { $0.parameters.bannedTokens = [0] })[0].claim
    }

    private func verdict(_ claim: Claim, _ method: VerificationMethod) throws -> Verdict { try verifier.verify(claim, method: method) }

    @Test("each changed token is named with what was expected", arguments: VerificationMethod.allCases)
    func token(method: VerificationMethod) throws {
        for index in claim.tokens.indices {
            var tokens = claim.tokens
            tokens[index] = tokens[index] == 399 ? 398 : tokens[index] + 1
            let found = try verdict(claim.forging(tokens: tokens), method)
            #expect(found.isVerified == false && found.decisive?.reason == .tokens)
            let difference = Difference(
                field: "token_ids", token: index, expected: .integer(Int64(claim.tokens[index])), actual: .integer(Int64(tokens[index])))
            #expect(found.decisive?.difference == difference)
        }
        let outside = try verdict(claim.forging(tokens: claim.tokens.dropLast() + [400]), method)
        #expect(outside.decisive?.difference?.token == claim.tokens.count - 1)
    }

    @Test("a token too few or too many is named", arguments: VerificationMethod.allCases)
    func length(method: VerificationMethod) throws {
        let count = claim.tokens.count
        let short = try verdict(claim.forging(tokens: claim.tokens.dropLast()), method)
        #expect(
            short.decisive?.difference
                == Difference(field: "token_ids", token: count - 1, expected: .integer(Int64(claim.tokens[count - 1])), actual: .null))
        let long = try verdict(claim.forging(tokens: claim.tokens + [5]), method)
        #expect(long.decisive?.difference == Difference(field: "token_ids", token: count, expected: .null, actual: 5))
        let none = try verdict(claim.forging(tokens: []), method)
        #expect(none.decisive?.difference?.token == 0)
    }

    @Test("a changed character of the text is named, also one that looks the same", arguments: VerificationMethod.allCases)
    func text(method: VerificationMethod) throws {
        let scalars = Array(try #require(claim.text).unicodeScalars)
        for index in scalars.indices {
            var changed = String.UnicodeScalarView(scalars)
            let place = changed.index(changed.startIndex, offsetBy: index)
            changed.replaceSubrange(place...place, with: [scalars[index] == "x" ? "y" : "x"])
            var other = claim
            other.text = String(changed)
            let found = try verdict(other, method)
            #expect(found.isVerified == false && found.decisive?.reason == .text)
            #expect(found.decisive?.difference?.character == index && found.decisive?.difference?.token == nil)
            if method == .replay, index > 3 { break }
        }
        var longer = claim
        longer.text? += "."
        #expect(try verdict(longer, method).decisive?.difference?.character == scalars.count)
    }

    @Test("a text that only looks the same is another")
    func lookalike() throws {
        var composed = try engine.generate(Proofs.plain { ($0.prompts, $0.parameters.bannedTokens) = (["caf\u{E9}"], [0]) })[0].claim
        #expect(try verifier.verify(composed).findings == [])
        let text = try #require(composed.text)
        composed.text = text.replacing("\u{E9}", with: "e\u{301}")
        #expect(composed.text == text)
        #expect(try verifier.verify(composed).decisive?.difference?.character == 3)
    }

    @Test("every member of the record that is changed breaks its digest, and that alone is enough")
    func digest() throws {
        for (name, value) in claim.members {
            let others: [JSONValue] = [.string("other"), .integer(7), .bool(false), .null, .object(["stream": true])]
            for other in others where other != value {
                var changed = claim
                changed.members[name] = other
                let found = try verifier.verify(changed)
                #expect(found.isVerified == false, "\(name) = \(other)")
                #expect(found.findings.contains { $0.reason == .record }, "\(name) = \(other)")
            }
            var without = claim
            without.members[name] = nil
            #expect(try verifier.verify(without).isVerified == false, "without \(name)")
        }
        var changed = claim
        changed.members["seed_assigned"] = false
        let found = try verifier.verify(changed)
        #expect(found.findings.map(\.reason) == [.record] && found.decisive?.difference?.field == "record_sha256")
    }

    @Test("a member that was changed with its digest made anew is caught by what it yields", arguments: VerificationMethod.allCases)
    func forged(method: VerificationMethod) throws {
        let forged: [(Claim, Finding.Reason)] = [
            (claim.forging("seed", 4243), .tokens), (claim.forging("sample", 1), .tokens),
            (claim.forging("draw", 17), method == .forward ? .tokens : .draw),
            (claim.forging("finish_reason", "eos"), .finishReason), (claim.forging("prompt", "In a"), .prompt),
            (claim.forging(parameter: "temperature", 1.9), .tokens), (claim.forging(parameter: "top_k", 2), .tokens),
            (claim.forging(parameter: "repetition_penalty", 3), .tokens), (claim.forging(parameter: "max_length", 47), .tokens),
            (claim.forging(parameter: "max_length", 49), .tokens), (claim.forging(parameter: "stop", ["e"]), .tokens),
            (claim.forging(parameter: "banned_tokens", [.integer(Int64(claim.tokens[5]))]), .tokens),
            (claim.forging(parameter: "include_prefix", false), .text), (claim.forging(parameter: "temperature", 0), .impossible),
            (claim.forging(parameter: "max_length", 2), .impossible), (claim.forging(parameter: "do_sample", false), .tokens),
            (claim.forging("rng", "torch").forging(parameter: "rng", "torch"), .tokens),
        ]
        for (index, (claim, reason)) in forged.enumerated() {
            let found = try verdict(claim, method)
            #expect(found.isVerified == false && found.findings.contains { $0.reason == reason }, "forgery \(index): \(found.findings)")
            #expect(!found.findings.contains { $0.reason == .record })
        }
    }

    @Test("what stands beside the record is checked too: log-probabilities, their mean, the schema's parts", arguments: VerificationMethod.allCases)
    func beside(method: VerificationMethod) throws {
        var changed = claim
        var list = claim.logprobs?.arrayValue ?? []
        list[3] = ["logprob": -1, "token_id": 3, "top": []]
        changed.logprobs = .array(list)
        #expect(try verdict(changed, method).decisive?.difference?.token == 3)
        let sample = try engine.generate(Proofs.plain { ($0.parameters.bannedTokens, $0.text.schema) = ([0], Schema(tokens: ["the"])) })[0]
        var cut = try sample.claim
        cut.meanLogprob = sample.meanLogprob
        #expect(try verdict(cut, method).findings == [])
        cut.meanLogprob = sample.meanLogprob + 1e-9
        #expect(try verdict(cut, method).findings.map(\.reason) == [.logprobs])
        cut.meanLogprob = nil
        cut.schema = ["the": "something"]
        #expect(try verdict(cut, method).findings.map(\.reason) == [.schema])
    }

    @Test("an empty text that would have been drawn again is no proof, nor a draw where nothing is drawn again")
    func draws() throws {
        let refused = try engine.generate(Proofs.plain { ($0.parameters.minLength, $0.text.nonemptyOutput) = (4000, false) })[0].claim
        #expect(try verifier.verify(refused).findings == [])
        let forged = refused.forging(parameter: "nonempty_output", true)
        #expect(try verdict(forged, .forward).findings.map(\.reason) == [.draw])
        #expect(try verdict(forged, .replay).isVerified == false)
        let redrawn = try engine.generate(Proofs.plain { $0.parameters.minLength = 4000 })[0].claim
        #expect(redrawn.members["draw"] == 16)
        #expect(try verdict(redrawn, .forward).decisive?.reason == .needsReplay && verdict(redrawn, .replay).findings == [])
        #expect(try verifier.verify(redrawn).isVerified == true)
        #expect(try verdict(redrawn.forging(parameter: "nonempty_output", false), .forward).findings.map(\.reason) == [.draw])
    }

    @Test("of all the draws of one seed only the one that was kept is proved: that the others came before it shows in a replay")
    func otherDraws() throws {
        // No text is long enough, so the last draw is kept; of a record that asks for no length it is not the first that would do.
        let last = try engine.generate(Proofs.plain { ($0.parameters.minLength, $0.parameters.bannedTokens) = (4000, [0]) })[0].claim
        #expect(last.members["draw"] == 16)
        let forged = last.forging(parameter: "min_length", 0)
        let found = try verifier.verify(forged)
        #expect(found.isVerified == false && found.method == .replay)
        #expect(try verdict(forged, .forward).decisive?.reason == .needsReplay)
        for draw in [1, 2, 16] {
            #expect(try verifier.verify(claim.forging("draw", .integer(Int64(draw)))).isVerified == false)
        }
    }

    @Test("texts that were never compared are no proof that double ones were drawn again") func doubles() throws {
        let request = Proofs.plain { ($0.n, $0.parameters.maxLength, $0.parameters.topK) = (6, 5, 2) }
        let texts = try engine.generate(request).map { try $0.claim }
        let doubled = try #require(texts.indices.first { index in texts[..<index].contains { $0.text == texts[index].text } })
        #expect(try verifier.verify(texts[doubled]).isVerified == true)
        let forged = texts[doubled].forging(parameter: "deduplicate", true)
        #expect(try verifier.verify(forged).isVerified == false)
    }

    @Test("a proof that came without its digest gets none by being checked") func undigested() throws {
        var bare = claim
        bare.recordSHA256 = nil
        #expect(bare.json.objectValue?["record_sha256"]?.isNull ?? true)
        #expect(claim.json.objectValue?["record_sha256"]?.stringValue == claim.recordSHA256 && claim.recordSHA256 != nil)
    }

    @Test("another arithmetic, other weights, another tokenizer or an unknown parameter leave it undecided, never false")
    func undecided() throws {
        let cases: [(Claim, Finding.Reason)] = [
            (claim.forging("numerics", "float32/2"), .numerics),
            (claim.forging("precision", "int4").forging(parameter: "precision", "int4"), .numerics),
            (claim.forging("checkpoint_sha256", .string(String(repeating: "a", count: 64))), .weights),
            (claim.forging("tokenizer_sha256", .string(String(repeating: "a", count: 64))), .tokenizer),
            (claim.forging("format", "scriptorium/2"), .format), (claim.forging(parameter: "mirostat", 5), .format),
            (claim.forging("rng", "dice"), .format),
        ]
        for method in VerificationMethod.allCases {
            for (claim, reason) in cases {
                let found = try verdict(claim, method)
                #expect(found.isVerified == nil && found.decisive?.reason == reason, "\(reason): \(found.findings)")
                #expect(found.json(generation: nil)["verified"] == .null)
            }
        }
        let absent = Verifier.verdict(claim, method: nil, withoutModel: "it is gone")
        #expect(absent.isVerified == nil && absent.decisive?.reason == .weights)
        var changed = claim
        changed.members["seed"] = 1
        #expect(Verifier.verdict(changed, method: nil, withoutModel: "it is gone").isVerified == false)
    }

    @Test("one changed weight is caught: its checkpoint has another digest, and under the old name other tokens come")
    func weight() throws {
        let folder = try TemporaryDirectory()
        let path = folder.path + "/gpt2"
        try FileManager.default.copyItem(atPath: Fixtures.reference + "/gpt2", toPath: path)
        try change("transformer.ln_f.bias", to: 50, in: path + "/model.safetensors")
        let directory = try ModelDirectory.open(path)
        let honest = try LanguageModel.load(directory, pool: engine.pool)
        #expect(honest.checkpointSHA256 != engine.model.checkpointSHA256)
        let missing = try Verifier(model: honest, tokenizer: engine.tokenizer, pool: engine.pool).verify(claim)
        #expect(missing.isVerified == nil && missing.decisive?.reason == .weights)
        let disguised = try LanguageModel.load(directory, pool: engine.pool, checkpointSHA256: engine.model.checkpointSHA256)
        for method in VerificationMethod.allCases {
            let found = try Verifier(model: disguised, tokenizer: engine.tokenizer, pool: engine.pool).verify(claim, method: method)
            #expect(found.isVerified == false && found.decisive?.difference?.token != nil)
        }
        let forged = try Engine(model: disguised, tokenizer: engine.tokenizer, pool: engine.pool).generate(Proofs.plain())[0].claim
        #expect(try verifier.verify(forged).isVerified == false)
    }

    /// Sets a tensor's first element. The file is a header's length in 8 bytes, the header, and the tensors at its offsets.
    private func change(_ tensor: String, to value: Float, in path: String) throws {
        var bytes = [UInt8](try Data(contentsOf: URL(filePath: path)))
        let length = bytes[..<8].reversed().reduce(0) { $0 << 8 | Int($1) }
        let header = try JSONValue.parse(Array(bytes[8..<(8 + length)]))
        let offset = try #require(header[tensor]?["data_offsets"]?.arrayValue?.first?.intValue)
        withUnsafeBytes(of: value.bitPattern.littleEndian) { bytes.replaceSubrange((8 + length + offset)..<(12 + length + offset), with: $0) }
        try Data(bytes).write(to: URL(filePath: path))
    }

    @Test("a signature says who vouches, and holds for this record alone")
    func signature() throws {
        let (key, other) = (SigningKey.generate(), SigningKey.generate())
        var signed = claim
        signed.signature = NamedSignature(claim.canonicalRecord, by: key).description
        #expect(try verifier.verify(signed, key: key.publicKey).findings == [])
        #expect(try verifier.verify(signed).findings == [])
        #expect(try verifier.verify(signed, key: other.publicKey).findings.map(\.reason) == [.signer])
        #expect(try verifier.verify(claim, key: key.publicKey).findings.map(\.reason) == [.unsigned])
        let forged = signed.forging("seed_assigned", false)
        #expect(try verifier.verify(forged).findings.map(\.reason) == [.signature])
        signed.signature = "ed25519:00:11"
        #expect(try verifier.verify(signed).findings.map(\.reason) == [.signature])
    }

    @Test(
        "a line that is no proof is refused by its member",
        arguments: [
            (#"[]"#, "the line"), (#"{}"#, "the line"), (#"{"text":"a"}"#, "the line"), (#"{"format":"scriptorium/1","colour":1}"#, "colour"),
            (#"{"format":"scriptorium/1","text":5}"#, "text"), (#"{"format":"scriptorium/1","mean_logprob":"x"}"#, "mean_logprob"),
        ])
    func lines(line: String, member: String) {
        let error = #expect(throws: RecordError.self) { try Claim(JSONValue.parse(line)) }
        #expect(error?.member == member)
    }
}
