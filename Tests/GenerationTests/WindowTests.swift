import Generation
import Kernels
import LanguageModels
import ModelFiles
import TestSupport
import Testing

@Suite("Windows and shared prompts")
struct WindowTests {
    /// Greedy tokens made one by one from whole passes of the plain model: when the text has filled the context, what is read is
    /// its last half of a context, which then grows again. The penalty counts the whole text, as the definition says.
    private func naive(_ engine: Engine, _ prompt: [Int32], count: Int, penalty: Float = 1) throws -> [Int32] {
        let scorer = Scorer(model: engine.model, pool: engine.pool)
        let context = engine.model.description.contextLength
        var text = prompt
        var window = prompt.count > context ? Array(prompt.suffix(context / 2)) : prompt
        for _ in 0..<count {
            if window.count > context { window = Array(text.suffix(context / 2)) }
            var logits = try scorer.score(window).lastLogits
            if penalty != 1 {
                for id in Set(text) { logits[Int(id)] = logits[Int(id)] < 0 ? logits[Int(id)] * penalty : logits[Int(id)] / penalty }
            }
            var best = 0
            for id in logits.indices where logits[id] > logits[best] { best = id }
            text.append(Int32(best))
            window.append(Int32(best))
        }
        return Array(text.dropFirst(prompt.count))
    }

    @Test("a sliding window goes on from the last half of the context, twice and more", arguments: [1, 1.3 as Float])
    func slides(penalty: Float) throws {
        let engine = try Engine()
        let context = engine.model.description.contextLength
        for length in [1, 5, context - 1, context, context + 1, 2 * context + 3] {
            let prompt = (0..<length).map { Int32(($0 * 7 + 3) % 300 + 1) }
            // Enough to fill the context from the first window, and the second window after it.
            let count = max(0, context - length) + context + 5
            let sample = try engine.generate(
                .tokens(prompt) {
                    ($0.doSample, $0.slidingWindow, $0.ignoresEndToken) = (false, true, true)
                    ($0.maxLength, $0.repetitionPenalty) = (length + count, Double(penalty))
                })[0]
            #expect(sample.tokenIDs == (try naive(engine, prompt, count: count, penalty: penalty)), "prompt of \(length)")
        }
    }

    @Test("samples of one prompt share its prefill: each row of the prompt is computed once, whatever n is", arguments: [1, 2, 6])
    func shared(n: Int) throws {
        let engine = try Engine()
        let prompt = (0..<40).map { Int32($0 * 5 % 300 + 1) }
        let scheduler = try engine.scheduler()
        let id = try scheduler.add(
            .tokens(prompt, n: n) { ($0.maxLength, $0.ignoresEndToken, $0.temperature) = (50, true, [1]) })
        var outcome = Outcome()
        var rows = 0
        var goesOn = true
        while goesOn {
            goesOn = scheduler.step(into: &outcome.events)
            if goesOn { rows += scheduler.session.rowsGathered }
        }
        let generated = try outcome.samples(id).reduce(0) { $0 + $1.tokenIDs.count }
        // The prompt but for its last token, and a row for each token that is drawn.
        #expect(generated == 10 * n && rows == prompt.count - 1 + generated)
    }
}
