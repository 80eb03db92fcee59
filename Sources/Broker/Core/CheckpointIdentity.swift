package import TaskProtocol

extension UUIDValue {
    /// The id of a finetune's checkpoint: made of its task and step alone, so that whichever broker is told of it, however often, it is one row.
    ///
    /// A version-7 id with the time of the task's own; the random bits are a mix (SplitMix64's finaliser) of task and step.
    package static func ofCheckpoint(task: TaskID, step: Int) -> UUIDValue {
        let first = mixed(task.lo &+ 0x9E37_79B9_7F4A_7C15 &* UInt64(truncatingIfNeeded: step &+ 1))
        let second = mixed(first ^ task.hi)
        return UUIDValue(hi: task.hi & ~0xFFFF | 0x7000 | first >> 52, lo: second & ~(3 << 62) | 1 << 63)
    }

    private static func mixed(_ value: UInt64) -> UInt64 {
        var z = value
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
}
