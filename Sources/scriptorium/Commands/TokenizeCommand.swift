import ArgumentParser
import Encodings
import Tokenizers

/// `scriptorium tokenize --tokenizer DIR|FILE`: standard input to ids, or back.
struct TokenizeCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "tokenize", abstract: "Turn text into token ids, or ids into text.",
        discussion: "Reads standard input: text, or with --decode one JSON array of ids. Prints one JSON array, or the text as it is.")

    @Option(help: "A folder with tokenizer.json (or vocab.json and merges.txt), or such a file.") var tokenizer: String
    @Flag(help: "Read ids and print their text, special tokens included.") var decode = false
    @Flag(help: "With --decode, print one JSON object with the text.") var json = false

    func run() throws {
        let loaded: Tokenizer
        do throws(TokenizerError) { loaded = try Tokenizer.load(path: tokenizer) } catch { throw CommandFailure(error) }
        let input = InputFile.standardInput()
        if !decode {
            var ids: [Int32] = []
            input.withUnsafeBytes { loaded.encode(utf8: $0, into: &ids) }
            StandardOutput.write(Array("[\(ids.map(String.init).joined(separator: ","))]\n".utf8))
        } else if json {
            let report: JSONValue = ["text": .string(loaded.decode(try ids(input, loaded), skipSpecial: false))]
            StandardOutput.write(report.serialised + [UInt8(ascii: "\n")])
        } else {
            StandardOutput.write(loaded.decodedBytes(try ids(input, loaded), skipSpecial: false))
        }
    }

    private func ids(_ input: [UInt8], _ tokenizer: Tokenizer) throws -> [Int32] {
        let value: JSONValue
        do throws(DocumentError) { value = try JSONValue.parse(input) } catch {
            throw CommandFailure.usage("standard input is not a JSON array of ids: \(error.description)")
        }
        guard let list = value.arrayValue else { throw CommandFailure.usage("standard input is not a JSON array of ids") }
        return try list.enumerated().map { place, item in
            guard let id = item.intValue, id >= 0, id < tokenizer.vocabularySize else {
                throw CommandFailure.usage("element \(place) is not an id from 0 to \(tokenizer.vocabularySize - 1)")
            }
            return Int32(id)
        }
    }
}
