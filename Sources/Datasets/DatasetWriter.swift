import DurableFiles
import Encodings
import Tokenizers

/// Writes a cache file as tokens come, in bounded memory; it appears under its name only when ``finish()`` succeeds.
struct DatasetWriter: TokenSink, ~Copyable {
    private let origin: DatasetOrigin
    private let bytesPerToken: Int
    private var file: DurableFile
    private var gzip: GzipWriter?
    private var digest = SHA256Digest()
    private var chunk: [UInt8] = []
    private var count = 0

    /// Opens a cache file and leaves room for its header: count and digest follow when they are known.
    static func create(path: String, origin: DatasetOrigin, compress: Bool) throws(DatasetError) -> DatasetWriter {
        var file = try create(path)
        let header = DatasetHeader(
            origin: origin, bytesPerToken: TokenStorage.bytesPerToken(vocabularySize: origin.vocabularySize), count: 0,
            chunkTokens: DatasetFormat.chunkTokens, digest: String(repeating: "0", count: 64))
        try write(head(header, compress: compress), to: &file)
        return DatasetWriter(file: file, origin: origin, compress: compress)
    }

    private init(file: consuming DurableFile, origin: DatasetOrigin, compress: Bool) {
        self.origin = origin
        self.file = file
        bytesPerToken = TokenStorage.bytesPerToken(vocabularySize: origin.vocabularySize)
        gzip = compress ? GzipWriter(level: 1) : nil
        chunk.reserveCapacity(DatasetFormat.chunkTokens * bytesPerToken)
    }

    private static func create(_ path: String) throws(DatasetError) -> DurableFile {
        do throws(FileError) { return try DurableFile(path: path) } catch { throw unwritable(error) }
    }

    private static func write(_ bytes: [UInt8], to file: inout DurableFile) throws(DatasetError) {
        do throws(FileError) { try file.write(bytes) } catch { throw unwritable(error) }
    }

    mutating func append(_ ids: UnsafeBufferPointer<Int32>) throws(DatasetError) {
        var taken = 0
        while taken < ids.count {
            let room = DatasetFormat.chunkTokens - chunk.count / bytesPerToken
            let part = UnsafeBufferPointer(rebasing: ids[taken..<min(ids.count, taken + room)])
            let start = chunk.count
            chunk.append(contentsOf: repeatElement(0, count: part.count * bytesPerToken))
            chunk.withUnsafeMutableBytes { bytes in
                if bytesPerToken == 2 {
                    for (index, id) in part.enumerated() {
                        bytes.storeBytes(of: UInt16(truncatingIfNeeded: id).littleEndian, toByteOffset: start + index * 2, as: UInt16.self)
                    }
                } else {
                    for (index, id) in part.enumerated() { bytes.storeBytes(of: id.littleEndian, toByteOffset: start + index * 4, as: Int32.self) }
                }
            }
            taken += part.count
            if part.count == room { try writeChunk() }
        }
    }

    /// Completes the file.
    /// - Returns: how many tokens it holds.
    consuming func finish() throws(DatasetError) -> Int {
        if !chunk.isEmpty { try writeChunk() }
        let compress = gzip != nil
        try put([], isLast: true)
        let total = count
        let taken = digest
        let header = DatasetHeader(
            origin: origin, bytesPerToken: bytesPerToken, count: total, chunkTokens: DatasetFormat.chunkTokens, digest: hexString(taken.finish()))
        do throws(FileError) {
            try file.overwrite(Self.head(header, compress: compress), at: 0)
            try file.finish()
        } catch { throw Self.unwritable(error) }
        return total
    }

    /// The header as it stands in the file: stored, never compressed, so that its length does not depend on what it says.
    private static func head(_ header: DatasetHeader, compress: Bool) -> [UInt8] {
        compress ? GzipWriter.member(header.bytes, level: 0) : header.bytes
    }

    private mutating func writeChunk() throws(DatasetError) {
        digest.update(chunk)
        count += chunk.count / bytesPerToken
        try put(ChunkHead.bytes(byteCount: chunk.count), isLast: false)
        try put(chunk, isLast: false)
        chunk.removeAll(keepingCapacity: true)
    }

    private mutating func put(_ bytes: [UInt8], isLast: Bool) throws(DatasetError) {
        var failure: FileError?
        bytes.withUnsafeBytes { buffer in
            do throws(FileError) {
                if gzip == nil {
                    try file.write(buffer)
                } else {
                    try gzip?.compress(buffer, isLast: isLast) { part throws(FileError) in try file.write(part) }
                }
            } catch { failure = error }
        }
        if let failure { throw Self.unwritable(failure) }
    }

    private static func unwritable(_ failure: FileError) -> DatasetError { .unwritable(file: failure.path, reason: failure.reason) }
}

extension TokenDataset {
    /// Writes a cache file: MessagePack, gzipped unless `compress` is false (then ``load(path:)`` maps it, which suits very large ones).
    ///
    /// A crash leaves the old file or the new one, never a part.
    /// - Throws: ``DatasetError/unwritable(file:reason:)``; also for a dataset read from a NumPy cache, whose tokenizer is not known.
    package func save(to path: String, compress: Bool = true) throws(DatasetError) {
        guard let vocabularySize, let tokenizerDigest else {
            throw .unwritable(file: path, reason: "a dataset from a NumPy cache does not say which tokenizer made it; encode the text again")
        }
        let origin = DatasetOrigin(vocabularySize: vocabularySize, tokenizerDigest: tokenizerDigest, settings: settings)
        var writer = try DatasetWriter.create(path: path, origin: origin, compress: compress)
        var block = [Int32](repeating: 0, count: 1 << 16)
        var start = 0
        while start < count {
            let length = min(block.count, count - start)
            var failure: DatasetError?
            block.withUnsafeMutableBufferPointer { buffer in
                guard let base = buffer.baseAddress else { return }
                copyBlock(start: start, length: length, into: base)
                do throws(DatasetError) { try writer.append(UnsafeBufferPointer(start: base, count: length)) } catch { failure = error }
            }
            if let failure { throw failure }
            start += length
        }
        _ = try writer.finish()
    }
}
