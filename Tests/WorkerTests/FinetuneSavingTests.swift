import ArtifactStore
import DurableFiles
import Encodings
import Glibc
import TaskProtocol
import TestSupport
import Testing
import Worker

/// A finetune whose store goes away while it trains.
@Suite("Saving a finetune's states") struct FinetuneSavingTests {
    /// Each look at the clock is 20 seconds later, so the pause after a save in vain is over with the third step.
    private static func bench() throws -> EngineBench {
        let bench = try EngineBench()
        var time: Int64 = 0
        bench.engine.clock = {
            time += 20_000
            return time
        }
        return bench
    }

    /// Runs a finetune of eight steps that is saved after the fourth, with the store away from its first step on.
    private static func start(_ bench: inout EngineBench) throws -> (lease: LeaseID, reports: [EngineReport]) {
        let lease = bench.start(try EngineBench.finetune())
        var reports = bench.run { $0.contains(.started(lease)) }
        try #require(rename(bench.store.path, bench.store.path + "-away") == 0)
        let engine = bench.engine
        reports += bench.run { _ in !engine.complaints.isEmpty }
        return (lease, reports)
    }

    @Test("a state that cannot be saved now costs nothing: the training goes on, and it is saved and filed half a minute later")
    func goesOn() throws {
        var bench = try Self.bench()
        let (lease, early) = try Self.start(&bench)
        try #require(rename(bench.store.path + "-away", bench.store.path) == 0)
        let reports = early + bench.run()
        #expect(reports.checkpoints.map(\.step) == [7, 8])
        #expect(reports.failure(of: lease) == nil && reports.result(of: lease)?["steps"] == 8)
        #expect(bench.engine.complaints.count == 1)
    }

    @Test("samples that cannot be made now are left out, and the training goes on with the same bits")
    func leavesSamplesOut() throws {
        func train(isDiskAway: Bool) throws -> (reports: [EngineReport], lease: LeaseID, complaints: [String]) {
            var bench = try EngineBench()
            let lease = bench.start(
                try EngineBench.finetune {
                    ($0.generateEvery, $0.saveEvery) = (2, 0)
                })
            var reports = bench.run { $0.contains(.started(lease)) }
            let work = bench.folder.path + "/cache/work"
            if isDiskAway {
                // Nothing can be written where the task works; what it reads is open already.
                FileTree.remove(work)
                try DurableFile.write([1], to: work)
            }
            let engine = bench.engine
            reports += bench.run { reports in engine.complaints.count == 2 || reports.contains(where: Self.isSample) }
            if isDiskAway { FileTree.remove(work) }
            return (reports + bench.run(), lease, engine.complaints)
        }
        let (disturbed, whole) = (try train(isDiskAway: true), try train(isDiskAway: false))
        #expect(disturbed.reports.failure(of: disturbed.lease) == nil)
        #expect(disturbed.complaints.count == 2 && disturbed.complaints.allSatisfy { $0.contains("cannotSample") } && whole.complaints.isEmpty)
        #expect(disturbed.reports.count(where: Self.isSample) == 2 && whole.reports.count(where: Self.isSample) == 4)
        let result = try #require(disturbed.reports.result(of: disturbed.lease))
        #expect(result["steps"] == 8 && result["final_loss"] == whole.reports.result(of: whole.lease)?["final_loss"])
    }

    private static func isSample(_ report: EngineReport) -> Bool {
        guard case .events(_, let events) = report else { return false }
        return events.contains { if case .sample = $0 { true } else { false } }
    }

    @Test("the last state stays in memory while it cannot be saved, and is saved and filed once it can be: nothing is trained again")
    func lastWaits() throws {
        var bench = try Self.bench()
        let (lease, early) = try Self.start(&bench)
        let engine = bench.engine
        var reports = early + bench.run { _ in engine.complaints.count == 4 }
        #expect(reports.checkpoints.isEmpty && Self.steps(reports).last == 8)
        try #require(rename(bench.store.path + "-away", bench.store.path) == 0)
        reports += bench.run()
        #expect(reports.checkpoints.map(\.step) == [8] && reports.failure(of: lease) == nil)
        #expect(reports.result(of: lease)?["steps"] == 8 && Self.steps(reports) == Array(1...8))
        #expect(engine.complaints.count == 4)
    }

    @Test("a finetune whose last state waits can be stopped at any time")
    func lastCanBeStopped() throws {
        var bench = try Self.bench()
        let (lease, _) = try Self.start(&bench)
        let engine = bench.engine
        _ = bench.run { _ in engine.complaints.count == 3 }
        try #require(rename(bench.store.path + "-away", bench.store.path) == 0)
        engine.stop(lease, .draining)
        let reports = bench.run()
        let stopped = reports.stopped(lease)
        #expect(stopped.resume != nil && reports.result(of: lease) == nil)
    }

    @Test("the last state must be saved: where it cannot be for five minutes, the attempt fails, and another may follow")
    func lastMustBeSaved() throws {
        var bench = try Self.bench()
        let (lease, early) = try Self.start(&bench)
        let reports = early + bench.run()
        let failure = try #require(reports.failure(of: lease))
        #expect(!failure.isFinal && failure.error.message.contains("cannot be stored") && reports.checkpoints.isEmpty)
        #expect(Self.steps(reports).last == 8)
        // One on the way, then the first of the last ones and those after 1, 2, 4, 8, 16 and each 30 s: looks are 20 s apart.
        #expect(bench.engine.complaints.count > 8)
    }

    private static func steps(_ reports: [EngineReport]) -> [Int] {
        reports.flatMap { if case .progress(_, _, let steps) = $0 { steps.map(\.step) } else { [Int]() } }
    }
}
