import Datasets
import TestSupport
import Testing

@Suite("The order of training blocks")
struct BlockScheduleTests {
    @Test("each start comes exactly once an epoch, in every small world and in random ones")
    func permutations() {
        var generator = SeededGenerator(seed: 7)
        let sizes = Array(1...70) + (0..<30).map { _ in Int.random(in: 71...5000, using: &generator) }
        for starts in sizes {
            let seed = generator.next()
            let blockSize = Int.random(in: 1...100, using: &generator)
            let schedule = BlockSchedule(seed: seed, tokens: starts + blockSize, blockSize: blockSize)
            #expect(schedule.blocksPerEpoch == starts)
            for epoch: UInt64 in [0, 1, 1 << 33] {
                var seen = [Bool](repeating: false, count: starts)
                for block in 0..<UInt64(starts) {
                    let start = schedule.start(ofBlock: epoch * UInt64(starts) + block)
                    #expect(start >= 0 && start < starts && !seen[start], "seed \(seed), \(starts) starts, epoch \(epoch), block \(block)")
                    seen[start] = true
                }
            }
        }
    }

    @Test("epochs and seeds differ in their order")
    func orders() {
        let schedule = BlockSchedule(seed: 1, tokens: 1064, blockSize: 64)
        let other = BlockSchedule(seed: 2, tokens: 1064, blockSize: 64)
        let order = { (schedule: BlockSchedule, epoch: UInt64) in (0..<1000).map { schedule.start(ofBlock: epoch * 1000 + UInt64($0)) } }
        #expect(order(schedule, 0) != order(schedule, 1))
        #expect(order(schedule, 0) != order(other, 0))
        #expect(order(schedule, 0) != (0..<1000).map { $0 })
    }

    @Test("every start is about equally likely at every place")
    func uniform() {
        // 16 starts, 4,000 seeds: chi-square of the first block's start with 15 degrees of freedom.
        var counts = [Int](repeating: 0, count: 16)
        for seed in 0..<4000 as Range<UInt64> { counts[BlockSchedule(seed: seed, tokens: 17, blockSize: 1).start(ofBlock: 0)] += 1 }
        let chi = counts.reduce(0.0) { $0 + (Double($1) - 250) * (Double($1) - 250) / 250 }
        #expect(chi < 44.3, "beyond 1 in 10,000: \(counts)")
    }

    @Test("too little text for one block is an error that names both numbers")
    func tooShort() {
        for tokens in [-1, 0, 63, 64] {
            #expect(datasetError { try BlockSchedule.check(tokens: tokens, blockSize: 64) } == .tooShort(tokens: tokens, blockSize: 64))
        }
        #expect(datasetError { try BlockSchedule.check(tokens: 64, blockSize: 0) } != nil)
    }

    @Test("the order is frozen: changing it changes what every seed trains")
    func golden() {
        let small = BlockSchedule(seed: 12_345_678, tokens: 1064, blockSize: 64)
        #expect((0..<12).map { small.start(ofBlock: $0) } == [985, 266, 161, 370, 623, 533, 741, 279, 349, 941, 406, 560])
        let large = BlockSchedule(seed: 0xFFFF_FFFF_FFFF_FFFF, tokens: 3_000_000_000, blockSize: 1024)
        let frozen = [2_219_360_004, 998_126_834, 861_281_958, 1_039_100_416, 2_418_284_054]
        #expect([0, 1, 2, 5_999_997_951, 1 << 63].map { large.start(ofBlock: $0) } == frozen)
    }
}
