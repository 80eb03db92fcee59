import Broker
import Encodings
import QueueSimulation
import TaskProtocol
import Testing

/// A task that needs a worker to itself gets one, whatever stands in other queues.
@Suite struct KeptFreeTests {
    private static let finetune =
        #""op":"submit","task":{"kind":"finetune","queue":"train","params":{"config":"gpt2-cpu","dataset":{"text":"a b c"},"output":"o","tokenizer":{"train":{}}}}"#

    private func finish(_ grant: WorkerGrant, _ bench: inout CoreBench) {
        bench.feed(.workerMessage(from: [7], .complete(grant.held, generations: [], result: nil, checkpoint: nil)))
    }

    /// What was granted, in its order; a grant that is sent again counts once.
    private func kinds(_ bench: CoreBench) -> [TaskKind] {
        var seen = Set<LeaseID>()
        return bench.grants.filter { seen.insert($0.lease).inserted }.compactMap { bench.store.tasks[$0.task]?.kind }
    }

    /// A worker with two generates, and a finetune in another queue that waits for it.
    private func waiting() throws -> (bench: CoreBench, first: WorkerGrant, second: WorkerGrant) {
        var bench = CoreBench()
        bench.joinWorker(slots: 2)
        bench.submit()
        bench.submit()
        for grant in bench.grants { bench.feed(.workerMessage(from: [7], .confirm(session: bench.session, lease: grant.lease))) }
        bench.ask(Self.finetune)
        bench.pass(100)
        try #require(kinds(bench) == [.generate, .generate])
        return (bench, bench.grants[0], bench.grants[1])
    }

    @Test("while a finetune waits for a worker to become idle, tasks of other queues wait behind it, also those that are just published")
    func otherQueues() throws {
        var (bench, first, second) = try waiting()
        for _ in 0..<3 { bench.submit() }
        bench.pass(1_500)
        #expect(kinds(bench).count == 2, "the worker has room, which is kept")
        finish(first, &bench)
        bench.pass(100)
        #expect(kinds(bench).count == 2)
        finish(second, &bench)
        bench.pass(100)
        #expect(kinds(bench) == [.generate, .generate, .finetune])
        let finetune = bench.grants[2]
        bench.feed(.workerMessage(from: [7], .failed(finetune.held, error: ContractError(.modelError, "not a number"), final: true)))
        bench.pass(500)
        #expect(kinds(bench) == [.generate, .generate, .finetune, .generate, .generate, .generate])
    }

    @Test("once the finetune is cancelled the others have the room again")
    func cancelled() throws {
        var (bench, _, _) = try waiting()
        bench.submit()
        let finetune = try #require(bench.store.tasks.values.first { $0.kind == .finetune })
        bench.ask(#""op":"cancel","ids":["\#(finetune.id)"]"#)
        bench.pass(1_200)
        #expect(kinds(bench) == [.generate, .generate, .generate])
    }
}
