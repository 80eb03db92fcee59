import Datasets
import Tokenizers

extension CommandFailure {
    /// A tokenizer that cannot be read is wrong input; one that cannot be written is work that failed.
    init(_ error: TokenizerError) {
        if case .unwritable = error { self = .failed("\(error)") } else { self = .usage("\(error)") }
    }

    /// Text or a cache that cannot be read is wrong input; a cache that cannot be written is work that failed.
    init(_ error: DatasetError) {
        if case .unwritable = error { self = .failed("\(error)") } else { self = .usage("\(error)") }
    }
}
