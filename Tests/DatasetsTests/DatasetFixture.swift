import Datasets
import FoundationEssentials
import TestSupport
import Tokenizers

/// A folder with files for one test, and the reference tokenizer.
struct DatasetFixture {
    let folder: TemporaryDirectory
    let tokenizer: Tokenizer

    init() throws {
        folder = try TemporaryDirectory()
        tokenizer = try Tokenizer.load(path: Fixtures.reference)
    }

    func path(_ name: String) -> String { folder.path + "/" + name }

    @discardableResult
    func write(_ bytes: [UInt8], to name: String) throws -> String {
        try Data(bytes).write(to: URL(filePath: path(name)))
        return path(name)
    }

    @discardableResult
    func write(_ text: String, to name: String) throws -> String { try write(Array(text.utf8), to: name) }

    func read(_ name: String) throws -> [UInt8] { try bytes(of: path(name)) }

    /// The bytes of any file.
    func bytes(of path: String) throws -> [UInt8] { [UInt8](try Data(contentsOf: URL(filePath: path))) }

    /// The end token.
    var end: Int32 { Int32(tokenizer.endOfTextID ?? -1) }
}

/// All tokens of a dataset.
func tokens(_ dataset: TokenDataset) -> [Int32] {
    [Int32](unsafeUninitializedCapacity: dataset.count) { buffer, count in
        if let base = buffer.baseAddress { dataset.copyBlock(start: 0, length: dataset.count, into: base) }
        count = dataset.count
    }
}

/// The error that `body` throws, if it is one of a dataset.
func datasetError(_ body: () throws -> Void) -> DatasetError? {
    do {
        try body()
        return nil
    } catch { return error as? DatasetError }
}
