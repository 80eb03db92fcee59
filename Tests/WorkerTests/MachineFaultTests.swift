import ArtifactStore
import DurableFiles
import Glibc
import TaskProtocol
import TestSupport
import Testing
import Worker

/// What a worker does with tasks where its own machine is at fault: another one may run them, so none of them is counted as failed.
@Suite("Faults of a worker's machine") struct MachineFaultTests {
    @Test("a store that is not mounted gives tasks of every kind back, says what to mend, and serves again once it is there")
    func unmounted() throws {
        var bench = try EngineBench()
        let model = try bench.model()
        let dataset = ResolvedDataset(name: nil, sha256: model.manifest, lineByLine: false)
        let finetune = try EngineBench.finetune { $0.dataset = .uri("sha256:" + dataset.sha256) }
        let record = try Self.record()
        // The folder that it is mounted on is still there, and empty.
        try #require(rename(bench.store.path, bench.store.path + "-away") == 0)
        try FileTree.makeFolders(bench.store.path)
        let leases = [
            bench.start(EngineBench.generate(), model: model), bench.start(finetune, dataset: dataset),
            bench.start(.verify(VerifyParameters(subject: .generation(UUIDValue(hi: 7, lo: 0)))), model: model, texts: [record]),
        ]
        let reports = bench.run()
        for lease in leases {
            let fault = try #require(reports.fault(of: lease))
            #expect(fault.mend.contains("mount the artifact store") && fault.artifact == nil)
        }
        #expect(!reports.contains { if case .failed = $0 { true } else { false } })
        #expect(bench.engine.complaints.contains { $0.contains("mount the artifact store") })
        #expect(FileTree.names(bench.store.path).isEmpty)
        try #require(rmdir(bench.store.path) == 0 && rename(bench.store.path + "-away", bench.store.path) == 0)
        let again = bench.start(EngineBench.generate(), model: model)
        #expect(bench.run().texts(of: again)?.count == 1)
    }

    /// A text to verify.
    private static func record() throws -> ResolvedText {
        var bench = try EngineBench()
        let lease = bench.start(EngineBench.generate(), model: try bench.model())
        let records = try #require(bench.run().records(of: lease))
        return try #require(EngineBench.texts(records).first)
    }

    @Test("a cache that cannot be written gives tasks back")
    func unwritable() throws {
        var bench = try EngineBench()
        let model = try bench.model()
        // As where a disk is not mounted.
        FileTree.remove(bench.folder.path + "/cache/artifacts")
        try #require(symlink("/nowhere/at/all", bench.folder.path + "/cache/artifacts") == 0)
        let lease = bench.start(EngineBench.generate(), model: model)
        let reports = bench.run()
        #expect(reports.fault(of: lease)?.mend.contains("--cache-dir") == true && reports.failure(of: lease) == nil)
        #expect(bench.engine.complaints.contains { $0.contains("--cache-dir") })
    }

    @Test("a file that cannot be read is its artifact's own trouble: tasks of another model run beside it")
    func unreadable() throws {
        var bench = try EngineBench()
        let (broken, whole) = (try bench.model(), try bench.model(Fixtures.reference + "/gpt2-variant"))
        let weights = try #require(try bench.store.manifest(broken.manifest).files.first { $0.path == "model.safetensors" })
        try #require(chmod(bench.store.location(of: weights.sha256), 0) == 0)
        let lease = bench.start(EngineBench.generate(), model: broken)
        let other = bench.start(EngineBench.generate(), model: whole)
        try #require(chmod(bench.folder.path, 0o755) == 0 && chmod(bench.folder.path + "/cache/artifacts", 0o777) == 0)
        let reports = asNobody { bench.run() }
        #expect(reports.fault(of: lease)?.artifact == broken.manifest)
        #expect(reports.texts(of: other)?.count == 1)
    }

    @Test("an artifact that no machine can have still fails its task")
    func missing() throws {
        var bench = try EngineBench()
        var model = try bench.model()
        model.manifest = String(repeating: "e", count: 64)
        let lease = bench.start(EngineBench.generate(), model: model)
        let failure = try #require(bench.run().failure(of: lease))
        #expect(failure.error.code == .internalError && !failure.isFinal)
        #expect(bench.engine.complaints.isEmpty)
    }
}

extension [EngineReport] {
    /// What is wrong with the machine that a task cannot be prepared on.
    fileprivate func fault(of lease: LeaseID) -> MachineFault? {
        for case .unfit(lease, let fault) in self { return fault }
        return nil
    }
}
