import Testing

@Suite struct SimulationTests {
    /// Histories a block; ten blocks run side by side.
    private static let perBlock: UInt64 = 1_000

    @Test("in no history is an accepted task lost, or one completed twice", arguments: 0..<10)
    func histories(block: Int) {
        for number in 0..<Self.perBlock {
            let seed = UInt64(block) * Self.perBlock + number
            let world = World(seed: seed)
            let isSettled = world.run()
            let broken = world.violations()
            #expect(isSettled && broken.isEmpty, "seed \(seed): \(isSettled ? "" : "not settled; ")\(broken.prefix(3).joined(separator: "; "))")
            if !isSettled || !broken.isEmpty { return }
        }
    }

    @Test("a seed replays")
    func replay() {
        for seed in UInt64(0)..<20 {
            let first = World(seed: seed)
            let second = World(seed: seed)
            _ = first.run()
            _ = second.run()
            #expect(first.fingerprint == second.fingerprint, "seed \(seed)")
        }
    }
}
