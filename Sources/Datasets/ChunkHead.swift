/// The head of a chunk, which is a binary value of MessagePack: a type, then the length in 1, 2 or 4 bytes, big-endian.
///
/// Each width that holds the length is right. Here the widest is written; Python's msgpack writes the narrowest.
enum ChunkHead {
    /// As it is written here: type bin 32.
    static func bytes(byteCount: Int) -> [UInt8] { [0xC6] + DatasetFormat.bigEndian(UInt64(byteCount), 4) }

    /// How long a head of this first byte is, or nil where it begins no binary value.
    static func length(type: UInt8) -> Int? {
        switch type {
        case 0xC4: 2
        case 0xC5: 3
        case 0xC6: 5
        default: nil
        }
    }

    /// Whether a head, whole and nothing but it, says this length.
    static func says(_ head: some Collection<UInt8>, byteCount: Int) -> Bool {
        guard let type = head.first, length(type: type) == head.count else { return false }
        return head.dropFirst().reduce(0) { $0 << 8 | Int($1) } == byteCount
    }
}
