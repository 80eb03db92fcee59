import Encodings

/// The cache file of a dataset: a sequence of MessagePack values, gzipped or not.
///
/// 1. A map: `format` "scriptorium-tokens", `version` 1, `tokenizer_sha256`, `vocabulary_size`, `bytes_per_token` (2 where the vocabulary has
///    at most 65,536 entries, else 4), `count` (tokens), `chunk_tokens`, `settings` {`line_by_line`, `header`} and `sha256` (of the tokens).
/// 2. ⌈count / chunk_tokens⌉ binary values: the tokens, little-endian, `chunk_tokens` in each but the last.
///
/// In a gzipped file the map is a gzip member of its own, stored, so that count and digest can be filled in when the tokens have gone by;
/// members concatenate to one stream by the format (RFC 1952, 2.2). In a plain file every chunk stands at a place that can be computed, so it is
/// used mapped. Python reads both:
///
/// ```python
/// values = msgpack.Unpacker(gzip.open(path), max_buffer_size=0)
/// header = next(values)
/// tokens = numpy.concatenate([numpy.frombuffer(chunk, "<u2") for chunk in values])
/// ```
enum DatasetFormat {
    static let name = "scriptorium-tokens"
    static let version = 1
    static let chunkTokens = 1 << 16
    /// What reading accepts, so that a chunk never fills the memory.
    static let maximumChunkTokens = 1 << 24

    static func bigEndian(_ value: UInt64, _ count: Int) -> [UInt8] {
        (0..<count).reversed().map { UInt8(truncatingIfNeeded: value >> UInt64(8 * $0)) }
    }
}

/// Which text and tokenizer a dataset comes from.
struct DatasetOrigin: Sendable, Equatable {
    var vocabularySize: Int
    var tokenizerDigest: String
    var settings: DatasetSettings
}

/// The map at the head of a cache file.
struct DatasetHeader: Equatable {
    var origin: DatasetOrigin
    var bytesPerToken: Int
    var count: Int
    var chunkTokens: Int
    var digest: String

    /// MessagePack of always the same length for one origin: `count` is always written in nine bytes.
    var bytes: [UInt8] {
        var writer = MessagePackWriter()
        writer.beginMap(9)
        writer.key("format")
        writer.string(DatasetFormat.name)
        writer.key("version")
        writer.int(Int64(DatasetFormat.version))
        writer.key("tokenizer_sha256")
        writer.string(origin.tokenizerDigest)
        writer.key("vocabulary_size")
        writer.int(Int64(origin.vocabularySize))
        writer.key("bytes_per_token")
        writer.int(Int64(bytesPerToken))
        writer.key("chunk_tokens")
        writer.int(Int64(chunkTokens))
        writer.key("settings")
        writer.beginMap(2)
        writer.key("line_by_line")
        writer.bool(origin.settings.lineByLine)
        writer.key("header")
        writer.bool(origin.settings.header)
        writer.key("sha256")
        writer.string(digest)
        writer.key("count")
        return writer.bytes + [0xCF] + DatasetFormat.bigEndian(UInt64(count), 8)
    }
}

/// Where the tokens of a plain cache file stand.
struct DatasetLayout: Sendable {
    let headerLength: Int
    let bytesPerToken: Int
    let chunkTokens: Int
    let count: Int
    let chunkCount: Int
    /// The bytes of each chunk's head but the last, which may be narrower.
    let headLength: Int
    let lastHeadLength: Int

    /// - Parameters:
    ///   - fileLength: from which the width of the last head follows; nil where the file cannot be one.
    ///   - firstHead: the first byte behind the header.
    init?(_ header: DatasetHeader, headerLength: Int, fileLength: Int, firstHead: UInt8?) {
        self.headerLength = headerLength
        bytesPerToken = header.bytesPerToken
        chunkTokens = header.chunkTokens
        count = header.count
        chunkCount = (count + chunkTokens - 1) / chunkTokens
        headLength = chunkCount > 1 ? firstHead.flatMap(ChunkHead.length) ?? 0 : 0
        lastHeadLength = fileLength - headerLength - count * bytesPerToken - max(0, chunkCount - 1) * headLength
        guard chunkCount > 0 ? [2, 3, 5].contains(lastHeadLength) : lastHeadLength == 0, chunkCount < 2 || headLength > 0 else { return nil }
    }

    func tokens(inChunk chunk: Int) -> Int { min(chunkTokens, count - chunk * chunkTokens) }

    func headLength(ofChunk chunk: Int) -> Int { chunk == chunkCount - 1 ? lastHeadLength : headLength }

    func dataOffset(ofChunk chunk: Int) -> Int {
        headerLength + chunk * (headLength + chunkTokens * bytesPerToken) + headLength(ofChunk: chunk)
    }
}
