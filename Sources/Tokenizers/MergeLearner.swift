/// The trainer's inner loop: which pair is most frequent now, and what merging it changes.
///
/// Counts are kept for every pair ever seen, and corrected by each merge. A queue entry holds a pair, the count it had when queued, and the
/// words in which the pair appeared *in that step*; an entry whose count is out of date goes back with the present one. A pair that appears
/// anew (when two ways of merging spell the same token) gets a second entry with its own words, as in `tokenizers`.
struct MergeLearner {
    struct Merge {
        var left: Int32
        var right: Int32
    }

    /// Token names by id.
    private(set) var spellings: ByteStringTable
    private(set) var merges: [Merge] = []

    /// All words' symbols end to end; word w has `lengths[w]` of them from `starts[w]` on.
    private var symbols: [Int32] = []
    private var starts: [Int] = []
    private var lengths: [Int32] = []
    private let counts: [Int64]

    private var pairs = PairCounts()
    private var queue = MergeQueue()
    /// The words of each queue entry.
    private var positions: [[Int32]] = []
    /// Pairs that gained words in this step; their words wait in ``PairCounts``.
    private var touched: [Int32] = []

    init(words: ByteStringTable, counts: [Int64], idOfByte: [Int32], spellings names: [[UInt8]]) {
        spellings = ByteStringTable(minimumCapacity: names.count)
        for name in names { _ = spellings.insert(name) }
        self.counts = counts
        starts.reserveCapacity(words.count)
        lengths.reserveCapacity(words.count)
        for word in 0..<words.count {
            starts.append(symbols.count)
            words.withKey(word) { bytes in
                for byte in bytes { symbols.append(idOfByte[Int(byte)]) }
                lengths.append(Int32(bytes.count))
            }
        }
    }

    mutating func learn(vocabularySize: Int, minimumFrequency: Int, progress: (_ done: Int, _ total: Int) -> Void) {
        countPairs()
        queueTouched()
        while spellings.count < vocabularySize, let top = queue.pop() {
            let count = pairs.count(Int(top.slot))
            if count != top.count {
                // As in `tokenizers`: put back with the present count, whatever it is.
                queue.push(MergeQueue.Entry(count: count, pair: top.pair, slot: top.slot, positions: top.positions))
                continue
            }
            if count < 1 || count < Int64(minimumFrequency) { break }
            let left = Int32(truncatingIfNeeded: top.pair >> 32)
            let right = Int32(truncatingIfNeeded: top.pair & 0xFFFF_FFFF)
            let merged = Int32(spellings.insert(spellings.key(Int(left)) + spellings.key(Int(right))).index)
            merges.append(Merge(left: left, right: right))
            let words = positions[Int(top.positions)]
            positions[Int(top.positions)] = []
            for word in words { merge(left, right, into: merged, word: Int(word)) }
            queueTouched()
            if merges.count & 0x3F == 0 { progress(spellings.count, vocabularySize) }
        }
    }

    private mutating func countPairs() {
        for word in 0..<lengths.count where lengths[word] > 1 {
            for place in starts[word]..<starts[word] + Int(lengths[word]) - 1 {
                change(symbols[place], symbols[place + 1], by: counts[word], word: word)
            }
        }
    }

    /// Corrects a pair's count; one that gained has `word` among its new words.
    @inline(__always)
    private mutating func change(_ left: Int32, _ right: Int32, by count: Int64, word: Int) {
        let slot = pairs.add(left, right, count)
        if count > 0, pairs.note(Int32(word), at: slot) { touched.append(Int32(slot)) }
    }

    /// Replaces the pair in one word and corrects the counts of its neighbours, as `Word::merge` does.
    private mutating func merge(_ left: Int32, _ right: Int32, into merged: Int32, word: Int) {
        let start = starts[word]
        let count = counts[word]
        var length = Int(lengths[word])
        var read = 0
        var written = 0
        while read < length {
            if symbols[start + read] == left, read + 1 < length, symbols[start + read + 1] == right {
                if written > 0 {
                    change(symbols[start + written - 1], left, by: -count, word: word)
                    change(symbols[start + written - 1], merged, by: count, word: word)
                }
                if read + 2 < length {
                    change(right, symbols[start + read + 2], by: -count, word: word)
                    change(merged, symbols[start + read + 2], by: count, word: word)
                }
                symbols[start + written] = merged
                read += 2
            } else {
                symbols[start + written] = symbols[start + read]
                read += 1
            }
            written += 1
        }
        length = written
        lengths[word] = Int32(length)
    }

    private mutating func queueTouched() {
        for slot in touched {
            let words = pairs.takeWords(Int(slot))
            let count = pairs.count(Int(slot))
            guard count > 0 else { continue }
            queue.push(MergeQueue.Entry(count: count, pair: pairs.pair(Int(slot)), slot: slot, positions: Int32(positions.count)))
            positions.append(words)
        }
        touched.removeAll(keepingCapacity: true)
    }
}
