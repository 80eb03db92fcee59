internal import Generation
internal import Glibc
package import Kernels
internal import LanguageModels
internal import ModelFiles
internal import TaskProtocol
internal import Tokenizers

/// A language model in this process: load a Hugging Face directory, then generate, stream and score.
///
///     let engine = try TextEngine(model: "my-model")
///     for text in try engine.generate("In the", GenerateOptions(n: 3, seed: 42)) { print(text.text) }
///
/// Equal model, options and seed give equal bytes on any machine and any number of threads. Calls run on the caller's thread
/// (and on threads of the engine's own) until they are done, so keep them off Swift's cooperative pool. Not Sendable: one
/// thread at a time.
public final class TextEngine {
    /// What a model's matrices are rounded to as it is loaded. Texts of one precision are the same everywhere; those of two differ.
    public enum Precision: String, Sendable, CaseIterable {
        /// Nothing is rounded.
        case float32
        /// Half the memory.
        case bfloat16
        /// About a quarter of it.
        case int8
    }

    private let pool: ThreadPool
    private let model: LanguageModel
    private let tokenizer: Tokenizer
    private let schema: Schema?

    /// Loads a model with its tokenizer.
    /// - Parameters:
    ///   - path: a directory with config.json, weights and tokenizer.json (or vocab.json and merges.txt).
    ///   - precision: what its matrices are rounded to.
    ///   - threads: nil: one a processor.
    /// - Throws: ``EngineError`` saying which file is wrong, and how.
    public init(model path: String, precision: Precision = .float32, threads: Int? = nil) throws(EngineError) {
        do {
            let directory = try ModelDirectory.open(path)
            guard let tokens = directory.tokenizerPath else { throw EngineError("\(path) holds no tokenizer.json and no vocab.json with merges.txt") }
            pool = try Self.computePool(threads: threads)
            tokenizer = try Tokenizer.load(path: tokens)
            schema = Schema(config: directory.config)
            model = try LanguageModel.load(directory, precision: WeightPrecision(precision), pool: pool)
        } catch { throw EngineError(error) }
    }

    /// Threads for all that computes, here and in training.
    /// - Parameters:
    ///   - threads: nil: one a processor.
    ///   - available: what the processor can run.
    /// - Throws: `KernelError.noInstructionSet` where that is nothing: kernels would end the process.
    package static func computePool(
        threads: Int?, available: [InstructionSet] = InstructionSet.available
    ) throws(KernelError) -> ThreadPool {
        let chosen = try InstructionSet.select(named: nil, available: available)
        return ThreadPool(threads: max(1, threads ?? sysconf(Int32(_SC_NPROCESSORS_ONLN))), instructionSet: chosen)
    }

    /// Tokens that a text may have at most, prompt included.
    public var contextLength: Int { model.description.contextLength }

    /// The digest of the weights and of what of their config matters: the same for the same model in any file format.
    public var checkpointSHA256: String { model.checkpointSHA256 }

    /// A text's token ids.
    public func encode(_ text: String) -> [Int32] { tokenizer.encode(text) }

    /// The text that tokens spell.
    public func decode(_ tokens: [Int32]) -> String { tokenizer.decode(tokens, skipSpecial: false) }

    /// Continues a prompt.
    /// - Returns: `options.n` texts, in order.
    /// - Throws: ``EngineError`` naming the option that is wrong, or what is wrong with the model.
    public func generate(_ prompt: String = "", _ options: GenerateOptions = GenerateOptions()) throws(EngineError) -> [GeneratedText] {
        try generate([prompt], options)
    }

    /// Continues several prompts side by side, faster than one after another and with the same texts: `options.n` of each, those of the
    /// first prompt first.
    public func generate(_ prompts: [String], _ options: GenerateOptions = GenerateOptions()) throws(EngineError) -> [GeneratedText] {
        var texts: [GeneratedText] = []
        let request = request(prompts, options, stream: false)
        try run(request) { event in
            if case .sample(_, let sample) = event { texts.append(GeneratedText(sample, seed: request.parameters.seed)) }
        }
        return texts
    }

    /// Continues a prompt and hands over each token as it comes. A piece may hold no text, while a character or a possible
    /// `stop` string is incomplete; behind the prompt, the pieces of a sample's highest draw spell its text before
    /// leading white space goes.
    /// - Parameter each: takes a piece; it runs between two steps of the model.
    /// - Returns: the finished texts, as ``generate(_:_:)`` gives them.
    public func stream(
        _ prompt: String = "", _ options: GenerateOptions = GenerateOptions(), each: (StreamedToken) -> Void
    ) throws(EngineError) -> [GeneratedText] {
        try stream([prompt], options, each: each)
    }

    /// Continues several prompts side by side and hands over their tokens as they come.
    public func stream(
        _ prompts: [String], _ options: GenerateOptions = GenerateOptions(), each: (StreamedToken) -> Void
    ) throws(EngineError) -> [GeneratedText] {
        var texts: [GeneratedText] = []
        let request = request(prompts, options, stream: true)
        try run(request) { event in
            switch event {
            case .token(_, let piece): each(StreamedToken(piece))
            case .sample(_, let sample): texts.append(GeneratedText(sample, seed: request.parameters.seed))
            default: break
            }
        }
        return texts
    }

    /// How likely the model finds a text, token by token.
    /// - Parameter text: at least one token, at most the context.
    /// - Throws: ``EngineError`` where it is empty or too long, or the model gives no numbers.
    public func score(_ text: String) throws(EngineError) -> TextScore {
        let tokens = encode(text)
        do {
            return TextScore(tokens: tokens, try Scorer(model: model, pool: pool).score(tokens))
        } catch { throw EngineError(error) }
    }

    private func request(_ prompts: [String], _ options: GenerateOptions, stream: Bool) -> GenerationRequest {
        var request = GenerationRequest(prompts: prompts, n: options.n, stream: stream)
        request.parameters = options.sampling(seed: options.seed ?? UInt64(Seed.assigned()))
        request.text = options.textOptions(schema)
        request.prependBos = options.prependBOS
        request.settle(model.description)
        request.identity = ProofIdentity(params: request.effectiveParams(precision: model.precision), seedAssigned: options.seed == nil)
        return request
    }

    private func run(_ request: GenerationRequest, _ take: (GenerationEvent) -> Void) throws(EngineError) {
        do {
            let scheduler = try BatchScheduler(model: model, tokenizer: tokenizer, pool: pool)
            _ = try scheduler.add(request)
            var events: [GenerationEvent] = []
            while scheduler.step(into: &events) {
                for event in events {
                    if case .failed(_, let error) = event { throw EngineError(error) }
                    take(event)
                }
                events.removeAll(keepingCapacity: true)
            }
        } catch { throw EngineError(error) }
    }
}

extension WeightPrecision {
    init(_ precision: TextEngine.Precision) {
        switch precision {
        case .float32: self = .float32
        case .bfloat16: self = .bfloat16
        case .int8: self = .int8
        }
    }
}
