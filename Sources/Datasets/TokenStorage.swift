import Glibc

/// Where a dataset's tokens lie: in memory in the narrowest width, or in an uncompressed cache file mapped into memory.
enum TokenStorage: Sendable {
    case narrow([UInt16])
    case wide([UInt32])
    case mapped(MappedTokens)

    /// How many bytes a token takes with this vocabulary.
    static func bytesPerToken(vocabularySize: Int) -> Int { vocabularySize <= 1 << 16 ? 2 : 4 }

    static func empty(bytesPerToken: Int) -> TokenStorage { bytesPerToken == 2 ? .narrow([]) : .wide([]) }

    var count: Int {
        switch self {
        case .narrow(let tokens): tokens.count
        case .wide(let tokens): tokens.count
        case .mapped(let tokens): tokens.layout.count
        }
    }

    /// Copies tokens; the range was checked by the caller.
    func copy(start: Int, length: Int, into target: UnsafeMutablePointer<Int32>) {
        switch self {
        case .narrow(let tokens):
            tokens.withUnsafeBufferPointer { source in
                for index in 0..<length { target[index] = Int32(source[start + index]) }
            }
        case .wide(let tokens):
            tokens.withUnsafeBufferPointer { source in
                for index in 0..<length { target[index] = Int32(truncatingIfNeeded: source[start + index]) }
            }
        case .mapped(let tokens): tokens.copy(start: start, length: length, into: target)
        }
    }

    /// Appends ids that the vocabulary has. Not for mapped tokens.
    mutating func append(_ ids: UnsafeBufferPointer<Int32>) {
        switch self {
        case .narrow(var tokens):
            self = .narrow([])
            for id in ids { tokens.append(UInt16(truncatingIfNeeded: id)) }
            self = .narrow(tokens)
        case .wide(var tokens):
            self = .wide([])
            for id in ids { tokens.append(UInt32(bitPattern: id)) }
            self = .wide(tokens)
        case .mapped: preconditionFailure("a mapped dataset does not grow")
        }
    }

    /// Appends little-endian tokens as a cache file holds them. Not for mapped tokens.
    mutating func append(littleEndian bytes: UnsafeRawBufferPointer) {
        switch self {
        case .narrow(var tokens):
            self = .narrow([])
            for offset in stride(from: 0, to: bytes.count, by: 2) {
                tokens.append(UInt16(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: UInt16.self)))
            }
            self = .narrow(tokens)
        case .wide(var tokens):
            self = .wide([])
            for offset in stride(from: 0, to: bytes.count, by: 4) {
                tokens.append(UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: UInt32.self)))
            }
            self = .wide(tokens)
        case .mapped: preconditionFailure("a mapped dataset does not grow")
        }
    }
}

/// The largest of little-endian tokens, or -1.
func largestToken(_ bytes: UnsafeRawBufferPointer, bytesPerToken: Int) -> Int {
    var narrow: UInt16 = 0
    var wide: UInt32 = 0
    if bytes.isEmpty { return -1 }
    if bytesPerToken == 2 {
        for offset in stride(from: 0, to: bytes.count, by: 2) {
            narrow = max(narrow, UInt16(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: UInt16.self)))
        }
    } else {
        for offset in stride(from: 0, to: bytes.count, by: 4) {
            wide = max(wide, UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: UInt32.self)))
        }
    }
    return Int(max(UInt32(narrow), wide))
}

/// An uncompressed cache file in memory, read by the kernel as it is touched.
///
/// `@unchecked Sendable`: the mapping is private and read-only, and lives until the last reference goes. A file that another process
/// shortens meanwhile would fault; caches are replaced by renaming, which leaves the mapped file whole.
final class MappedTokens: @unchecked Sendable {
    let base: UnsafeRawPointer
    let byteCount: Int
    let layout: DatasetLayout

    /// - Parameters:
    ///   - base: from `mmap`, `byteCount` long; unmapped by `deinit`.
    ///   - layout: checked against the bytes.
    init(base: UnsafeRawPointer, byteCount: Int, layout: DatasetLayout) {
        self.base = base
        self.byteCount = byteCount
        self.layout = layout
    }

    deinit { munmap(UnsafeMutableRawPointer(mutating: base), byteCount) }

    func copy(start: Int, length: Int, into target: UnsafeMutablePointer<Int32>) {
        var done = 0
        while done < length {
            let chunk = (start + done) / layout.chunkTokens
            let within = (start + done) % layout.chunkTokens
            let part = min(length - done, layout.chunkTokens - within)
            let source = base + layout.dataOffset(ofChunk: chunk) + within * layout.bytesPerToken
            for index in 0..<part {
                target[done + index] =
                    layout.bytesPerToken == 2
                    ? Int32(UInt16(littleEndian: source.loadUnaligned(fromByteOffset: index * 2, as: UInt16.self)))
                    : Int32(truncatingIfNeeded: UInt32(littleEndian: source.loadUnaligned(fromByteOffset: index * 4, as: UInt32.self)))
            }
            done += part
        }
    }
}
