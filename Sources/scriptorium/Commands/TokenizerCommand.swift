import ArgumentParser
import Encodings
import FoundationEssentials
import Tokenizers

/// `scriptorium tokenizer`: making tokenizers.
struct TokenizerCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "tokenizer", abstract: "Make tokenizers.", subcommands: [TokenizerTrainCommand.self])
}

/// `scriptorium tokenizer train FILE… --output DIR`.
struct TokenizerTrainCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "train", abstract: "Learn a byte-level BPE tokenizer from text files.",
        discussion: """
            Files are read line by line. The folder then holds tokenizer.json, which Hugging Face's tokenizers loads, and vocab.json with
            merges.txt. The same text gives the same tokenizer as ByteLevelBPETokenizer.train.
            """)

    @Argument(help: "Text files, UTF-8.") var files: [String]
    @Option(help: "The folder for the tokenizer; made if it is missing.") var output: String
    @Option(help: "How many tokens there shall be at most, the end token and 256 bytes included.") var vocabSize = 1000
    @Option(help: "Pairs seen less often are not merged.") var minFrequency = 2
    @Flag(help: "Print one JSON object.") var json = false

    func run() throws {
        guard vocabSize >= 257 else { throw CommandFailure.usage("--vocab-size must be at least 257: the end token and 256 bytes") }
        guard vocabSize <= 1 << 22 else { throw CommandFailure.usage("--vocab-size must be at most \(1 << 22)") }
        guard minFrequency >= 0 else { throw CommandFailure.usage("--min-frequency must not be below 0") }
        let tokenizer: Tokenizer
        do throws(TokenizerError) { tokenizer = try train() } catch { throw CommandFailure(error) }
        do { try FileManager.default.createDirectory(atPath: output, withIntermediateDirectories: true) } catch {
            throw CommandFailure.failed("cannot make the folder \(output)")
        }
        do throws(TokenizerError) { try tokenizer.write(toDirectory: output) } catch { throw CommandFailure(error) }
        if json {
            let report: JSONValue = [
                "directory": .string(output), "vocab_size": .integer(Int64(tokenizer.vocabularySize)), "sha256": .string(tokenizer.digest),
            ]
            print(String(decoding: report.serialised, as: UTF8.self))
        } else {
            print("\(output): \(tokenizer.vocabularySize) tokens, sha256 \(tokenizer.digest)")
        }
    }

    private func train() throws(TokenizerError) -> Tokenizer {
        var trainer = TokenizerTrainer(vocabularySize: vocabSize, minimumFrequency: minFrequency)
        for file in files {
            var bar: ProgressBar?
            try trainer.feed(file: file) { done, total in
                if bar == nil { bar = ProgressBar(total: total, label: "reading") }
                bar?.update(done, note: file)
            }
            bar?.finish()
        }
        var bar = ProgressBar(total: vocabSize, label: "merging")
        let tokenizer = try trainer.train { done, _ in bar.update(done, note: "") }
        bar.finish()
        return tokenizer
    }
}
