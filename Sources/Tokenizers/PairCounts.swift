/// How often each pair of neighbours occurs, and in which words it appeared since it was last asked. Slots are numbered by first appearance.
struct PairCounts {
    private var keys: [UInt64] = []
    private var counts: [Int64] = []
    private var words: [[Int32]] = []
    /// Slot + 1, or 0 where empty; at most half full.
    private var table = [Int32](repeating: 0, count: 1 << 14)

    func count(_ slot: Int) -> Int64 { counts[slot] }

    /// The pair as left << 32 | right: its order is that of the ids.
    func pair(_ slot: Int) -> UInt64 { keys[slot] }

    /// Adds to a pair's count and returns its slot.
    @inline(__always)
    mutating func add(_ left: Int32, _ right: Int32, _ change: Int64) -> Int {
        let key = UInt64(UInt32(bitPattern: left)) << 32 | UInt64(UInt32(bitPattern: right))
        let mask = table.count - 1
        var place = Self.hash(key) & mask
        while table[place] != 0 {
            let slot = Int(table[place]) - 1
            if keys[slot] == key {
                counts[slot] += change
                return slot
            }
            place = (place + 1) & mask
        }
        return insert(key, change, place)
    }

    /// Remembers that the pair appeared in a word.
    /// - Returns: whether it is the first word since ``takeWords(_:)``.
    @inline(__always)
    mutating func note(_ word: Int32, at slot: Int) -> Bool {
        // Words come one after the other, so a repetition is at the end.
        if let last = words[slot].last {
            if last != word { words[slot].append(word) }
            return false
        }
        words[slot].append(word)
        return true
    }

    /// The words noted since the last call.
    mutating func takeWords(_ slot: Int) -> [Int32] {
        let taken = words[slot]
        words[slot] = []
        return taken
    }

    private mutating func insert(_ key: UInt64, _ change: Int64, _ place: Int) -> Int {
        keys.append(key)
        counts.append(change)
        words.append([])
        table[place] = Int32(keys.count)
        if keys.count * 2 > table.count { grow() }
        return keys.count - 1
    }

    private mutating func grow() {
        var larger = [Int32](repeating: 0, count: table.count * 2)
        let mask = larger.count - 1
        for (slot, key) in keys.enumerated() {
            var place = Self.hash(key) & mask
            while larger[place] != 0 { place = (place + 1) & mask }
            larger[place] = Int32(slot + 1)
        }
        table = larger
    }

    @inline(__always)
    private static func hash(_ key: UInt64) -> Int { Int(truncatingIfNeeded: (key &* 0x9E37_79B9_7F4A_7C15) >> 24) }
}

/// A heap of pairs: the most frequent first, the lowest ids among equals.
struct MergeQueue {
    struct Entry {
        var count: Int64
        /// left << 32 | right.
        var pair: UInt64
        /// The pair's place in ``PairCounts``.
        var slot: Int32
        /// Where the entry's words are kept.
        var positions: Int32

        @inline(__always)
        func precedes(_ other: Entry) -> Bool { count != other.count ? count > other.count : pair < other.pair }
    }

    private var entries: [Entry] = []

    mutating func push(_ entry: Entry) {
        entries.append(entry)
        var child = entries.count - 1
        while child > 0 {
            let parent = (child - 1) / 2
            guard entry.precedes(entries[parent]) else { break }
            entries[child] = entries[parent]
            child = parent
        }
        entries[child] = entry
    }

    mutating func pop() -> Entry? {
        guard let top = entries.first else { return nil }
        let last = entries.removeLast()
        guard !entries.isEmpty else { return top }
        var parent = 0
        while true {
            var child = 2 * parent + 1
            guard child < entries.count else { break }
            if child + 1 < entries.count, entries[child + 1].precedes(entries[child]) { child += 1 }
            guard entries[child].precedes(last) else { break }
            entries[parent] = entries[child]
            parent = child
        }
        entries[parent] = last
        return top
    }
}
