import Encodings
import Generation
import Kernels
import LanguageModels
import TestSupport
import Testing
import Tokenizers

@Suite("Equal seeds give equal texts")
struct DeterminismTests {
    @Test("alone, among random batch mates, in 1 or 16 slots, on 1 or 2 threads, with any chunks and any instruction set", arguments: 0..<6)
    func everywhere(seed: UInt64) throws {
        var generator = SeededGenerator(seed: seed)
        let reference = try Engine()
        let request = Self.request(reference, maximum: 60, using: &generator)
        var wanted: [GeneratedSample]?
        for set in InstructionSet.available {
            for threads in [1, 2] {
                let engine = try Engine(threads: threads, set: set)
                for slots in [1, 16] {
                    let chunk = Int.random(in: 1...64, using: &generator)
                    let options = SchedulerOptions(slots: slots, prefillRows: chunk, mixedPrefillRows: max(1, chunk / 2))
                    let alone = try engine.generate(request, options: options)
                    if let wanted { #expect(alone == wanted, "seed \(seed), \(set), \(threads) threads, \(slots) slots, chunks of \(chunk)") }
                    wanted = wanted ?? alone
                }
                #expect(try among(engine, request, using: &generator) == wanted, "seed \(seed), \(set), among others")
            }
        }
    }

    /// The same request between others that come and are cancelled at random.
    private func among(_ engine: Engine, _ request: GenerationRequest, using generator: inout SeededGenerator) throws -> [GeneratedSample] {
        let scheduler = try engine.scheduler(SchedulerOptions(slots: Int.random(in: 2...16, using: &generator)))
        var outcome = Outcome()
        var others: [RequestID] = []
        for _ in 0..<Int.random(in: 0...3, using: &generator) {
            others.append(try scheduler.add(Self.request(engine, maximum: 40, using: &generator)))
        }
        scheduler.step(into: &outcome.events)
        let id = try scheduler.add(request)
        while scheduler.step(into: &outcome.events) {
            if others.count < 12, Bool.random(using: &generator) {
                others.append(try scheduler.add(Self.request(engine, maximum: 40, using: &generator)))
            }
            if Int.random(in: 0..<8, using: &generator) == 0, let victim = others.randomElement(using: &generator) { scheduler.cancel(victim) }
        }
        #expect(scheduler.session.usedPages == 0)
        #expect(scheduler.runningCount == 0)
        return try outcome.samples(id)
    }

    static func request(_ engine: Engine, maximum most: Int, using generator: inout SeededGenerator) -> GenerationRequest {
        let maximum = min(most, engine.model.description.contextLength)
        var parameters = SamplingParameters()
        parameters.maxLength = maximum
        parameters.temperature = [[0.7], [1.2], [0.5, 1.5]].randomElement(using: &generator)!
        parameters.topK = [0, 5, 40].randomElement(using: &generator)!
        parameters.topP = [1, 0.9].randomElement(using: &generator)!
        parameters.minP = [0, 0.05].randomElement(using: &generator)!
        parameters.typicalP = [1, 0.8].randomElement(using: &generator)!
        parameters.repetitionPenalty = [1, 1.2].randomElement(using: &generator)!
        parameters.noRepeatNgramSize = [0, 3].randomElement(using: &generator)!
        parameters.stop = [[], ["the"], ["e ", "xyz"]].randomElement(using: &generator)!
        parameters.minLength = [nil, nil, maximum / 2].randomElement(using: &generator)!
        parameters.badWords = [[], ["the", "compass counts"]].randomElement(using: &generator)!
        parameters.truncate = [nil, nil, "th"].randomElement(using: &generator)!
        parameters.seed = UInt64.random(in: 0..<1 << 53, using: &generator)
        let length = Int.random(in: 1..<maximum - 2, using: &generator)
        let ids = (0..<length).map { _ in Int32.random(in: 1..<Int32(engine.tokenizer.vocabularySize), using: &generator) }
        var request = GenerationRequest(
            prompts: ["", ""], promptTokenIDs: [ids, [ids[0]]], n: Int.random(in: 1...4, using: &generator), parameters: parameters)
        request.text.deduplicate = Bool.random(using: &generator)
        request.text.includePrefix = false
        request.stream = Bool.random(using: &generator)
        settleTogether(&request, context: engine.model.description.contextLength, using: &generator)
        return request
    }

    /// What makes texts depend on more than their own row: searches, moving windows, torch's numbers.
    private static func settleTogether(_ request: inout GenerationRequest, context: Int, using generator: inout SeededGenerator) {
        if generator.chance(120) {
            request.parameters.slidingWindow = true
            request.parameters.maxLength = context + context / 4
            request.parameters.bannedTokens = [0]
        }
        switch generator.below(8) {
        case 0, 1:
            request.parameters.numBeams = generator.below(2) + 2
            request.parameters.doSample = generator.chance(500)
            request.parameters.lengthPenalty = [1, 0.5].randomElement(using: &generator)!
            request.parameters.earlyStopping = [.no, .yes, .never].randomElement(using: &generator)!
            request.parameters.rng = generator.chance(300) ? .torch : .philox
            request.n = generator.below(request.parameters.numBeams) + 1
            request.stream = false
        case 2:
            request.parameters.rng = .torch
            request.parameters.batchSize = request.n % 2 == 0 ? [nil, 2].randomElement(using: &generator)! : nil
        default: break
        }
    }

    @Test("sample k is the same text whatever n is and whatever the other prompts are")
    func sampleK() throws {
        let engine = try Engine()
        func texts(_ prompts: [String], _ n: Int) throws -> [[Int32]] {
            var request = GenerationRequest(prompts: prompts, n: n)
            request.parameters.maxLength = 50
            request.parameters.seed = 77
            request.parameters.temperature = [1.1]
            return try engine.generate(request).map(\.tokenIDs)
        }
        let wide = try texts(["In the"], 9)
        #expect(Set(wide).count > 1)
        #expect(try texts(["In the"], 3) == Array(wide.prefix(3)))
        #expect(try Array(texts(["He said", "In the"], 4).suffix(4)) == Array(wide.prefix(4)))
    }

    @Test("a redraw is a random stream of its own, and another seed another text")
    func seeds() throws {
        let engine = try Engine()
        func tokens(_ seed: UInt64) throws -> [Int32] {
            try engine.generate(
                .tokens([9, 8, 7]) {
                    $0.seed = seed; $0.temperature = [1.5]; $0.maxLength = 40
                })[0].tokenIDs
        }
        #expect(try tokens(1) == tokens(1))
        #expect(try tokens(1) != tokens(2))
        #expect(try tokens(1 << 40 + 1) != tokens(1))
    }
}
