import Encodings
import FoundationEssentials
import Generation
import Kernels
import LanguageModels
import ModelFiles
import TestSupport
import Testing
import Tokenizers

@Suite("The batch scheduler")
struct SchedulerTests {
    @Test("samples arrive in ascending order, once each, and then the end")
    func order() throws {
        let engine = try Engine()
        var request = GenerationRequest(prompts: ["In the", "And", ""], n: 7)
        request.parameters.maxLength = 48
        request.parameters.temperature = [1.3]
        let scheduler = try engine.scheduler(SchedulerOptions(slots: 5))
        let id = try scheduler.add(request)
        let outcome = Outcome(running: scheduler)
        let samples = try outcome.samples(id)
        #expect(samples.map(\.sample) == Array(0..<21))
        #expect(samples.map(\.promptIndex) == [Int](repeating: 0, count: 7) + [Int](repeating: 1, count: 7) + [Int](repeating: 2, count: 7))
        #expect(samples.allSatisfy { $0.text.hasPrefix($0.prompt) && $0.promptTokenIDs.count + $0.tokenIDs.count <= 48 })
        #expect(samples[20].promptTokenIDs == [try #require(engine.model.description.bosID)])
        #expect(scheduler.isIdle && scheduler.session.usedPages == 0)
    }

    @Test("the streamed pieces of a sample's highest draw add up to its text", arguments: 0..<6)
    func streaming(seed: UInt64) throws {
        let engine = try Engine()
        var generator = SeededGenerator(seed: seed)
        let scheduler = try engine.scheduler()
        var request = DeterminismTests.request(engine, maximum: 60, using: &generator)
        // A search tells its texts at its end.
        (request.parameters.numBeams, request.parameters.doSample) = (1, true)
        request.stream = true
        request.text.lstrip = false
        let id = try scheduler.add(request)
        let outcome = Outcome(running: scheduler)
        for sample in try outcome.samples(id) {
            let pieces = outcome.pieces(id).filter { $0.sample == sample.sample && $0.draw == sample.draw }
            #expect(pieces.map(\.index) == Array(0..<sample.tokenIDs.count))
            #expect(pieces.map(\.tokenID) == sample.tokenIDs)
            #expect(pieces.map(\.text).joined() == sample.text, "seed \(seed)")
        }
    }

