/// The few MessagePack values that a dataset's header may hold.
private enum HeaderValue {
    case text(String)
    case integer(UInt64)
    case flag(Bool)
    case map([(String, HeaderValue)])
}

/// Reads the header from the first bytes of a file, since its length is not known beforehand.
struct HeaderParser {
    /// A header is 300 bytes; more is no header.
    static let maximumLength = 4096

    struct Failure: Error, Equatable {
        let problem: String
    }

    private let bytes: [UInt8]
    /// How many bytes were read.
    private(set) var length = 0

    /// - Parameter bytes: the beginning of the file: ``maximumLength`` bytes, or all there are.
    init(_ bytes: [UInt8]) { self.bytes = bytes }

    /// - Throws: ``Failure`` for whatever is no header of a version that is known here.
    mutating func parse() throws(Failure) -> DatasetHeader {
        guard case .map(let members) = try value(depth: 0) else { throw Failure(problem: "it does not start with a map") }
        func member(_ name: String) throws(Failure) -> HeaderValue {
            guard let found = members.first(where: { $0.0 == name }) else { throw Failure(problem: "its header lacks \"\(name)\"") }
            return found.1
        }
        func text(_ name: String) throws(Failure) -> String {
            guard case .text(let text) = try member(name) else { throw Failure(problem: "\"\(name)\" in its header is not a string") }
            return text
        }
        func integer(_ name: String, _ range: ClosedRange<Int>) throws(Failure) -> Int {
            guard case .integer(let number) = try member(name), let small = Int(exactly: number), range.contains(small) else {
                throw Failure(problem: "\"\(name)\" in its header is not a number from \(range.lowerBound) to \(range.upperBound)")
            }
            return small
        }
        guard try text("format") == DatasetFormat.name else { throw Failure(problem: "its format is not \(DatasetFormat.name)") }
        let version = try integer("version", 0...Int(Int32.max))
        guard version == DatasetFormat.version else {
            throw Failure(problem: "its version is \(version); this program reads \(DatasetFormat.version)")
        }
        guard case .map(let settings) = try member("settings") else { throw Failure(problem: "\"settings\" in its header is not a map") }
        func setting(_ name: String) -> Bool {
            if case .flag(true)? = settings.first(where: { $0.0 == name })?.1 { true } else { false }
        }
        let vocabularySize = try integer("vocabulary_size", 1...Int(Int32.max))
        let header = DatasetHeader(
            origin: DatasetOrigin(
                vocabularySize: vocabularySize, tokenizerDigest: try text("tokenizer_sha256"),
                settings: DatasetSettings(lineByLine: setting("line_by_line"), header: setting("header"))),
            bytesPerToken: try integer("bytes_per_token", 2...4), count: try integer("count", 0...1 << 44),
            chunkTokens: try integer("chunk_tokens", 1...DatasetFormat.maximumChunkTokens), digest: try text("sha256"))
        guard header.bytesPerToken == TokenStorage.bytesPerToken(vocabularySize: vocabularySize) else {
            throw Failure(problem: "\"bytes_per_token\" in its header does not fit its vocabulary")
        }
        return header
    }

    private mutating func byte() throws(Failure) -> UInt8 {
        guard length < bytes.count else { throw Failure(problem: "its header is cut short") }
        defer { length += 1 }
        return bytes[length]
    }

    private mutating func number(_ count: Int) throws(Failure) -> UInt64 {
        var result: UInt64 = 0
        for _ in 0..<count { result = result << 8 | UInt64(try byte()) }
        return result
    }

    private mutating func value(depth: Int) throws(Failure) -> HeaderValue {
        let head = try byte()
        switch head {
        case 0x00...0x7F: return .integer(UInt64(head))
        case 0x80...0x8F: return try map(Int(head & 0x0F), depth)
        case 0xA0...0xBF: return try text(Int(head & 0x1F))
        case 0xC2, 0xC3: return .flag(head == 0xC3)
        case 0xCC: return .integer(try number(1))
        case 0xCD: return .integer(try number(2))
        case 0xCE: return .integer(try number(4))
        case 0xCF: return .integer(try number(8))
        case 0xD9: return try text(Int(try number(1)))
        default: throw Failure(problem: "its header is not that of a dataset")
        }
    }

    private mutating func map(_ count: Int, _ depth: Int) throws(Failure) -> HeaderValue {
        guard depth < 2 else { throw Failure(problem: "its header is not that of a dataset") }
        var members: [(String, HeaderValue)] = []
        for _ in 0..<count {
            guard case .text(let name) = try value(depth: depth + 1) else { throw Failure(problem: "its header is not that of a dataset") }
            members.append((name, try value(depth: depth + 1)))
        }
        return .map(members)
    }

    private mutating func text(_ count: Int) throws(Failure) -> HeaderValue {
        var bytes: [UInt8] = []
        for _ in 0..<count { bytes.append(try byte()) }
        guard let text = String(validating: bytes, as: UTF8.self) else { throw Failure(problem: "its header is not UTF-8") }
        return .text(text)
    }
}
