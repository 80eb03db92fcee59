import Kernels

/// Where each training block starts: every start once an epoch, in an order that only the seed and the epoch decide.
///
/// A block may start at any of the first `tokens - blockSize` positions. An epoch is a permutation of them; epochs follow end to end, so
/// batches are always full. Nothing is stored: the permutation is a Feistel network over Philox on the next even number of bits, walked
/// until it lands within range (fewer than four steps on average), so that resuming needs the block's number alone.
///
/// Source: Luby and Rackoff 1988; Black and Rogaway 2002 for the walk. The order is frozen by golden values in the tests.
package struct BlockSchedule: Sendable {
    private static let rounds: UInt32 = 6

    private let seed: UInt64
    private let halfBits: UInt64
    private let halfMask: UInt64
    /// How many starts there are, thus blocks in an epoch.
    package let blocksPerEpoch: Int

    /// - Parameters:
    ///   - tokens: the dataset's count; greater than `blockSize`, which the caller has checked (``check(tokens:blockSize:)``).
    ///   - blockSize: at least 1.
    package init(seed: UInt64, tokens: Int, blockSize: Int) {
        precondition(blockSize > 0 && tokens > blockSize, "no block of \(blockSize) tokens starts within \(tokens)")
        self.seed = seed
        blocksPerEpoch = tokens - blockSize
        var bits: UInt64 = 1
        while 1 << (2 * bits) < UInt64(blocksPerEpoch) { bits += 1 }
        halfBits = bits
        halfMask = 1 << bits - 1
    }

    /// - Throws: ``DatasetError/tooShort(tokens:blockSize:)`` where there is no start.
    package static func check(tokens: Int, blockSize: Int) throws(DatasetError) {
        guard blockSize > 0, tokens > blockSize else { throw .tooShort(tokens: tokens, blockSize: blockSize) }
    }

    /// The start of block `index`, counted from the beginning of training: 0 … tokens - blockSize - 1.
    package func start(ofBlock index: UInt64) -> Int {
        let epoch = index / UInt64(blocksPerEpoch)
        var place = index % UInt64(blocksPerEpoch)
        repeat { place = permute(place, epoch) } while place >= UInt64(blocksPerEpoch)
        return Int(place)
    }

    private func permute(_ place: UInt64, _ epoch: UInt64) -> UInt64 {
        var left = place >> halfBits
        var right = place & halfMask
        for round in 0..<Self.rounds {
            let counter = SIMD4(
                UInt32(right), UInt32(truncatingIfNeeded: epoch), UInt32(truncatingIfNeeded: epoch >> 32),
                Philox.Purpose.blockOrder.rawValue | round << 4)
            let mixed = left ^ UInt64(Philox.block(seed: seed, counter: counter).x) & halfMask
            left = right
            right = mixed
        }
        return left << halfBits | right
    }
}
