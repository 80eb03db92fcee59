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
            tokens.append(contentsOf: ids.lazy.map { UInt16(truncatingIfNeeded: $0) })
            self = .narrow(tokens)
        case .wide(var tokens):
            self = .wide([])
            tokens.append(contentsOf: ids.lazy.map { UInt32(bitPattern: $0) })
            self = .wide(tokens)
        case .mapped: preconditionFailure("a mapped dataset does not grow")
        }
    }

    /// Appends little-endian tokens as a cache file holds them. Not for mapped tokens.
    mutating func append(littleEndian bytes: UnsafeRawBufferPointer) {
        switch self {
        case .narrow(var tokens):
            self = .narrow([])
            tokens.append(contentsOf: (0..<bytes.count / 2).lazy.map { bytes.token(at: $0, as: UInt16.self) })
            self = .narrow(tokens)
        case .wide(var tokens):
            self = .wide([])
            tokens.append(contentsOf: (0..<bytes.count / 4).lazy.map { bytes.token(at: $0, as: UInt32.self) })
            self = .wide(tokens)
        case .mapped: preconditionFailure("a mapped dataset does not grow")
        }
    }
}

extension UnsafeRawBufferPointer {
    /// Token `index` of little-endian tokens at any address.
    @inline(__always)
    fileprivate func token<Token: FixedWidthInteger & BitwiseCopyable>(at index: Int, as type: Token.Type) -> Token {
        Token(littleEndian: loadUnaligned(fromByteOffset: index &* MemoryLayout<Token>.size, as: type))
    }

    fileprivate func largest<Token: FixedWidthInteger & BitwiseCopyable>(_ type: Token.Type) -> Int {
        var largest: Token = 0
        for index in 0..<count / MemoryLayout<Token>.size { largest = Swift.max(largest, token(at: index, as: type)) }
        return count == 0 ? -1 : Int(largest)
    }
}

/// The largest of little-endian tokens, or -1.
func largestToken(_ bytes: UnsafeRawBufferPointer, bytesPerToken: Int) -> Int {
    bytesPerToken == 2 ? bytes.largest(UInt16.self) : bytes.largest(UInt32.self)
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
            let source = UnsafeRawBufferPointer(
                start: base + layout.dataOffset(ofChunk: chunk) + within * layout.bytesPerToken, count: part * layout.bytesPerToken)
            if layout.bytesPerToken == 2 {
                for index in 0..<part { target[done + index] = Int32(source.token(at: index, as: UInt16.self)) }
            } else {
                for index in 0..<part { target[done + index] = Int32(bitPattern: source.token(at: index, as: UInt32.self)) }
            }
            done += part
        }
    }
}
