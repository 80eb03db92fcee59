/// Applies the merges to the symbols of one piece, in place: lowest rank first, leftmost on equal rank.
///
/// Short pieces are searched linearly, which beats any queue; long ones (a megabyte without a space is one piece) take a heap
/// over a linked list, O(n log n).
struct Merging: ~Copyable {
    /// Up to this many symbols the linear search is used. Both ways give the same ids.
    static let linearLimit = 48

    private var ranks: [UInt32] = []
    private var merged: [Int32] = []
    private var next: [Int32] = []
    private var previous: [Int32] = []
    private var heap: [UInt64] = []

    init() {}

    /// - Returns: how many symbols are left at the front of `symbols`.
    mutating func apply(_ pairs: PairTable, _ symbols: UnsafeMutablePointer<Int32>, _ count: Int, linearLimit: Int = Self.linearLimit) -> Int {
        if count < 2 { return count }
        return count <= linearLimit ? mergeShort(pairs, symbols, count) : mergeLong(pairs, symbols, count)
    }

    private mutating func mergeShort(_ pairs: PairTable, _ symbols: UnsafeMutablePointer<Int32>, _ count: Int) -> Int {
        if ranks.count < count {
            ranks = [UInt32](repeating: 0, count: max(count, 64))
            merged = [Int32](repeating: 0, count: max(count, 64))
        }
        return ranks.withUnsafeMutableBufferPointer { rankBuffer in
            merged.withUnsafeMutableBufferPointer { mergedBuffer in
                guard let ranks = rankBuffer.baseAddress, let merged = mergedBuffer.baseAddress else { return count }
                return Self.mergeLinearly(pairs, symbols, ranks, merged, count)
            }
        }
    }

    private static func mergeLinearly(
        _ pairs: PairTable, _ symbols: UnsafeMutablePointer<Int32>, _ ranks: UnsafeMutablePointer<UInt32>,
        _ merged: UnsafeMutablePointer<Int32>, _ count: Int
    ) -> Int {
        // Invariant: ranks[i] and merged[i] describe the pair (symbols[i], symbols[i + 1]).
        var count = count
        for index in 0..<count - 1 { (ranks[index], merged[index]) = pairs.find(symbols[index], symbols[index + 1]) }
        while count > 1 {
            var best = PairTable.none
            var place = 0
            for index in 0..<count - 1 where ranks[index] < best {
                best = ranks[index]
                place = index
            }
            if best == PairTable.none { break }
            symbols[place] = merged[place]
            for index in place + 1..<count - 1 {
                symbols[index] = symbols[index + 1]
                ranks[index] = ranks[index + 1]
                merged[index] = merged[index + 1]
            }
            count -= 1
            if place > 0 { (ranks[place - 1], merged[place - 1]) = pairs.find(symbols[place - 1], symbols[place]) }
            if place < count - 1 { (ranks[place], merged[place]) = pairs.find(symbols[place], symbols[place + 1]) }
        }
        return count
    }

    private mutating func mergeLong(_ pairs: PairTable, _ symbols: UnsafeMutablePointer<Int32>, _ count: Int) -> Int {
        // A position is dead when another was merged over it; a heap entry is stale when its rank is no longer its position's.
        ranks = [UInt32](repeating: PairTable.none, count: count)
        merged = [Int32](repeating: -1, count: count)
        next = (1...Int32(count)).map { $0 }
        previous = (-1..<Int32(count) - 1).map { $0 }
        heap.removeAll(keepingCapacity: true)
        for index in 0..<count - 1 {
            (ranks[index], merged[index]) = pairs.find(symbols[index], symbols[index + 1])
            if ranks[index] != PairTable.none { heap.append(UInt64(ranks[index]) << 32 | UInt64(index)) }
        }
        heapify()
        while let top = popHeap() {
            let place = Int(top & 0xFFFF_FFFF)
            guard ranks[place] == UInt32(top >> 32) else { continue }
            symbols[place] = merged[place]
            let dead = Int(next[place])
            ranks[dead] = PairTable.none
            let after = Int(next[dead])
            next[place] = Int32(after)
            if after < count { previous[after] = Int32(place) }
            ranks[place] = PairTable.none
            if after < count { renew(place, symbols[place], symbols[after], pairs) }
            let before = Int(previous[place])
            if before >= 0 { renew(before, symbols[before], symbols[place], pairs) }
        }
        var written = 0
        var index = 0
        while index < count {
            symbols[written] = symbols[index]
            written += 1
            index = Int(next[index])
        }
        return written
    }

    /// Looks a changed pair up and queues it.
    private mutating func renew(_ place: Int, _ left: Int32, _ right: Int32, _ pairs: PairTable) {
        (ranks[place], merged[place]) = pairs.find(left, right)
        if ranks[place] != PairTable.none { pushHeap(UInt64(ranks[place]) << 32 | UInt64(place)) }
    }

    private mutating func heapify() {
        var index = heap.count / 2 - 1
        while index >= 0 {
            siftDown(index)
            index -= 1
        }
    }

    private mutating func pushHeap(_ entry: UInt64) {
        heap.append(entry)
        var child = heap.count - 1
        while child > 0 {
            let parent = (child - 1) / 2
            if heap[parent] <= entry { break }
            heap[child] = heap[parent]
            child = parent
        }
        heap[child] = entry
    }

    private mutating func popHeap() -> UInt64? {
        guard let top = heap.first else { return nil }
        let last = heap.removeLast()
        if !heap.isEmpty {
            heap[0] = last
            siftDown(0)
        }
        return top
    }

    private mutating func siftDown(_ start: Int) {
        let entry = heap[start]
        var parent = start
        while true {
            var child = 2 * parent + 1
            guard child < heap.count else { break }
            if child + 1 < heap.count && heap[child + 1] < heap[child] { child += 1 }
            if heap[child] >= entry { break }
            heap[parent] = heap[child]
            parent = child
        }
        heap[parent] = entry
    }
}
