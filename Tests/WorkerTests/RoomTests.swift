import TaskProtocol
import Testing
import Worker

/// What a worker says of its room, and when it cannot wait for its next heartbeat to say so.
@Suite struct RoomTests {
    /// What the heartbeats sent since the last look said of free slots.
    private func saidFree(_ bench: inout CoreBench) -> [Int] {
        bench.sent().compactMap { if case .heartbeat(let beat) = $0 { beat.freeSlots } else { nil } }
    }

    @Test("a task of many sequences that fills the worker is said at once, before that it started: a broker counts one slot a grant")
    func filled() throws {
        var bench = CoreBench.joined()
        bench.say(.grant(CoreBench.grant(1, sequences: 4)))
        bench.handle(.engine(.started(CoreBench.grant(1).lease)))
        let sent = bench.sent()
        let beat = try #require(sent.firstIndex { $0.isHeartbeat })
        let start = try #require(sent.firstIndex(of: .started(CoreBench.grant(1).held)))
        #expect(beat < start)
        guard case .heartbeat(let heartbeat) = sent[beat] else { return }
        #expect(heartbeat.freeSlots == 0)
        // Said once: nothing changes by time alone.
        bench.pass(400)
        #expect(saidFree(&bench) == [])
    }

    @Test("tasks of one sequence need no heartbeat of their own, however many they are") func counted() {
        var bench = CoreBench.joined()
        bench.pass(1_000)
        _ = bench.sent()
        for number in 1...4 as ClosedRange<UInt64> { bench.say(.grant(CoreBench.grant(number))) }
        for number in 1...4 as ClosedRange<UInt64> {
            bench.handle(.engine(.finished(CoreBench.grant(number).lease, generations: [], result: nil)))
            bench.say(.recorded(lease: CoreBench.grant(number).lease))
        }
        for number in 5...12 as ClosedRange<UInt64> { bench.say(.grant(CoreBench.grant(number))) }
        #expect(saidFree(&bench) == [])
    }

    @Test("a worker that is kept full needs none, whenever what ended there is recorded") func keptFull() {
        var bench = CoreBench.joined()
        for number in 1...8 as ClosedRange<UInt64> { bench.say(.grant(CoreBench.grant(number))) }
        bench.pass(1_000)
        _ = saidFree(&bench)
        for first in stride(from: UInt64(1), to: 60, by: 6) {
            let batch = first..<first + 6
            for number in batch { bench.handle(.engine(.finished(CoreBench.grant(number).lease, generations: [], result: nil))) }
            // Between the ends and the answers to them a heartbeat says that there is room.
            bench.pass(1_000)
            #expect(saidFree(&bench) == [2])
            for number in batch { bench.say(.recorded(lease: CoreBench.grant(number).lease)) }
            for number in batch { bench.say(.grant(CoreBench.grant(number + 8))) }
            #expect(saidFree(&bench) == [])
        }
    }

    @Test("ends count as the broker counts them: what fills the worker after some is said at once, too") func filledAfterEnds() {
        var bench = CoreBench.joined()
        for number in 1...5 as ClosedRange<UInt64> {
            bench.say(.grant(CoreBench.grant(number)))
            bench.handle(.engine(.finished(CoreBench.grant(number).lease, generations: [], result: nil)))
            bench.say(.recorded(lease: CoreBench.grant(number).lease))
        }
        #expect(saidFree(&bench) == [])
        bench.say(.grant(CoreBench.grant(6, sequences: 4)))
        #expect(saidFree(&bench) == [0])
    }

    @Test("an end that leaves more than one slot is said at once, behind that end; a task that goes back is not") func emptied() throws {
        var bench = CoreBench.joined()
        bench.say(.grant(CoreBench.grant(1, sequences: 3)))
        bench.say(.grant(CoreBench.grant(2, sequences: 4)))
        #expect(saidFree(&bench) == [-3])
        bench.handle(.engine(.finished(CoreBench.grant(1).lease, generations: [], result: nil)))
        #expect(saidFree(&bench) == [], "all slots are taken still")
        bench.handle(.engine(.finished(CoreBench.grant(2).lease, generations: [], result: nil)))
        let sent = bench.sent()
        let (end, beat) = (try #require(sent.firstIndex { $0.isComplete }), try #require(sent.firstIndex { $0.isHeartbeat }))
        #expect(end < beat)
        guard case .heartbeat(let heartbeat) = sent[beat] else { return }
        #expect(heartbeat.freeSlots == 4)
        bench.say(.grant(CoreBench.grant(3)))
        bench.handle(.engine(.snoozed(CoreBench.grant(3).lease)))
        #expect(saidFree(&bench) == [])
    }

    @Test("while room is made for a model what waits goes back and nothing is taken; what runs goes on, and once it is made all is said at once")
    func makingRoom() {
        var bench = CoreBench.joined(slots: 2)
        for number in 1...3 as ClosedRange<UInt64> { bench.say(.grant(CoreBench.grant(number))) }
        bench.actions = []
        func release(_ number: UInt64) -> WorkerMessage {
            .release(CoreBench.grant(number).held, reason: .snooze, ran: false, resume: nil)
        }
        bench.handle(.engine(.makingRoom(true)))
        var sent = bench.sent()
        #expect(sent.map(\.isHeartbeat) == [true, false] && sent.last == release(3), "that nothing is taken comes before what goes back")
        bench.say(.grant(CoreBench.grant(4)))
        #expect(bench.started.isEmpty && bench.sent().contains(release(4)))
        bench.handle(.engine(.finished(CoreBench.grant(1).lease, generations: [], result: nil)))
        sent = bench.sent()
        #expect(sent.first?.isComplete == true)
        bench.handle(.engine(.makingRoom(false)))
        #expect(saidFree(&bench) == [1])
        bench.say(.grant(CoreBench.grant(5)))
        #expect(bench.started == [CoreBench.grant(5).lease])
    }

    @Test("a finetune closes its worker at once, and what goes back behind it opens nothing") func closed() {
        var bench = CoreBench.joined()
        bench.say(.grant(CoreBench.grant(1, sequences: 0)))
        #expect(saidFree(&bench) == [-4])
        for number in 2...9 as ClosedRange<UInt64> {
            bench.say(.grant(CoreBench.grant(number)))
            bench.say(.recorded(lease: CoreBench.grant(number).lease))
        }
        #expect(saidFree(&bench) == [])
    }
}
