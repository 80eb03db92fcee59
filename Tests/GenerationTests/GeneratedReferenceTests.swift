import Encodings
import FoundationEssentials
import Generation
import LanguageModels
import TestSupport
import Testing

/// Cases that Tests/Reference/generation_reference.py made with transformers on torch's generator.
@Suite("Texts of torch and transformers under random parameters")
struct GeneratedReferenceTests {
    static let path = "gpt2-ending/generation.json"
    static let isThere = FileManager.default.fileExists(atPath: Fixtures.reference + "/" + path)

    @Test("every sequence and score is transformers'", .enabled(if: isThere, "this set of reference data has no generation.json"))
    func cases() throws {
        let engine = try Engine("gpt2-ending")
        let cases = try #require(Reference.json(Self.path)["cases"]?.arrayValue)
        #expect(!cases.isEmpty)
        for (index, item) in cases.enumerated() {
            let wanted = try #require(item["sequences"]?.arrayValue).map(\.ids)
            for slots in [1, 3, 16] {
                let found = try engine.generate(try Self.request(item), options: SchedulerOptions(slots: slots))
                #expect(found.map { $0.promptTokenIDs + $0.tokenIDs } == wanted, "case \(index), \(slots) slots")
                for (sample, score) in zip(found, item["scores"]?.floats ?? []) {
                    #expect(abs(try #require(sample.beamScore) - score) <= 1e-4, "case \(index)")
                }
            }
        }
    }

    private static func request(_ item: JSONValue) throws -> GenerationRequest {
        var request = try TorchTests.request(item)
        func number(_ name: String) -> Double { item[name]?.doubleValue ?? .nan }
        func count(_ name: String) -> Int { Int(item[name]?.intValue ?? -1) }
        request.parameters.doSample = item["do_sample"]?.boolValue ?? true
        request.parameters.minP = number("min_p")
        request.parameters.typicalP = number("typical_p")
        request.parameters.noRepeatNgramSize = count("no_repeat_ngram_size")
        request.parameters.minLength = count("min_length")
        request.parameters.badWords = (item["bad_words"]?.arrayValue ?? []).compactMap(\.stringValue)
        request.parameters.bannedTokens = item["banned_tokens"]?.ids ?? []
        request.parameters.numBeams = count("num_beams")
        if request.parameters.numBeams > 1 {
            request.parameters.lengthPenalty = number("length_penalty")
            request.parameters.earlyStopping = BeamReferenceTests.stopping(item["early_stopping"])
        } else {
            request.parameters.batchSize = count("batch_size")
        }
        return request
    }
}
