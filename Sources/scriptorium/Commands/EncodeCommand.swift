import ArgumentParser
import Datasets
import Encodings
import Tokenizers

/// `scriptorium encode FILE… --tokenizer … --output …`: text files to a cached dataset, in bounded memory.
struct EncodeCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "encode", abstract: "Encode text files into a dataset that training loads at once.",
        discussion: """
            Files are bulk text, read line by line with their line ends. With --line-by-line each line, or the first column of each row of a file
            named ….csv, is a text of its own with the end token after it. The dataset is MessagePack, gzipped; --no-compress suits very large
            ones, which are then used mapped.
            """)

    @Argument(help: "Text or CSV files, UTF-8.") var files: [String]
    @Option(help: "A folder with tokenizer.json (or vocab.json and merges.txt), or such a file.") var tokenizer: String
    @Option(help: "The dataset's file.") var output: String
    @Flag(help: "Each line or CSV row is a text.") var lineByLine = false
    @Flag(inversion: .prefixedNo, help: "With --line-by-line, leave out the first line or row of each file.") var header = true
    @Flag(help: "Do not gzip the dataset.") var noCompress = false
    @Flag(help: "Print one JSON object.") var json = false

    func run() throws {
        let loaded: Tokenizer
        do throws(TokenizerError) { loaded = try Tokenizer.load(path: tokenizer) } catch { throw CommandFailure(error) }
        var bar: ProgressBar?
        let count: Int
        do throws(DatasetError) {
            count = try TokenDataset.encode(
                files: files, tokenizer: loaded, lineByLine: lineByLine, header: header, toCache: output, compress: !noCompress
            ) { done, total in
                if bar == nil { bar = ProgressBar(total: total, label: "encoding") }
                bar?.update(done, note: "")
            }
        } catch {
            bar?.finish()
            throw CommandFailure(error)
        }
        bar?.finish()
        if json {
            let report: JSONValue = [
                "output": .string(output), "tokens": .integer(Int64(count)), "tokenizer_sha256": .string(loaded.digest),
                "line_by_line": .bool(lineByLine), "header": .bool(lineByLine && header), "compressed": .bool(!noCompress),
            ]
            print(String(decoding: report.serialised, as: UTF8.self))
        } else {
            print("\(output): \(count) tokens")
        }
    }
}
