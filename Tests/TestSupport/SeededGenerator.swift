/// A random number generator with a seed, so that a property test that failed can be run again.
///
/// SplitMix64 (Steele, Lea, Flood 2014). Print the seed where a test fails.
package struct SeededGenerator: RandomNumberGenerator, Sendable {
    private var state: UInt64

    /// - Parameter seed: any value; equal seeds give equal sequences on every machine.
    package init(seed: UInt64) { state = seed }

    package mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
}

extension SeededGenerator {
    /// True so often in a thousand.
    package mutating func chance(_ permille: Int) -> Bool { Int(next() % 1_000) < permille }

    /// A number from 0 up to, not including, a bound.
    package mutating func below(_ bound: Int) -> Int { Int(next() % UInt64(max(1, bound))) }
}
