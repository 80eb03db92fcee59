import Broker
import TaskProtocol
import Testing

/// When a broker looks at the months of history, and what it says of them.
@Suite("What a broker does for retention") struct BrokerRetentionTests {
    private static let policy = RetentionPolicy(tasksSeconds: 90 * 86_400, generationsSeconds: 30 * 86_400)

    private func makeBench(answering replies: [StoreReply] = []) -> CoreBench {
        var settings = BrokerSettings()
        settings.retention = Self.policy
        return CoreBench(settings: settings, lookReplies: replies)
    }

    private func look(_ change: (inout RetentionReply) -> Void = { _ in }) -> StoreReply {
        var reply = RetentionReply()
        reply.looked = true
        change(&reply)
        return .retained(reply)
    }

    private func month(_ number: Int, _ history: History = .tasks) -> HistoryMonth {
        HistoryMonth(history: history, firstDay: "2026-0\(number)-01")
    }

    private func held(_ number: Int) -> HeldMonth { HeldMonth(month: month(number), task: UUIDValue(hi: 1, lo: 1), state: "queued", child: nil) }

    /// What was noted of months, in order.
    private func said(_ bench: CoreBench) -> [String] {
        bench.notes.compactMap {
            switch $0 {
            case .monthDropped(let month): "dropped \(month)"
            case .monthHeld(let held): "held \(held.month)"
            case .monthBusy(let month): "busy \(month)"
            case .monthRefused(let refused): "refused \(refused.month)"
            default: nil
            }
        }
    }

    /// The pauses between looks, in seconds.
    private func pauses(_ bench: CoreBench) -> [Int64] { zip(bench.looks.dropFirst(), bench.looks).map { ($0.at - $1.at + 500) / 1_000 } }

    @Test("it looks soon after its start and every five minutes, with the policy that it was given")
    func regularly() {
        var bench = makeBench()
        bench.pass(1_000)
        #expect(bench.looks.count == 1)
        bench.pass(600_000)
        #expect(pauses(bench) == [300, 300])
        #expect(bench.looks.allSatisfy { $0.policy == Self.policy })
    }

    @Test("a broker that keeps everything looks all the same: months ahead are to be made")
    func withoutPolicy() {
        var bench = CoreBench()
        bench.pass(1_000)
        #expect(bench.looks.map(\.policy) == [RetentionPolicy()])
    }

    @Test("behind a reader it comes again after half a minute, for the rest of many keys at once")
    func soonerAgain() {
        var bench = makeBench(answering: [look { $0.busy = [month(1)] }, look { $0.hasMore = true }, look()])
        bench.pass(400_000)
        #expect(pauses(bench).count == 3)
        let interval = BrokerSettings().sweepInterval
        #expect(pauses(bench) == [30, (interval + 500) / 1_000, 300])
    }

    @Test("the rest of the keys is gone through also while the months themselves were looked at just now")
    func restOfKeys() {
        var rest = RetentionReply()
        rest.hasMore = true
        var bench = makeBench(answering: [.retained(rest), .retained(rest)])
        bench.pass(30_000)
        #expect(bench.looks.count == 3)
    }

    @Test("a month that goes is noted, one that stays once for each reason, until it has changed")
    func notes() {
        let stays = look {
            $0.held = [held(2)]
            $0.busy = [month(3)]
            $0.refused = [RefusedMonth(month: month(4, .generations), reason: "no")]
        }
        var bench = makeBench(answering: [look { $0.dropped = [month(1)] }, stays, stays, look(), stays])
        bench.pass(1_600_000)
        let once = ["busy tasks of 2026-03", "held tasks of 2026-02", "refused generations of 2026-04"]
        #expect(said(bench) == ["dropped tasks of 2026-01"] + once + once)
    }

    @Test("where another broker looks, what was said before stays said")
    func another() {
        var bench = makeBench(answering: [look { $0.held = [held(2)] }, .retained(RetentionReply()), look { $0.held = [held(2)] }])
        bench.pass(1_000_000)
        #expect(said(bench) == ["held tasks of 2026-02"])
    }

    @Test("a look that a lock or an outage kept from its end comes again, and tasks go on meanwhile")
    func failures() {
        var bench = makeBench(answering: [.failed(.busy), .failed(.unavailable("cut"))])
        bench.pass(400_000)
        #expect(pauses(bench) == [30, 30, 300])
        bench.joinWorker()
        bench.submit()
        #expect(bench.grants.count == 1)
    }

    @Test("a look that takes long holds up nobody, and none is added to it")
    func slow() throws {
        var bench = makeBench()
        bench.pass(299_000)
        // From here on requests are kept; all but the look are answered.
        bench.holds = true
        var look: (ticket: Int, request: StoreRequest)?
        for step in 0..<7_000 {
            bench.now += 100
            bench.feed(.tick)
            while !bench.held.isEmpty {
                let kept = bench.held.removeFirst()
                guard case .retain = kept.request else {
                    bench.answer(kept.ticket, kept.request)
                    continue
                }
                #expect(look == nil, "a second look at step \(step)")
                look = kept
            }
        }
        let ticket = try #require(look).ticket
        bench.holds = false
        bench.joinWorker()
        bench.submit()
        #expect(bench.grants.count == 1)
        bench.feed(.storeReply(ticket: ticket, self.look { $0.dropped = [month(1)] }))
        #expect(said(bench) == ["dropped tasks of 2026-01"])
    }
}
