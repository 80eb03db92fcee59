import Encodings
import Kernels
import LanguageModels
import TestSupport
import Testing

@Suite("Logits against transformers")
struct ReferenceLogitsTests {
    static let models = ["gpt2", "gpt2-variant", "gpt-neo", "gpt-neo-mild", "gpt-neox", "gpt-neox-variant"]

    @Test("first and last logits of every prompt are within 1e-4", arguments: models)
    func logits(name: String) throws {
        let pool = ThreadPool(threads: 2)
        let model = try Support.model(name, pool: pool)
        let prompts = try #require(try Support.golden(name)["prompts"]?.arrayValue)
        #expect(!prompts.isEmpty)
        for prompt in prompts {
            let ids = try #require(prompt["ids"]).ids
            let all = try Support.logits(model, ids, chunks: [ids.count], pool: pool)
            expectClose(all[0], try #require(prompt["first_logits"]).floats)
            expectClose(all[ids.count - 1], try #require(prompt["last_logits"]).floats)
        }
    }

    @Test("greedy texts to the full context are equal, token by token with the cache", arguments: models)
    func greedy(name: String) throws {
        let pool = ThreadPool(threads: 2)
        let model = try Support.model(name, pool: pool)
        for prompt in try #require(try Support.golden(name)["prompts"]?.arrayValue) {
            let (ids, wanted) = (try #require(prompt["ids"]).ids, try #require(prompt["greedy"]).ids)
            let session = InferenceSession(model: model, pool: pool, maximumRows: 64, maximumLogitRows: 1, maximumSequences: 1)
            let sequence = try session.makeSequence()
            var (text, next) = (ids, ids)
            while text.count < wanted.count {
                session.begin()
                let row = try session.append(next, to: sequence, logits: .last)
                session.run()
                let logits = Support.copy(session, row)
                let best = try #require(logits.indices.max { logits[$0] < logits[$1] })
                next = [Int32(best)]
                text += next
            }
            #expect(text == wanted)
        }
    }

    private func expectClose(_ found: [Float], _ wanted: [Float]) {
        #expect(found.count == wanted.count)
        let difference = zip(found, wanted).map { abs($0 - $1) }.max() ?? .infinity
        #expect(difference <= 1e-4)
    }
}
