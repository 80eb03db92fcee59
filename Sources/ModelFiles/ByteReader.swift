/// Walks over bytes that nobody vouches for: every step is checked against the end.
struct ByteReader {
    private(set) var bytes: UnsafeRawBufferPointer
    private(set) var position: Int
    /// The file, for messages.
    let path: String

    /// - Parameter position: in 0 ... bytes.count.
    init(_ bytes: UnsafeRawBufferPointer, from position: Int = 0, path: String) {
        self.bytes = bytes
        self.position = position
        self.path = path
    }

    var isAtEnd: Bool { position >= bytes.count }

    /// The error of a file that contradicts its format.
    func malformed(_ message: String) -> ModelFileError { ModelFileError(.malformed, path: path, message) }

    /// Steps over `count` bytes.
    /// - Returns: where they lie.
    mutating func take(_ count: Int) throws(ModelFileError) -> Range<Int> {
        guard count >= 0, count <= bytes.count - position else {
            throw malformed("ends in the middle of something (\(count) bytes at \(position) of \(bytes.count)): truncated?")
        }
        defer { position += count }
        return position..<position + count
    }

    mutating func byte() throws(ModelFileError) -> UInt8 { bytes[try take(1).lowerBound] }

    /// A little-endian integer.
    mutating func integer<Value: FixedWidthInteger>(_ type: Value.Type = Value.self) throws(ModelFileError) -> Value {
        Value(littleEndian: bytes.loadUnaligned(fromByteOffset: try take(MemoryLayout<Value>.size).lowerBound, as: Value.self))
    }

    /// A little-endian u64 that counts something.
    mutating func count() throws(ModelFileError) -> Int {
        guard let count = Int(exactly: try integer(UInt64.self)) else { throw malformed("claims a size that cannot be") }
        return count
    }

    /// Seven bits a byte, low ones first (LevelDB, Protocol Buffers).
    mutating func varint() throws(ModelFileError) -> UInt64 {
        var value: UInt64 = 0
        for shift in stride(from: UInt64(0), to: 64, by: 7) {
            let byte = try byte()
            value |= UInt64(byte & 0x7F) << shift
            if byte < 0x80 { return value }
        }
        throw malformed("holds a number of more than 64 bits at \(position)")
    }

    /// A varint that counts something.
    mutating func size() throws(ModelFileError) -> Int {
        guard let size = Int(exactly: try varint()) else { throw malformed("claims a size that cannot be at \(position)") }
        return size
    }

    /// UTF-8 text.
    mutating func text(_ count: Int) throws(ModelFileError) -> String {
        let range = try take(count)
        guard let text = String(validating: UnsafeRawBufferPointer(rebasing: bytes[range]), as: UTF8.self) else {
            throw malformed("holds a name that is no UTF-8")
        }
        return text
    }
}
