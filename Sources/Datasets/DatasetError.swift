/// Why text could not become a dataset, or a cached dataset could not be read or written.
package enum DatasetError: Error, Sendable, Equatable, CustomStringConvertible {
    /// The file is not there or cannot be read.
    case unreadable(file: String, reason: String)
    /// The file could not be written.
    case unwritable(file: String, reason: String)
    /// A text file stops being UTF-8 in this line.
    case notUTF8(file: String, line: Int)
    /// A CSV file breaks the rules of quoting in the row that starts in this line.
    case malformedCSV(file: String, line: Int, problem: String)
    /// Separate texts need an end token between them, and the tokenizer has none.
    case noEndToken
    /// The file is no dataset, or a damaged one.
    case corrupt(file: String, problem: String)
    /// The dataset was encoded with another tokenizer.
    case otherTokenizer(dataset: String, expected: String)
    /// The dataset has too few tokens for one block and its successor.
    case tooShort(tokens: Int, blockSize: Int)
    /// Who asked for it wants it no more.
    case stopped

    package var description: String {
        switch self {
        case .unreadable(let file, let reason): "cannot read \(file): \(reason)"
        case .unwritable(let file, let reason): "cannot write \(file): \(reason)"
        case .notUTF8(let file, let line): "\(file), line \(line): not UTF-8; convert the file first, for example with iconv"
        case .malformedCSV(let file, let line, let problem): "\(file), row starting in line \(line): \(problem)"
        case .noEndToken: "the tokenizer has no <|endoftext|>, which must stand after each of several texts; encode them as one text"
        case .corrupt(let file, let problem): "\(file) is not a usable dataset: \(problem)"
        case .otherTokenizer(let dataset, let expected):
            "the dataset was encoded with tokenizer \(dataset.prefix(12))…, but \(expected.prefix(12))… is in use; encode the text again"
        case .tooShort(let tokens, let blockSize):
            "the dataset has \(tokens) tokens; blocks of \(blockSize) need at least \(blockSize + 1): add text or choose smaller blocks"
        case .stopped: "the encoding was stopped"
        }
    }
}
