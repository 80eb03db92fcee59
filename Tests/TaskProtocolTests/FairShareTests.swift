import TaskProtocol
import TestSupport
import Testing

@Suite("Fair shares") struct FairShareTests {
    @Test("one client's line is served as it stands") func alone() {
        #expect(FairShare.order(["a", "a", "a"], after: "a") == [0, 1, 2])
        #expect(FairShare.order([], after: nil) == [])
    }

    @Test("several clients take turns, beginning behind the one served last") func turns() {
        #expect(FairShare.order(["a", "a", "a", "b", "c"], after: nil) == [0, 3, 4, 1, 2])
        #expect(FairShare.order(["a", "a", "a", "b", "c"], after: "a") == [3, 4, 0, 1, 2])
        #expect(FairShare.order(["a", "a", "b"], after: "z") == [0, 2, 1])
        #expect(FairShare.order(["a", "c", "c"], after: "b") == [1, 0, 2])
    }

    @Test("every task is served once, each client's in its order, and no client twice before another that waits", arguments: 0..<200)
    func property(_ seed: Int) {
        var random = SeededGenerator(seed: UInt64(seed))
        let names = (0..<Int.random(in: 1...6, using: &random)).map { "c\($0)" }
        let clients = (0..<Int.random(in: 0...60, using: &random)).map { _ in names.randomElement(using: &random) ?? "" }
        let last = Bool.random(using: &random) ? names.randomElement(using: &random) : nil
        let order = FairShare.order(clients, after: last)
        #expect(order.sorted() == Array(clients.indices), "seed \(seed)")
        for name in names {
            let own = order.filter { clients[$0] == name }
            #expect(own == own.sorted(), "seed \(seed)")
        }
        // Whatever the number of tasks that there is room for, nobody has two more of them than another who still waits.
        for room in 0...order.count {
            let served = Dictionary(grouping: order.prefix(room), by: { clients[$0] }).mapValues(\.count)
            let waiting = Set(order.dropFirst(room).map { clients[$0] })
            for name in waiting {
                for other in served.values { #expect(other <= (served[name] ?? 0) + 1, "seed \(seed), room \(room)") }
            }
        }
    }
}
