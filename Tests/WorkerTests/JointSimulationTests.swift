import FoundationEssentials
import QueueSimulation
import TaskProtocol
import Testing

/// The broker's and the worker's own logic against each other, over a network that loses, delays, doubles and reorders, with machines and
/// a database that fail. `SIMULATION_SEED=<n>` runs one history again, `SIMULATION_HISTORIES=<n>` chooses how many.
@Suite struct JointSimulationTests {
    private static let partCount = 8

    @Test("in 10,000 histories no accepted task is lost and none is completed twice", arguments: 0..<partCount)
    func histories(part: Int) {
        let environment = ProcessInfo.processInfo.environment
        if let seed = environment["SIMULATION_SEED"].flatMap(UInt64.init) {
            guard part == 0 else { return }
            var world = SimulatedWorld(seed: seed)
            #expect(world.run() == [], "seed \(seed)")
            return
        }
        let count = environment["SIMULATION_HISTORIES"].flatMap(Int.init) ?? 10_000
        var crashes = 0
        var succeeded = 0
        var failures = 0
        for history in stride(from: part, to: count, by: Self.partCount) {
            let seed = UInt64(history) &* 0x9E37_79B9 &+ 1
            var world = SimulatedWorld(seed: seed)
            let faults = world.run()
            #expect(faults == [], "SIMULATION_SEED=\(seed)")
            crashes += world.crashes
            succeeded += world.store.tasks.values.count { $0.state == .succeeded }
            if !faults.isEmpty { failures += 1 }
            if failures >= 5 { break }
        }
        #expect(crashes > 0 && succeeded > 0)
    }

    @Test("a seed replays its history")
    func replays() {
        var first = SimulatedWorld(seed: 77)
        var second = SimulatedWorld(seed: 77)
        #expect(first.run() == second.run())
        #expect(first.now == second.now)
        #expect(first.store.tasks.values.map(\.attempt).sorted() == second.store.tasks.values.map(\.attempt).sorted())
    }
}