    @Test("a cancelled request ends once and frees what it held; the others do not notice")
    func cancellation() throws {
        let engine = try Engine()
        let scheduler = try engine.scheduler(SchedulerOptions(slots: 4))
        let one = try scheduler.add(.tokens([3, 4, 5], n: 3) { $0.maxLength = 60 })
        let two = try scheduler.add(
            .tokens([3, 4, 5]) {
                $0.maxLength = 60; $0.seed = 5
            })
        let three = try scheduler.add(.tokens([3, 4, 5], n: 9) { $0.maxLength = 60 })
        var outcome = Outcome()
        for _ in 0..<5 { scheduler.step(into: &outcome.events) }
        #expect(scheduler.cancel(one))
        #expect(!scheduler.cancel(one))
        #expect(scheduler.cancel(three))
        while scheduler.step(into: &outcome.events) {}
        #expect(
            try outcome.samples(two)
                == engine.generate(
                    .tokens([3, 4, 5]) {
                        $0.maxLength = 60; $0.seed = 5
                    }))
        let ends = outcome.events.filter { if case .cancelled = $0 { true } else { false } }
        #expect(ends.count == 2)
        #expect(scheduler.session.usedPages == 0)
        #expect(!scheduler.cancel(two))
    }

    @Test("a logit that is not a number fails its request by position, never its batch mates")
    func notANumber() throws {
        let broken = try Self.broken(atPosition: 20)
        let scheduler = try broken.scheduler()
        let long = try scheduler.add(
            .tokens([3, 4, 5], n: 2) {
                $0.maxLength = 40; $0.ignoresEndToken = true
            })
        let short = try scheduler.add(.tokens([3, 4, 5], n: 3) { $0.maxLength = 19 })
        let outcome = Outcome(running: scheduler)
        #expect(outcome.failure(long) == .notANumber(sample: 0, position: 20))
        #expect(
            try outcome.samples(short) == Engine().generate(.tokens([3, 4, 5], n: 3) { $0.maxLength = 19 }).map { try Self.recorded($0, by: broken) })
        #expect(throws: ModelError.notANumber(position: 20)) {
            try Scorer(model: broken.model, pool: broken.pool).score([Int32](repeating: 1, count: 30))
        }
    }

    /// The sample as another checkpoint's record would have it.
    private static func recorded(_ sample: GeneratedSample, by engine: Engine) throws -> GeneratedSample {
        var copy = sample
        var members = try #require(JSONValue.parse(sample.record).objectValue)
        members["checkpoint_sha256"] = .string(engine.model.checkpointSHA256)
        copy.record = JSONValue.object(members).canonical
        copy.recordSHA256 = SHA256Digest.hex(of: copy.record)
        return copy
    }

    /// The reference model with a damaged position.
    private static func broken(atPosition position: Int) throws -> Engine {
        let source = try ModelDirectory.open(Fixtures.reference + "/gpt2")
        let folder = try TemporaryDirectory()
        var tensors: [(name: String, shape: [Int], data: [Float])] = []
        for name in source.tensors.names {
            var values = try source.tensors.float32(name)
            let shape = try #require(source.tensors.info(name)).shape
            if name == "transformer.wpe.weight" { values[position * shape[1]] = .nan }
            tensors.append((name, shape, values))
        }
        let buffers = tensors.map { tensor in
            let copy = UnsafeMutableBufferPointer<Float>.allocate(capacity: tensor.data.count)
            _ = copy.initialize(from: tensor.data)
            return (name: tensor.name, shape: tensor.shape, data: UnsafeBufferPointer(copy))
        }
        defer { for buffer in buffers { buffer.data.deallocate() } }
        try SafetensorsWriter.write(buffers, metadata: ["format": "pt"], to: folder.path + "/model.safetensors")
        try FileManager.default.copyItem(atPath: source.path + "/config.json", toPath: folder.path + "/config.json")
        let pool = ThreadPool(threads: 2)
        return Engine(
            model: try LanguageModel.load(ModelDirectory.open(folder.path), pool: pool), tokenizer: try Engine().tokenizer, pool: pool)
    }

    @Test("a request that bans everything fails alone")
    func everythingBanned() throws {
        let engine = try Engine()
        let scheduler = try engine.scheduler()
        let all = (0..<Int32(engine.model.description.vocabularySize)).map { $0 }
        let bad = try scheduler.add(.tokens([3]) { $0.bannedTokens = all })
        let good = try scheduler.add(.tokens([3]) { $0.maxLength = 20 })
        let outcome = Outcome(running: scheduler)
        #expect(outcome.failure(bad) == .everythingBanned(sample: 0, position: 1))
        #expect(try outcome.samples(good).count == 1)
    }

    @Test("prompts that are too long are refused with both numbers")
    func lengths() throws {
        let engine = try Engine()
        let scheduler = try engine.scheduler()
        let context = engine.model.description.contextLength
        #expect(throws: GenerationError.promptTooLong(promptIndex: 0, tokens: context, limit: context, isContext: true)) {
            try scheduler.add(.tokens([Int32](repeating: 1, count: context)))
        }
        #expect(throws: GenerationError.promptTooLong(promptIndex: 0, tokens: 9, limit: 9, isContext: false)) {
            try scheduler.add(.tokens([Int32](repeating: 1, count: 9)) { $0.maxLength = 9 })
        }
        #expect(scheduler.isIdle)
        let longest = try engine.generate(.tokens([Int32](repeating: 1, count: context - 1)) { $0.maxLength = 65_536 })
        #expect(longest[0].tokenIDs.count == 1)
        #expect(longest[0].finishReason == .length || longest[0].finishReason == .eos)
    }

    @Test("greedy with several texts is refused")
    func greedyN() throws {
        #expect(throws: GenerationError.self) { try Engine().generate(.tokens([1], n: 2) { $0.doSample = false }) }
    }

    @Test("requests wait for pages where memory is short and end like any others")
    func memory() throws {
        let engine = try Engine()
        let page = InferenceSession.pageByteCount(engine.model)
        let request = GenerationRequest.tokens([3, 4, 5], n: 6) { $0.maxLength = 60 }
        let wanted = try engine.generate(request)
        let scheduler = try engine.scheduler(SchedulerOptions(slots: 6, keyValueBytes: 3 * page))
        let id = try scheduler.add(request)
        #expect(try Outcome(running: scheduler).samples(id) == wanted)
        let tiny = try engine.scheduler(SchedulerOptions(slots: 6, keyValueBytes: page))
        #expect(throws: GenerationError.tooLarge(neededBytes: 2 * page, allowedBytes: page)) { try tiny.add(request) }
    }
}
