/// Why a tokenizer could not be read, made or written. Every case names the file (or what stands for it) and what is wrong.
package enum TokenizerError: Error, Sendable, Equatable, CustomStringConvertible {
    /// The file or folder is not there or cannot be read.
    case unreadable(file: String, reason: String)
    /// The file is there, but no tokenizer: `problem` names the member or line.
    case malformed(file: String, problem: String)
    /// The file is a tokenizer of a kind that is not built here; it is refused rather than read wrongly.
    case unsupported(file: String, problem: String)
    /// Text for training that is not UTF-8, with the line where it stops being so.
    case notUTF8(file: String, line: Int)
    /// The file could not be written.
    case unwritable(file: String, reason: String)
    /// Who asked for it wants it no more.
    case stopped

    package var description: String {
        switch self {
        case .unreadable(let file, let reason): "cannot read \(file): \(reason)"
        case .malformed(let file, let problem): "\(file) is not a valid tokenizer: \(problem)"
        case .unsupported(let file, let problem): "\(file) needs something that is not supported: \(problem)"
        case .notUTF8(let file, let line): "\(file), line \(line): not UTF-8; convert the file first, for example with iconv"
        case .unwritable(let file, let reason): "cannot write \(file): \(reason)"
        case .stopped: "the training of the tokenizer was stopped"
        }
    }
}
