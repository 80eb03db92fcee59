import ArgumentParser
import Datasets
import Encodings
import Supervision
import Tokenizers

struct BenchTokenizerCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "tokenizer", abstract: "Bytes and tokens a second: learning a vocabulary, text to ids, and back.",
        discussion: """
            Without --text the text is made up, the same everywhere; without --tokenizer the vocabulary that was learnt is used. Learning runs on one \
            thread, the others on --threads, a part of the text each. Vector instructions play no part.
            """)

    @Option(help: ArgumentHelp("A UTF-8 text to measure with.", valueName: "file"))
    var text: String?

    @Option(help: ArgumentHelp("Megabytes of the made-up text.", valueName: "count"))
    var megabytes = 4.4

    @Option(help: ArgumentHelp("A folder with tokenizer.json (or vocab.json and merges.txt), or such a file, to encode with.", valueName: "folder"))
    var tokenizer: String?

    @Option(help: "How many tokens are learnt at most.")
    var vocabSize = 1000

    @Option(help: "Passes to time; the median is told.")
    var repetitions = 5

    @OptionGroup var options: BenchOptions

    func validate() throws {
        guard megabytes > 0, megabytes <= 1024 else { throw ValidationError("--megabytes: \(megabytes) is not above 0 and up to 1024") }
        guard (257...1 << 22).contains(vocabSize) else { throw ValidationError("--vocab-size: \(vocabSize) is not in 257 … \(1 << 22)") }
        guard (1...1000).contains(repetitions) else { throw ValidationError("--repetitions: \(repetitions) is not in 1 … 1000") }
    }

    func run() async throws {
        let command = self
        try await onThread(throwing: { try command.measure() })
    }

    private func measure() throws {
        let pool = try options.pool()
        let text = try measuredText()
        var isExact = true
        do throws(TokenizerError) {
            let given = try tokenizer.map { path throws(TokenizerError) in try Tokenizer.load(path: path) }
            try TokenizerBenchmark.run(text, tokenizer: given, vocabularySize: vocabSize, repetitions: repetitions, pool: pool) { result in
                isExact = isExact && result.isExact
                options.show(JSONValue.object(result.json).serialised, result.line)
            }
        } catch {
            throw CommandFailure(error)
        }
        // A tokenizer that was given may add a space, or swallow one.
        if tokenizer == nil, !isExact { throw CommandFailure.failed("the ids do not give the text back") }
    }

    private func measuredText() throws -> [UInt8] {
        guard let path = text else {
            var made = BenchmarkText()
            return made.bytes(Int(megabytes * 1e6))
        }
        guard let bytes = InputFile.read(path) else { throw CommandFailure.usage("--text: \(path) cannot be read") }
        guard !bytes.isEmpty else { throw CommandFailure.usage("--text: \(path) is empty") }
        guard String(validating: bytes, as: UTF8.self) != nil else { throw CommandFailure.usage("--text: \(path) is not UTF-8") }
        return bytes
    }
}

extension TokenizerBenchmark {
    /// For a person.
    var line: String {
        let name = pass.rawValue + String(repeating: " ", count: 6 - min(6, pass.rawValue.count))
        let tokens = tokensPerSecond.map { ", \(Self.millions($0)) million tokens/s" } ?? ""
        return "tokenizer \(name): \(Self.millions(bytesPerSecond)) MB/s\(tokens) "
            + "(\(Self.millions(Double(byteCount))) MB, \(vocabularySize) tokens known, \(threads) \(threads == 1 ? "thread" : "threads"))"
    }

    private static func millions(_ count: Double) -> Double { (count / 1e4).rounded() / 100 }
}
