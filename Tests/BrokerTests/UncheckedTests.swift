import Broker
import Encodings
import QueueSimulation
import TaskProtocol
import Testing

/// More tasks published in SQL than a look reads, which cannot be checked yet: somebody's transaction holds them.
@Suite struct UncheckedTests {
    private static let batch = 10

    private func bench() -> CoreBench {
        var settings = BrokerSettings()
        settings.batchTasks = Self.batch
        var bench = CoreBench(settings: settings)
        bench.joinWorker(slots: 64)
        return bench
    }

    private func publish(_ bench: inout CoreBench, _ numbers: ClosedRange<UInt64>, held: Bool, runAt: Int64? = nil) {
        var publication = ModelStore.Publication(params: Array(#"{"model":"demo"}"#.utf8))
        publication.runAt = runAt
        for number in numbers {
            let id = UUIDValue(hi: 1, lo: number)
            bench.store.publish(publication, id: id, now: CoreBench.epoch)
            if held { bench.store.heldTasks.insert(id) }
        }
    }

    private func ran(_ bench: CoreBench, _ number: UInt64) -> Bool { (bench.store.tasks[UUIDValue(hi: 1, lo: number)]?.attempt ?? 0) > 0 }

    @Test("a task behind many that cannot be checked is run, and the old ones as soon as they can be", arguments: [10, 11, 35, 40] as [UInt64])
    func passed(count: UInt64) {
        var bench = bench()
        publish(&bench, 1...count, held: true)
        publish(&bench, count + 1...count + 1, held: false)
        bench.feed(.notified)
        bench.pass(6_000, heartbeats: true)
        #expect(ran(bench, count + 1))
        #expect(!(1...count).contains { ran(bench, $0) })
        // The oldest comes free while others go on being published behind it.
        bench.store.heldTasks.remove(UUIDValue(hi: 1, lo: 1))
        for second in 0..<8 as Range<UInt64> {
            publish(&bench, count + 10 + second...count + 10 + second, held: false)
            bench.pass(1_000, heartbeats: true)
        }
        #expect(ran(bench, 1))
        bench.store.heldTasks = []
        bench.pass(10_000, heartbeats: true)
        #expect((1...count).allSatisfy { ran(bench, $0) })
    }

    @Test("what can be checked is read at once, however much it is, and then no more")
    func flood() {
        var bench = bench()
        publish(&bench, 1...45, held: false)
        bench.feed(.notified)
        #expect((1...45).allSatisfy { ran(bench, $0) })
        let before = bench.store.tasks.count { $0.value.state == .running }
        bench.feed(.notified)
        #expect(bench.store.tasks.count { $0.value.state == .running } == before && before == 45)
    }

    @Test("many tasks for a later time are checked at once, too, and hold up none behind them")
    func later() {
        var bench = bench()
        publish(&bench, 1...45, held: false, runAt: CoreBench.epoch + 3_600_000)
        publish(&bench, 46...46, held: false)
        bench.feed(.notified)
        #expect(ran(bench, 46) && bench.store.tasks.values.allSatisfy { $0.block != .check })
    }

    @Test("while nothing can be checked a look reads one batch a sweep")
    func calm() {
        var bench = bench()
        publish(&bench, 1...95, held: true)
        bench.pass(2_000, heartbeats: true)
        let (looks, sweeps) = (bench.looksForUnchecked, bench.sweeps)
        bench.pass(20_000, heartbeats: true)
        #expect(bench.looksForUnchecked > looks && bench.looksForUnchecked - looks <= bench.sweeps - sweeps)
    }
}
