import Generation
import Kernels
import LanguageModels
import TestSupport
import Testing

@Suite("How often tokens are drawn")
struct SamplingFrequencyTests {
    @Test(
        "frequencies follow the probabilities (chi-square)",
        arguments: [
            SamplingCase(temperature: 1), SamplingCase(temperature: 0.7, topK: 20), SamplingCase(temperature: 1.4, topP: 0.9),
            SamplingCase(temperature: 1, topK: 50, topP: 0.95, minP: 0.02), SamplingCase(temperature: 1, typicalP: 0.6),
        ])
    func frequencies(sampling: SamplingCase) throws {
        let engine = try Engine()
        let draws = 4000
        let request = GenerationRequest.tokens([7, 11, 13], n: draws) {
            $0.maxLength = 4
            $0.temperature = [sampling.temperature]
            $0.topK = sampling.topK
            $0.topP = sampling.topP
            $0.minP = sampling.minP
            $0.typicalP = sampling.typicalP
            $0.seed = 20_250_101
        }
        var plain = request
        plain.text.nonemptyOutput = false
        let samples = try engine.generate(plain, options: SchedulerOptions(slots: 64))
        let logits = try Scorer(model: engine.model, pool: engine.pool).score([7, 11, 13]).lastLogits
        let wanted = try Sampler.distribution(
            logits: logits, previous: [7, 11, 13], parameters: request.parameters, description: engine.model.description)
        var counts = [Int](repeating: 0, count: wanted.count)
        for sample in samples { counts[Int(sample.tokenIDs[0])] += 1 }
        #expect(zip(counts, wanted).allSatisfy { $0 == 0 || $1 > 0 })
        let (statistic, freedom) = chiSquare(counts, wanted, draws: draws)
        // Five standard deviations above the mean: an honest sampler fails less than once in a million seeds.
        #expect(statistic < freedom + 5 * (2 * freedom).squareRoot() + 5, "chi-square \(statistic) of \(freedom) degrees")
    }

    /// Cells of fewer than five expected draws are put together.
    private func chiSquare(_ counts: [Int], _ wanted: [Double], draws: Int) -> (statistic: Double, freedom: Double) {
        var (statistic, cells) = (0.0, 0.0)
        var (restCount, restWanted) = (0.0, 0.0)
        for (count, probability) in zip(counts, wanted) {
            let expected = probability * Double(draws)
            if expected < 5 {
                restCount += Double(count)
                restWanted += expected
            } else {
                statistic += (Double(count) - expected) * (Double(count) - expected) / expected
                cells += 1
            }
        }
        if restWanted > 0.5 {
            statistic += (restCount - restWanted) * (restCount - restWanted) / restWanted
            cells += 1
        }
        return (statistic, max(1, cells - 1))
    }
}

struct SamplingCase: Sendable, CustomTestStringConvertible {
    var temperature: Double
    var topK = 0
    var topP = 1.0
    var minP = 0.0
    var typicalP = 1.0
    var testDescription: String { "temperature \(temperature), top_k \(topK), top_p \(topP), min_p \(minP), typical_p \(typicalP)" }
}
