/// Which pair of neighbouring tokens merges, in which order, into what: pair → (rank, merged id).
///
/// Open addressing in one block, at most half full: a lookup is one cache miss at worst. Built once, then only read.
/// `@unchecked Sendable`: nothing is written after the tokenizer that owns it is made.
final class PairTable: @unchecked Sendable {
    private struct Slot {
        var pair: UInt64
        var rank: UInt32
        var merged: Int32
    }

    /// The rank of a pair that does not merge.
    static let none = UInt32.max

    private let slots: UnsafeMutablePointer<Slot>
    private let shift: UInt64
    private let mask: Int

    /// - Parameter capacity: how many pairs will be inserted at most.
    init(capacity: Int) {
        var bits = 4
        while 1 << bits < capacity * 2 + 1 { bits += 1 }
        shift = UInt64(64 - bits)
        mask = 1 << bits - 1
        slots = .allocate(capacity: mask + 1)
        slots.initialize(repeating: Slot(pair: .max, rank: Self.none, merged: -1), count: mask + 1)
    }

    deinit { slots.deallocate() }

    @inline(__always)
    private static func key(_ left: Int32, _ right: Int32) -> UInt64 {
        UInt64(UInt32(bitPattern: left)) << 32 | UInt64(UInt32(bitPattern: right))
    }

    /// Sets a pair's rank and result; a pair given twice keeps the later ones, as in `tokenizers`.
    func insert(_ left: Int32, _ right: Int32, rank: UInt32, merged: Int32) {
        let pair = Self.key(left, right)
        var slot = Int(truncatingIfNeeded: (pair &* 0x9E37_79B9_7F4A_7C15) >> shift)
        while slots[slot].pair != .max && slots[slot].pair != pair { slot = (slot + 1) & mask }
        slots[slot] = Slot(pair: pair, rank: rank, merged: merged)
    }

    /// The rank of a pair and what it becomes; ``none`` and -1 where it does not merge.
    @inline(__always)
    func find(_ left: Int32, _ right: Int32) -> (rank: UInt32, merged: Int32) {
        let pair = Self.key(left, right)
        var slot = Int(truncatingIfNeeded: (pair &* 0x9E37_79B9_7F4A_7C15) >> shift)
        while true {
            let entry = slots[slot]
            if entry.pair == pair || entry.pair == .max { return (entry.rank, entry.merged) }
            slot = (slot + 1) & mask
        }
    }
}
