import Encodings
import Kernels
import LanguageModels
import ModelFiles
import TestSupport
import Testing

@Suite("The same bits however a text is run")
struct InvarianceTests {
    @Test("chunks, batch mates, threads and instruction sets change no bit", arguments: 0..<36)
    func everything(seed: UInt64) throws {
        var generator = SeededGenerator(seed: seed)
        let description = try Architectures.describe(config: randomConfig(seed, using: &generator))
        let text = Support.tokens(Int.random(in: 1...190, using: &generator), below: description.vocabularySize, using: &generator)
        var wanted: [[UInt32]]?
        for set in InstructionSet.available {
            for threads in [1, 2, 3] {
                let pool = ThreadPool(threads: threads, instructionSet: set)
                let model = try LanguageModel.random(description, seed: seed, scale: 0.3, pool: pool)
                for chunks in [[text.count], [Int](repeating: 1, count: text.count), Support.chunks(text.count, using: &generator)] {
                    let found = try Support.logits(model, text, chunks: chunks, pool: pool).map(bits)
                    if let wanted { #expect(found == wanted, "seed \(seed), \(set), \(threads) threads, chunks \(chunks)") }
                    wanted = wanted ?? found
                }
                #expect(try mixed(model, text, pool: pool, using: &generator) == wanted?.last, "seed \(seed), \(set), mixed")
            }
        }
    }

    /// Each architecture in turn.
    private func randomConfig(_ seed: UInt64, using generator: inout SeededGenerator) -> JSONObject {
        let heads = Int.random(in: 1...3, using: &generator)
        let width = heads * [8, 16, 20].randomElement(using: &generator)!
        let vocabulary = Int.random(in: 50...150, using: &generator)
        switch seed % 3 {
        case 0: return Support.config(layers: 2, width: width, heads: heads, context: 200, vocabulary: vocabulary)
        case 1:
            return ModelConfig.gptNeo(
                vocabulary: vocabulary, positions: 200, width: width, inner: 2 * width, layers: 2, heads: heads,
                window: Int.random(in: 1...70, using: &generator), endOfText: 0)
        default:
            return [
                "model_type": "gpt_neox", "vocab_size": .integer(Int64(vocabulary)), "max_position_embeddings": 200,
                "hidden_size": .integer(Int64(width)), "num_hidden_layers": 2, "num_attention_heads": .integer(Int64(heads)),
                "intermediate_size": .integer(Int64(3 * width)), "rotary_pct": .real(0.5), "use_parallel_residual": .bool(seed % 2 == 0),
            ]
        }
    }

    /// The last logits of `text` when it runs among others that come, fork and go.
    private func mixed(_ model: LanguageModel, _ text: [Int32], pool: ThreadPool, using generator: inout SeededGenerator) throws -> [UInt32] {
        let rows = model.description.vocabularySize
        let session = InferenceSession(model: model, pool: pool, maximumRows: 600, maximumLogitRows: 64, maximumSequences: 12)
        let sequence = try session.makeSequence()
        var others: [SequenceID] = []
        var done = 0
        var last: [UInt32] = []
        while done < text.count {
            session.begin()
            for other in others where session.length(of: other) < 150 {
                try session.append(
                    Support.tokens(Int.random(in: 1...20, using: &generator), below: rows, using: &generator), to: other, logits: .last)
            }
            let count = Int.random(in: 1...(text.count - done), using: &generator)
            let row = try session.append(text[done..<(done + count)], to: sequence, logits: .last)
            session.run()
            last = bits(Support.copy(session, row))
            done += count
            if others.count < 6 { others.append(try session.fork(sequence, length: Int.random(in: 0...done, using: &generator))) }
            if others.count > 3 { session.release(others.removeFirst()) }
        }
        return last
    }

    @Test("forks write to pages of their own and give all pages back")
    func forks() throws {
        let pool = ThreadPool(threads: 2)
        let model = try LanguageModel.random(Architectures.describe(config: Support.config()), seed: 3, scale: 0.3, pool: pool)
        var generator = SeededGenerator(seed: 5)
        let prompt = Support.tokens(70, below: 101, using: &generator)
        let session = InferenceSession(model: model, pool: pool, maximumRows: 256, maximumLogitRows: 8, maximumSequences: 4)
        let parent = try session.makeSequence()
        session.begin()
        try session.append(prompt, to: parent, logits: .none)
        session.run()
        #expect(session.usedPages == 2)
        let children = try [session.fork(parent, length: 70), session.fork(parent, length: 65), session.fork(parent, length: 64)]
        #expect(session.usedPages == 2)
        for (child, tail) in zip(children, [[Int32]([9, 8]), [7, 6], [5]]) {
            session.begin()
            let row = try session.append(tail, to: child, logits: .last)
            session.run()
            let text = prompt.prefix(session.length(of: child) - tail.count) + tail
            let wanted = try Support.logits(model, Array(text), chunks: [text.count], pool: pool)
            #expect(bits(Support.copy(session, row)) == bits(wanted[text.count - 1]))
        }
        #expect(session.usedPages == 5)
        #expect(throws: ModelError.sessionFull("sequences")) { try session.makeSequence() }
        for child in children + [parent] { session.release(child) }
        #expect(session.usedPages == 0)
    }

    @Test("a step refuses what the model or the session has no room for")
    func refusals() throws {
        let pool = ThreadPool(threads: 1)
        let model = try LanguageModel.random(Architectures.describe(config: Support.config(context: 8)), seed: 3, pool: pool)
        let session = InferenceSession(model: model, pool: pool, maximumRows: 10, maximumLogitRows: 2, maximumSequences: 2)
        let sequence = try session.makeSequence()
        session.begin()
        #expect(throws: ModelError.contextExceeded(tokens: 9, context: 8)) {
            try session.append([Int32](repeating: 1, count: 9), to: sequence, logits: .last)
        }
        #expect(throws: ModelError.unknownToken(101, rows: 101)) { try session.append([101], to: sequence, logits: .last) }
        #expect(throws: ModelError.unknownToken(-1, rows: 101)) { try session.append([-1], to: sequence, logits: .last) }
        #expect(throws: ModelError.sessionFull("logits")) { try session.append([1, 2, 3], to: sequence, logits: .all) }
        #expect(session.length(of: sequence) == 0)
    }
}
