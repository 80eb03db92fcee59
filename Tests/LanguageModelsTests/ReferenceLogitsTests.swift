import Encodings
import Kernels
import LanguageModels
import TestSupport
import Testing

@Suite("Logits against transformers")
struct ReferenceLogitsTests {
    @Test("first and last logits of every prompt are within 1e-4", arguments: ["gpt2", "gpt2-variant"])
    func logits(name: String) throws {
        let pool = ThreadPool(threads: 2)
        let model = try Support.model(name, pool: pool)
        let prompts = try #require(try Support.json("\(name)/golden.json")["prompts"]?.arrayValue)
        #expect(!prompts.isEmpty)
        for prompt in prompts {
            let ids = try #require(prompt["ids"]).ids
            let all = try Support.logits(model, ids, chunks: [ids.count], pool: pool)
            expectClose(all[0], try #require(prompt["first_logits"]).floats)
            expectClose(all[ids.count - 1], try #require(prompt["last_logits"]).floats)
        }
    }

    private func expectClose(_ found: [Float], _ wanted: [Float]) {
        #expect(found.count == wanted.count)
        let difference = zip(found, wanted).map { abs($0 - $1) }.max() ?? .infinity
        #expect(difference <= 1e-4)
    }
}
