import CKernels

/// A text inside an inference session: its cached positions.
package struct SequenceID: Hashable, Sendable {
    let index: Int32
}

/// The sequences of a session and their page tables, flat, so that a step follows pointers only.
final class SequenceTable {
    private let pool: KeyValuePool
    private let pagesPerSequence: Int
    private let pages: UnsafeMutablePointer<Int32>
    private let addresses: UnsafeMutablePointer<UnsafeMutablePointer<Float>?>
    private var lengths: [Int]
    private var free: [Int32]

    init(capacity: Int, contextLength: Int, pool: KeyValuePool) {
        self.pool = pool
        pagesPerSequence = Self.pageCount(contextLength)
        pages = .allocate(capacity: capacity * pagesPerSequence)
        pages.initialize(repeating: -1, count: capacity * pagesPerSequence)
        addresses = .allocate(capacity: capacity * pagesPerSequence)
        addresses.initialize(repeating: nil, count: capacity * pagesPerSequence)
        lengths = [Int](repeating: -1, count: capacity)
        free = (0..<Int32(capacity)).reversed()
    }

    deinit {
        pages.deallocate()
        addresses.deallocate()
    }

    /// Pages that hold this many positions.
    static func pageCount(_ positions: Int) -> Int { (positions + Int(CK_PAGE_POSITIONS) - 1) / Int(CK_PAGE_POSITIONS) }

    /// A new, empty sequence, or nil where all are taken.
    func make() -> SequenceID? {
        guard let index = free.popLast() else { return nil }
        lengths[Int(index)] = 0
        return SequenceID(index: index)
    }

    /// Cached positions.
    func length(_ id: SequenceID) -> Int { lengths[Int(id.index)] }

    /// The page table that the attention kernel reads.
    func table(_ id: SequenceID) -> UnsafeMutablePointer<UnsafeMutablePointer<Float>?> { addresses + Int(id.index) * pagesPerSequence }

    /// A sequence with the first `length` positions of another, sharing their pages.
    func fork(_ parent: SequenceID, length: Int) -> SequenceID? {
        precondition(length <= self.length(parent), "a fork cannot be longer than its parent")
        guard let child = make() else { return nil }
        let (from, to) = (Int(parent.index) * pagesPerSequence, Int(child.index) * pagesPerSequence)
        for slot in 0..<Self.pageCount(length) {
            pool.retain(pages[from + slot])
            set(to + slot, pages[from + slot])
        }
        lengths[Int(child.index)] = length
        return child
    }

    /// Makes room for `count` more positions and counts them as cached.
    /// - Returns: false where pages ran out; the sequence is then as it was.
    func extend(_ id: SequenceID, by count: Int) -> Bool {
        let base = Int(id.index) * pagesPerSequence
        let length = lengths[Int(id.index)]
        if length % Int(CK_PAGE_POSITIONS) != 0 {
            let slot = base + length / Int(CK_PAGE_POSITIONS)
            guard let page = pool.writable(pages[slot]) else { return false }
            if page != pages[slot] { set(slot, page) }
        }
        let (held, needed) = (Self.pageCount(length), Self.pageCount(length + count))
        for slot in held..<max(held, needed) {
            guard let page = pool.take() else {
                for taken in held..<slot { clear(base + taken) }
                return false
            }
            set(base + slot, page)
        }
        lengths[Int(id.index)] = length + count
        return true
    }

    /// Forgets the positions from `length` on.
    func truncate(_ id: SequenceID, to length: Int) {
        precondition(length <= self.length(id), "a sequence cannot be truncated to more than it holds")
        let base = Int(id.index) * pagesPerSequence
        for slot in Self.pageCount(length)..<max(Self.pageCount(length), Self.pageCount(self.length(id))) { clear(base + slot) }
        lengths[Int(id.index)] = length
    }

    /// Gives the sequence and its pages back.
    func release(_ id: SequenceID) {
        truncate(id, to: 0)
        lengths[Int(id.index)] = -1
        free.append(id.index)
    }

    private func set(_ slot: Int, _ page: Int32) {
        pages[slot] = page
        addresses[slot] = pool.base(page)
    }

    private func clear(_ slot: Int) {
        pool.release(pages[slot])
        pages[slot] = -1
        addresses[slot] = nil
    }
}
