import Broker
import QueueSimulation
import TaskProtocol
import Testing

/// A worker whose key is deleted from the list has nothing more to do with the broker.
@Suite struct RevokedWorkerTests {
    private static let other = UUIDValue(hi: 6, lo: 6)

    /// Two workers with keys, of one slot each.
    private func joined() -> CoreBench {
        var bench = CoreBench()
        bench.joinWorker(slots: 1, key: "first")
        bench.joinWorker(slots: 1, session: Self.other, address: [8], key: "second")
        return bench
    }

    /// Whose a grant is, as the store has it.
    private func holder(_ grant: WorkerGrant, _ bench: CoreBench) -> SessionID? { bench.store.tasks[grant.task]?.session }

    @Test("nothing more is granted to it, nor said")
    func nothingMore() {
        var bench = joined()
        bench.feed(.workerKeysRevoked(["first", "third"]))
        #expect(bench.notes.contains(.workerLeft(bench.session, why: "its key was revoked")))
        bench.toldTo = []
        // The other takes one for its slot and one to wait; the third stays in line.
        for _ in 0..<3 { bench.submit() }
        #expect(bench.grants.count == 2)
        #expect(bench.grants.allSatisfy { holder($0, bench) == Self.other })
        bench.pass(3_000)
        #expect(bench.toldTo == [[8]])
    }

    @Test("what it runs goes to another once its session is dead: nobody counts it alive")
    func itsTask() throws {
        var bench = joined()
        bench.submit()
        let held = try #require(bench.grants.first)
        let first = try #require(holder(held, bench))
        let (key, address, survivor): (String, [UInt8], [UInt8]) = first == bench.session ? ("first", [7], [8]) : ("second", [8], [7])
        let session = first == bench.session ? Self.other : bench.session
        bench.feed(.workerMessage(from: address, key: key, .confirm(session: first, lease: held.lease)))
        bench.feed(.workerKeysRevoked([key]))
        for second in 1..<30 where bench.grants.last.flatMap({ holder($0, bench) }) != session {
            bench.feed(
                .workerMessage(
                    from: survivor,
                    .heartbeat(
                        WorkerHeartbeat(
                            session: session, sequence: UInt64(second), leasesCount: 0, leasesHash: WorkerLeases.hash([]), freeSlots: 1, idle: true,
                            models: [], draining: false))))
            bench.pass(1_000)
        }
        let again = try #require(bench.grants.last)
        #expect(again.task == held.task)
        #expect(holder(again, bench) == session)
        #expect(again.lease != held.lease)
    }

    @Test("who starts again under a key that stands in the list is taken; the session of before stays with its key")
    func anotherKey() {
        var bench = joined()
        let again = UUIDValue(hi: 7, lo: 7)
        bench.feed(.workerKeysRevoked(["first"]))
        bench.told = []
        bench.joinWorker(slots: 1, key: "new")
        #expect(bench.told.isEmpty)
        bench.joinWorker(slots: 1, session: again, key: "new")
        bench.feed(.workerKeysRevoked(["first"]))
        bench.submit()
        bench.submit()
        #expect(Set(bench.grants.compactMap { holder($0, bench) }) == [again, Self.other])
    }

    @Test("nor is a worker taken whose key is deleted while the database is asked for it")
    func revokedOnItsWay() {
        var bench = CoreBench()
        bench.pass(2_000)
        bench.holds = true
        bench.joinWorker(slots: 1, key: "first")
        bench.joinWorker(slots: 1, session: Self.other, address: [8], key: "second")
        bench.feed(.workerKeysRevoked(["first"]))
        bench.release()
        #expect(bench.toldTo == [[8]] && bench.core.snapshot.workers == 1)
    }
}
