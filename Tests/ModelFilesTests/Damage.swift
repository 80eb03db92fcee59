import Glibc
import TestSupport
import Testing

/// Damages files at random and looks on.
enum Damage {
    /// Runs `read` on truncations and bit flips of `bytes`: it may fail or succeed, but must come back without having taken memory
    /// that the file does not justify.
    /// - Parameter save: puts the damaged bytes where `read` looks.
    static func many(_ bytes: [UInt8], rounds: Int, seed: UInt64, save: ([UInt8]) throws -> Void, read: () throws -> Void) throws {
        var generator = SeededGenerator(seed: seed)
        let before = peakKilobytes
        var survived = 0
        for _ in 0..<rounds {
            var damaged = bytes
            if Bool.random(using: &generator) { damaged.removeLast(Int.random(in: 0...bytes.count, using: &generator)) }
            for _ in 0..<Int.random(in: 0...8, using: &generator) where !damaged.isEmpty {
                let position = Int.random(in: 0..<damaged.count, using: &generator)
                damaged[position] = Bool.random(using: &generator) ? damaged[position] ^ 1 << UInt8.random(in: 0...7, using: &generator) : .max
            }
            try save(damaged)
            if (try? read()) != nil { survived += 1 }
        }
        #expect(survived < rounds, "seed \(seed): no damage was ever noticed")
        #expect(peakKilobytes - before < 300_000, "seed \(seed): the reader took \((peakKilobytes - before) / 1000) MB")
    }

    private static var peakKilobytes: Int {
        var usage = rusage()
        getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
        return usage.ru_maxrss
    }
}
