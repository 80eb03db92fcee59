/// Remembers the ids of short pieces, so that the frequent words of a text are merged once.
///
/// Direct-mapped, one cache line an entry, a new piece overwrites the old: no bookkeeping, and memory stays at 2 MiB.
/// Keys are the bytes themselves (up to 16, with their length), so a hit is never wrong.
/// Belongs to one ``EncodingWorkspace``, thus to one thread at a time.
struct PieceCache: ~Copyable {
    /// Longer pieces, or those of more ids, are not kept.
    static let maximumLength = 16
    static let maximumIDs = 11

    private static let bits: UInt64 = 15
    /// low, high, then length | count << 8, then 11 ids: 64 bytes.
    private let entries: UnsafeMutableRawPointer

    init() {
        let size = 64 << Int(Self.bits)
        entries = .allocate(byteCount: size, alignment: 64)
        entries.initializeMemory(as: UInt8.self, repeating: 0, count: size)
    }

    deinit { entries.deallocate() }

    /// A short piece in two words, the unused bytes zero.
    struct Key {
        var low: UInt64
        var high: UInt64
        var length: Int
    }

    /// The key of the bytes at `start`.
    /// - Parameter available: how many bytes may be read there; at least `length`, which is 1 … ``maximumLength``.
    @inline(__always)
    static func key(_ text: UnsafePointer<UInt8>, length: Int, available: Int) -> Key {
        let raw = UnsafeRawPointer(text)
        guard available >= 16 else { return slowKey(text, length: length) }
        let low = raw.loadUnaligned(as: UInt64.self)
        if length <= 8 { return Key(low: low & (~0 >> UInt64(64 - 8 * length)), high: 0, length: length) }
        let high = raw.loadUnaligned(fromByteOffset: 8, as: UInt64.self)
        return Key(low: low, high: high & (~0 >> UInt64(128 - 8 * length)), length: length)
    }

    @inline(never)
    private static func slowKey(_ text: UnsafePointer<UInt8>, length: Int) -> Key {
        var key = Key(low: 0, high: 0, length: length)
        for index in 0..<length {
            if index < 8 { key.low |= UInt64(text[index]) << UInt64(8 * index) } else { key.high |= UInt64(text[index]) << UInt64(8 * index - 64) }
        }
        return key
    }

    @inline(__always)
    private func entry(_ key: Key) -> UnsafeMutableRawPointer {
        var hash = (key.low ^ key.high &* 0x9E37_79B9_7F4A_7C15) &* 0xE703_7ED1_A0B4_28DB
        hash ^= hash >> 32
        hash = hash &* 0x9E37_79B9_7F4A_7C15
        return entries + Int(truncatingIfNeeded: hash >> (64 - Self.bits)) << 6
    }

    /// Copies the ids of a known piece to `output` and returns how many, or -1.
    /// - Parameter output: with room for ``maximumIDs`` + 1 ids, whatever the piece.
    @inline(__always)
    func find(_ key: Key, _ output: UnsafeMutablePointer<Int32>) -> Int {
        let entry = entry(key)
        guard entry.load(as: UInt64.self) == key.low, entry.load(fromByteOffset: 8, as: UInt64.self) == key.high else { return -1 }
        let shape = entry.load(fromByteOffset: 16, as: UInt32.self)
        guard Int(shape & 0xFF) == key.length else { return -1 }
        let count = Int(shape >> 8)
        let ids = entry + 20
        // Four at a time without asking how many: most pieces have fewer.
        let target = UnsafeMutableRawPointer(output)
        target.copyMemory(from: ids, byteCount: 16)
        if count > 4 { (target + 16).copyMemory(from: ids + 16, byteCount: 28) }
        return count
    }

    /// Keeps a piece's ids, if they are few enough.
    func store(_ key: Key, _ ids: UnsafePointer<Int32>, count: Int) {
        guard count <= Self.maximumIDs else { return }
        let entry = entry(key)
        entry.storeBytes(of: key.low, as: UInt64.self)
        entry.storeBytes(of: key.high, toByteOffset: 8, as: UInt64.self)
        entry.storeBytes(of: UInt32(key.length | count << 8), toByteOffset: 16, as: UInt32.self)
        (entry + 20).copyMemory(from: ids, byteCount: count * 4)
    }
}
