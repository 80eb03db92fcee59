import Kernels
import Synchronization
import Testing

@Suite(.serialized) struct ThreadPoolTests {
    @Test("every part runs once, in many short loops of all sizes", arguments: [1, 2, 3, 5])
    func everyPartOnce(threads: Int) {
        let pool = ThreadPool(threads: threads)
        for round in 0..<3000 {
            let parts = round % 37
            let counts = (0..<max(parts, 1)).map { _ in Counter() }
            pool.run(parts: parts) { counts[$0].add() }
            #expect(counts.prefix(parts).allSatisfy { $0.value == 1 }, "round \(round)")
        }
    }

    @Test("what parts wrote is seen after the loop, also when the team slept in between")
    func writesAreSeen() {
        let pool = ThreadPool(threads: 3)
        var values = [Int](repeating: 0, count: 1000)
        for round in 1...60 {
            if round % 20 == 0 {
                // Long enough for the team to park: work outside of it, not a sleep.
                var waste = 0
                for index in 0..<2_000_000 { waste = waste &* 31 &+ index }
                #expect(waste != 1)
            }
            values.withUnsafeMutableBufferPointer { buffer in
                nonisolated(unsafe) let base = buffer.baseAddress!  // parts write disjoint elements
                pool.run(parts: 1000) { base[$0] += round }
            }
            #expect(values.allSatisfy { $0 == round * (round + 1) / 2 })
        }
    }

    @Test("pools come and go")
    func lifetimes() {
        for threads in 1...20 {
            let counter = Counter()
            ThreadPool(threads: threads % 4 + 1).run(parts: 50) { _ in counter.add() }
            #expect(counter.value == 50)
        }
    }

    final class Counter: Sendable {
        private let count = Atomic(0)
        func add() { count.add(1, ordering: .relaxed) }
        var value: Int { count.load(ordering: .relaxed) }
    }
}

@Suite struct InstructionSetTests {
    @Test("an instruction set that is not there is an error that lists what is")
    func unavailable() {
        #expect(InstructionSet.available.contains(.plain))
        do {
            try InstructionSet.select(named: "altivec")
            Issue.record("it was accepted")
        } catch {
            #expect(error == .unavailableInstructionSet(name: "altivec", available: InstructionSet.available))
            #expect(error.description.contains("plain"))
        }
    }

    @Test("a processor that has none is refused, whether a set is named or not, and told what it lacks", arguments: [nil, "", "plain"])
    func none(name: String?) {
        let error = #expect(throws: KernelError.self) { try InstructionSet.select(named: name, available: []) }
        #expect(error == .noInstructionSet && error?.description.contains("AVX2 or FMA") == true)
    }
}
