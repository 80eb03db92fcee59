import Encodings
import Generation
import Kernels
import LanguageModels
import TestSupport
import Testing
import Tokenizers

/// Hundreds of random crowds: requests that come at random, wait for slots and pages, share prefixes, stream, are cancelled. Each that
/// stays gives what it gives alone in one slot on one thread in plain C, logits' bits included (its log-probabilities).
@Suite("No crowd changes a text")
struct CrowdTests {
    @Test("slots, pages, chunks, arrivals, cancellations, threads and instruction sets change nothing", arguments: 0..<10 as Range<UInt64>)
    func crowds(seed: UInt64) throws {
        var generator = SeededGenerator(seed: 9_000 + seed)
        let engines = try Self.engines(seed)
        for index in 0..<25 {
            let requests = (0..<generator.below(5) + 2).map { _ in Self.request(engines[0], using: &generator) }
            let alone = try requests.map { try engines[0].generate($0, options: SchedulerOptions(slots: 1)) }
            let engine = try #require(engines.randomElement(using: &generator))
            for (place, samples) in try crowd(engine, requests, using: &generator) {
                #expect(
                    samples.sorted { $0.sample < $1.sample } == alone[place].sorted { $0.sample < $1.sample },
                    "seed \(seed), crowd \(index), request \(place), \(engine.pool.instructionSet), \(engine.pool.threadCount) threads")
            }
        }
    }

    @Test("the order of prompts and the number of samples change no sample", arguments: 0..<8 as Range<UInt64>)
    func orders(seed: UInt64) throws {
        var generator = SeededGenerator(seed: 9_100 + seed)
        let engines = try Self.engines(seed)
        for index in 0..<12 {
            var request = Self.request(engines[0], using: &generator)
            request.text.deduplicate = false
            request.text.nonemptyOutput = false
            // torch's numbers are shared by all samples of a prompt, so there is no sample without the others.
            (request.parameters.rng, request.parameters.batchSize) = (.philox, nil)
            let wide = try engines[0].generate(request)
            var turned = request
            turned.n = generator.below(request.n) + 1
            turned.promptTokenIDs = request.promptTokenIDs?.reversed()
            let engine = try #require(engines.randomElement(using: &generator))
            for sample in try engine.generate(turned) {
                let (prompt, k) = (request.prompts.count - 1 - sample.promptIndex, sample.sample % turned.n)
                let same = try #require(wide.first { $0.sample == prompt * request.n + k })
                let isSame = sample.tokenIDs == same.tokenIDs && sample.logprobs == same.logprobs
                #expect(isSame, "seed \(seed), case \(index), prompt \(prompt), sample \(k)")
            }
        }
    }

    /// The same weights, in a precision of the seed's, for every instruction set and 1 to 3 threads: plain C on one thread is the first.
    private static func engines(_ seed: UInt64) throws -> [Engine] {
        var trainer = TokenizerTrainer(vocabularySize: 300, minimumFrequency: 2)
        trainer.feed(text: "the first and the last of the things that the first thing was and the last thing is\n")
        let tokenizer = try trainer.train()
        let description = try Architectures.describe(config: [
            "vocab_size": 300, "n_positions": 150, "n_embd": 24, "n_layer": 2, "n_head": 2, "bos_token_id": 0, "eos_token_id": 0,
        ])
        return try InstructionSet.available.flatMap { set in
            try (1...3).map { threads in
                let pool = ThreadPool(threads: threads, instructionSet: set)
                let model = try LanguageModel.random(
                    description, seed: seed, scale: 0.3, precision: WeightPrecision.allCases[Int(seed % 3)], pool: pool)
                return Engine(model: model, tokenizer: tokenizer, pool: pool)
            }
        }
    }

    private static func request(_ engine: Engine, using generator: inout SeededGenerator) -> GenerationRequest {
        var request = DeterminismTests.request(engine, maximum: generator.chance(300) ? 100 : 40, using: &generator)
        request.parameters.logprobs = generator.chance(500) ? 3 : nil
        return request
    }

    /// Runs the requests together; the samples of those that were not cancelled, by their place.
    private func crowd(_ engine: Engine, _ requests: [GenerationRequest], using generator: inout SeededGenerator) throws -> [Int: [GeneratedSample]] {
        let options = SchedulerOptions(
            slots: generator.below(9) + 1, prefillRows: generator.below(80) + 1, mixedPrefillRows: generator.below(20) + 1,
            keyValueBytes: InferenceSession.pageByteCount(engine.model) * (generator.below(50) + 40))
        let scheduler = try engine.scheduler(options)
        var outcome = Outcome()
        var waiting = requests.indices.shuffled(using: &generator)
        var ids: [Int: RequestID] = [:]
        var cancelled: Set<Int> = []
        repeat {
            while let next = waiting.last, ids.isEmpty || generator.chance(200) {
                ids[next] = try scheduler.add(requests[next])
                waiting.removeLast()
            }
            if generator.chance(15), let victim = ids.keys.sorted().randomElement(using: &generator), let id = ids[victim] {
                scheduler.cancel(id)
                cancelled.insert(victim)
            }
        } while scheduler.step(into: &outcome.events) || !waiting.isEmpty
        #expect(scheduler.session.usedPages == 0)
        return try ids.filter { !cancelled.contains($0.key) }.mapValues { try outcome.samples($0) }
    }
}
