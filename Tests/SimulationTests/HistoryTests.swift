import FoundationEssentials
import QueueSimulation
import TaskProtocol
import Testing
import Worker

/// The broker's and the worker's own logic against each other, over a network that loses, delays, doubles and reorders, with machines and
/// a database that fail. `SIMULATION_HISTORY=<n>` runs one history again, `SIMULATION_HISTORIES=<n>` chooses how many.
@Suite struct HistoryTests {
    /// One a processor; each history is the same in any part.
    private static let partCount = max(8, ProcessInfo.processInfo.activeProcessorCount)

    @Test("in 10,000 histories no accepted task is lost and none is completed twice", arguments: 0..<partCount)
    func histories(part: Int) {
        let environment = ProcessInfo.processInfo.environment
        if let number = environment["SIMULATION_HISTORY"].flatMap(UInt64.init) {
            guard part == 0 else { return }
            #expect(Histories.world(number).run() == [], "history \(number)")
            return
        }
        let count = environment["SIMULATION_HISTORIES"].flatMap(Int.init) ?? 10_000
        var seen = Tally()
        let perBeginning = Int(Histories.perBeginning)
        if part * perBeginning >= count { return }
        for first in stride(from: part * perBeginning, to: count, by: Self.partCount * perBeginning) where seen.broken < 5 {
            let histories = Histories(around: UInt64(first))
            for number in histories.numbers {
                let world = histories[number]
                let faults = world.run()
                #expect(faults == [], "SIMULATION_HISTORY=\(number)")
                seen.add(world, faults: faults.count)
            }
        }
        guard count >= 1_000 else { return }
        // The trouble was real: machines fell, attempts were repeated, stale writes refused, some tasks cancelled.
        #expect(seen.crashes > 0 && seen.succeeded > 0 && seen.repeated > 0, "\(seen)")
        if count >= 5000 { #expect(seen.stale > 0 && seen.cancelled > 0 && seen.lost > 0 && seen.retried > 0 && seen.unfit > 0, "\(seen)") }
    }

    private struct Tally {
        var crashes = 0
        var succeeded = 0
        var cancelled = 0
        var repeated = 0
        var lost = 0
        var stale = 0
        var retried = 0
        var unfit = 0
        var broken = 0

        mutating func add(_ world: SimulatedWorld, faults: Int) {
            crashes += world.crashes
            stale += world.store.staleWrites
            unfit += world.machineFaults
            broken += faults > 0 ? 1 : 0
            for task in world.store.tasks.values {
                succeeded += task.state == .succeeded ? 1 : 0
                cancelled += task.state == .cancelled ? 1 : 0
                repeated += task.attempt > 1 ? 1 : 0
                lost += task.losses > 0 ? 1 : 0
                retried += task.retries > 0 ? 1 : 0
            }
        }
    }

    @Test("whatever goes wrong, every worker that lives comes to hold what it was told to preload, and no task suffers for it")
    func preloads() {
        let preloads = [PreloadRequest(model: "demo"), PreloadRequest(model: "demo", precision: .int8)]
        for number in stride(from: UInt64(0), to: 200 * Histories.perBeginning, by: Int(Histories.perBeginning)) {
            #expect(Histories.world(number, preloads: preloads).run() == [], "history \(number)")
        }
    }

    @Test("a history's number replays it, alone and after others of its beginning")
    func replays() {
        let perBeginning = Histories.perBeginning
        for first in stride(from: 0, to: 4 * perBeginning, by: Int(perBeginning)) {
            let histories = Histories(around: first)
            var fingerprints: Set<UInt64> = []
            for number in histories.numbers {
                let among = histories[number]
                let alone = Histories.world(number)
                #expect(among.run() == alone.run())
                #expect(among.fingerprint == alone.fingerprint, "history \(number)")
                fingerprints.insert(among.fingerprint)
            }
            #expect(fingerprints.count == Int(perBeginning), "they are as many ways to go on")
        }
    }
}
