import Encodings
import Generation
import LanguageModels
import TestSupport
import Testing

@Suite("Searches with beams against transformers")
struct BeamReferenceTests {
    @Test("three beams of a text that does not end have transformers' sequences and scores", arguments: ["gpt2", "gpt2-variant"])
    func three(name: String) throws {
        let engine = try Engine(name)
        for prompt in try #require(Reference.json("\(name)/golden.json")["prompts"]?.arrayValue) {
            let ids = try #require(prompt["ids"]).ids
            let wanted = try #require(prompt["beam3"]?.arrayValue).map(\.ids)
            let request = GenerationRequest.tokens(ids, n: 3) {
                $0.doSample = false
                $0.numBeams = 3
                $0.maxLength = wanted[0].count
                $0.ignoresEndToken = true
            }
            try expect(try engine.generate(request), ids, wanted, try #require(prompt["beam3_scores"]).floats, padding: nil)
        }
    }

    @Test("beams of texts that end, for every length penalty and way of stopping, have transformers' sequences and scores")
    func ending() throws {
        let engine = try Engine("gpt2-ending")
        let cases = try #require(Reference.json("gpt2-ending/golden.json")["beams"]?.arrayValue)
        #expect(!cases.isEmpty)
        for item in cases {
            let ids = try #require(item["ids"]).ids
            let wanted = try #require(item["sequences"]?.arrayValue).map(\.ids)
            let request = GenerationRequest.tokens(ids, n: wanted.count) {
                $0.doSample = false
                $0.numBeams = Int(item["num_beams"]?.intValue ?? 0)
                $0.lengthPenalty = item["length_penalty"]?.doubleValue ?? .nan
                $0.earlyStopping = Self.stopping(item["early_stopping"])
                $0.maxLength = Int(item["max_length"]?.intValue ?? 0)
            }
            try expect(try engine.generate(request), ids, wanted, try #require(item["scores"]).floats, padding: true)
        }
    }

    @Test("a penalty so far below 0 that every score is less than none gives texts all the same", arguments: [-4.0, -10, -30])
    func farBelowZero(penalty: Double) throws {
        let found = try Engine().generate(
            .tokens([41, 78, 388], n: 2) { ($0.doSample, $0.numBeams, $0.maxLength, $0.lengthPenalty) = (false, 2, 64, penalty) })
        #expect(found.count == 2 && found.allSatisfy { !$0.tokenIDs.isEmpty && $0.beamScore?.isNaN == false })
    }

    static func stopping(_ value: JSONValue?) -> EarlyStopping { value?.boolValue.map { $0 ? .yes : .no } ?? .never }

    /// - Parameter padding: whether the wanted sequences go on behind their end.
    private func expect(_ found: [GeneratedSample], _ ids: [Int32], _ wanted: [[Int32]], _ scores: [Float], padding: Bool?) throws {
        #expect(found.count == wanted.count)
        for (sample, (sequence, score)) in zip(found, zip(wanted, scores)) {
            let tokens = ids + sample.tokenIDs
            #expect(tokens[...] == sequence.prefix(tokens.count), "prompt \(ids)")
            if padding == nil { #expect(tokens.count == sequence.count) }
            #expect(abs(try #require(sample.beamScore) - score) <= 1e-4, "prompt \(ids)")
        }
    }
}
