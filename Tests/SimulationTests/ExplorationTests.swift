import FoundationEssentials
import QueueSimulation
import Testing

/// The same cores in a small scope, explored whole: two brokers, two workers, two tasks. `EXPLORATION_STRIDE=1` takes every pair of mishaps.
@Suite struct ExplorationTests {
    private static let partCount = 8

    @Test("nothing is lost or done twice, whatever one thing goes wrong, wherever")
    func one() {
        var exploration = Exploration(depth: 1)
        exploration.run()
        #expect(exploration.broken.isEmpty, "\(exploration.report)")
        #expect(exploration.histories > 500, "\(exploration.histories) histories")
    }

    @Test("nothing is lost or done twice, whatever two things go wrong", arguments: 0..<partCount)
    func two(part: Int) {
        let stride = ProcessInfo.processInfo.environment["EXPLORATION_STRIDE"].flatMap(Int.init) ?? 37
        var exploration = Exploration(depth: 2, stride: stride)
        exploration.run(part: part, of: Self.partCount)
        #expect(exploration.broken.isEmpty, "\(exploration.report)")
        print("\(exploration.histories) histories")
    }

    @Test("a guard that is left out is found by exploring one or two mishaps, or by weather", arguments: ModelStore.Mutation.allCases)
    func mutation(_ mutation: ModelStore.Mutation) {
        var exploration = Exploration(depth: 1, mutation: mutation)
        exploration.run()
        if !exploration.broken.isEmpty { return print("\(mutation): one, \(exploration.histories), \(exploration.report)") }
        for first in stride(from: UInt64(0), to: 60_000, by: Int(Histories.perBeginning)) {
            let histories = Histories(around: first, mutation: mutation)
            for number in histories.numbers where !histories[number].run().isEmpty { return print("\(mutation): history \(number)") }
        }
        Issue.record("nothing noticed \(mutation)")
    }
}
