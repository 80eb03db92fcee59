import Foundation
import QueueSimulation
import Testing

/// The store that simulations believe in, held to the one that the product runs on: the same requests, the same answers, the same rows.
///
/// `CONFORMANCE_SEED=<n>` runs one script again and tells its steps, `CONFORMANCE_SCRIPTS=<n>` chooses how many.
@Suite("Conformance") struct ConformanceTests {
    private static let environment = ProcessInfo.processInfo.environment

    @Test("the model answers like PostgreSQL, and records the same, whatever it is asked") func scripts() throws {
        let store = try PostgreSQLUnderTest()
        if let seed = Self.environment["CONFORMANCE_SEED"].flatMap(UInt64.init) {
            let difference = try ConformanceRun(seed: seed, on: store).difference(of: ModelUnderTest())
            #expect(difference == nil, "\(difference ?? "")")
            return
        }
        var broken = 0
        for seed in UInt64(0)..<(Self.environment["CONFORMANCE_SCRIPTS"].flatMap(UInt64.init) ?? 250) where broken < 5 {
            guard let difference = try ConformanceRun(seed: seed, on: store).difference(of: ModelUnderTest()) else { continue }
            broken += 1
            Issue.record("\(difference)")
        }
    }

    @Test("a guard that is left out of the model is noticed") func mutations() throws {
        let store = try PostgreSQLUnderTest()
        // A script's requests follow one another: nobody takes a task between a claim's look and its locks.
        var unnoticed = ModelStore.Mutation.allCases.filter { $0 != .claimOfTakenTask }
        for seed in UInt64(1_000_000)..<1_000_200 where !unnoticed.isEmpty {
            let run = try ConformanceRun(seed: seed, on: store)
            unnoticed = try unnoticed.filter { mutation in try run.difference(of: ModelUnderTest(mutation: mutation)) == nil }
        }
        #expect(unnoticed.isEmpty)
    }
}
