internal import TaskProtocol

/// Where ids, leases and seeds come from: the system's randomness, or a seed in simulation.
package struct IdentitySource: RandomNumberGenerator, Sendable {
    private var state: UInt64?

    /// - Parameter seed: nil takes the system's randomness: leases are fencing tokens that nobody should guess.
    package init(seed: UInt64? = nil) { state = seed }

    package mutating func next() -> UInt64 {
        guard var seeded = state else {
            var system = SystemRandomNumberGenerator()
            return system.next()
        }
        seeded &+= 0x9E37_79B9_7F4A_7C15
        state = seeded
        var z = seeded
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }

    /// An id that carries the database's time.
    mutating func timed(_ milliseconds: Int64) -> UUIDValue { UUIDValue.version7(milliseconds: milliseconds, random: &self) }

    /// A lease.
    mutating func lease() -> LeaseID { UUIDValue.random(using: &self) }
}
