import ArtifactStore
import TestSupport
import Testing

/// The plans of transfers against a store behind a line that loses, and with an adversary who throws away what is there.
@Suite("Plans of transfers") struct TransferPlanTests {
    /// What is on its way, in order.
    private enum Message {
        case ask(Int64)
        case part(Int64, offset: Int64, count: Int)
        case fetch(Int64, offset: Int64, length: Int)
    }

    @Test("an upload arrives whole, whatever is lost on the way, and sends little twice where nothing is", arguments: UInt64(0)..<200)
    func upload(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        let size = Int64(random.next() % 9_000_000)
        let isCalm = seed.isMultiple(of: 4)
        var plan = UploadPlan(size: size)
        var (have, sent, now): (Int64, Int64, Int64) = (random.next() % 3 == 0 ? Int64(random.next() % UInt64(size + 1)) : 0, 0, 0)
        let begun = have
        var line: [Message] = []
        var steps = 0
        while true {
            steps += 1
            guard steps < 20_000 else {
                Issue.record("seed \(seed): no end")
                return
            }
            now += Int64(random.next() % 400)
            let step = plan.next(now: now)
            if step == .done { break }
            switch step {
            case .ask(let number): line.append(.ask(number))
            case .send(let number, let offset, let count):
                #expect(count > 0 && count <= 1 << 20 && offset + Int64(count) <= size, "seed \(seed)")
                line.append(.part(number, offset: offset, count: count))
                sent += Int64(count)
            case .stuck:
                Issue.record("seed \(seed): stuck")
                return
            case .wait, .done: break
            }
            #expect(line.count <= TransferPace.widest, "seed \(seed): more under way than the credit")
            guard case .wait = step, !line.isEmpty else { continue }
            if !isCalm, random.next() % 20 == 0 {
                // The line breaks; what was on it is gone, or was written and nobody heard.
                if random.next() % 2 == 0, case .part(_, let offset, let count)? = line.first, offset <= have {
                    have = max(have, offset + Int64(count))
                }
                line = []
                plan.lost(pauseUntil: random.next() % 2 == 0 ? now + 100 : nil)
                continue
            }
            // Somebody's wrong bytes under the same digest end in nothing being there, seldom.
            if !isCalm, random.next() % 60 == 0, have < size { have = 0 }
            switch line.removeFirst() {
            case .ask(let number): plan.answered(number, have: have, now: now)
            case .part(let number, let offset, let count):
                if offset <= have { have = max(have, offset + Int64(count)) }
                plan.answered(number, have: have, now: now)
            case .fetch: break
            }
        }
        #expect(have == size && plan.isDone && plan.bytesDone == size, "seed \(seed)")
        if isCalm { #expect(sent == size - begun, "seed \(seed)") }
    }

    @Test("a store that never keeps what it takes is given up") func stuck() {
        var plan = UploadPlan(size: 1000)
        for _ in 0..<100 {
            switch plan.next(now: 0) {
            case .ask(let number): plan.answered(number, have: 0, now: 0)
            case .send(let number, _, _): plan.answered(number, have: 0, now: 0)
            case .stuck: return
            case .wait, .done: break
            }
        }
        Issue.record("it goes on for ever")
    }

    @Test("a download takes every byte once and in order, whatever is lost on the way", arguments: UInt64(0)..<200)
    func download(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        let size = Int64(random.next() % 9_000_000)
        let isCalm = seed.isMultiple(of: 4)
        var plan = DownloadPlan()
        var (taken, asked, now): (Int64, Int64, Int64) = (0, 0, 0)
        var line: [Message] = []
        var steps = 0
        while true {
            steps += 1
            guard steps < 20_000 else {
                Issue.record("seed \(seed): no end")
                return
            }
            now += Int64(random.next() % 400)
            let step = plan.next(now: now)
            if step == .done { break }
            if case .fetch(let number, let offset, let length) = step {
                line.append(.fetch(number, offset: offset, length: length))
                asked += Int64(length)
            }
            #expect(line.count <= TransferPace.widest, "seed \(seed)")
            guard case .wait = step, case .fetch(let number, let offset, let length)? = line.first else { continue }
            line.removeFirst()
            if !isCalm, random.next() % 20 == 0 {
                line = []
                plan.lost(pauseUntil: random.next() % 2 == 0 ? now + 100 : nil)
                // An answer of before, which comes all the same.
                if random.next() % 2 == 0 { #expect(plan.received(number, count: length, of: size, now: now) == .ignore, "seed \(seed)") }
                continue
            }
            var count = Int(min(Int64(length), size - offset))
            if !isCalm, count > 1, random.next() % 10 == 0 { count -= 1 }
            switch plan.received(number, count: count, of: size, now: now) {
            case .take:
                #expect(offset == taken, "seed \(seed)")
                taken += Int64(count)
            case .ignore: #expect(!isCalm, "seed \(seed)")
            case .broken: Issue.record("seed \(seed): broken")
            }
        }
        #expect(taken == size && plan.bytesDone == size, "seed \(seed)")
        if isCalm { #expect(asked <= size + 2 * Int64(TransferPace.largestPart), "seed \(seed)") }
    }

    @Test("parts that contradict each other are noticed") func contradictions() {
        func first(_ plan: inout DownloadPlan) -> (number: Int64, length: Int) {
            guard case .fetch(let number, _, let length) = plan.next(now: 0) else { return (0, 0) }
            return (number, length)
        }
        var plan = DownloadPlan()
        let (number, length) = first(&plan)
        #expect(plan.received(number, count: length, of: 10_000_000, now: 0) == .take)
        let (second, _) = first(&plan)
        #expect(plan.received(second, count: 5, of: 10_000_001, now: 0) == .broken)
        var empty = DownloadPlan()
        #expect(empty.received(first(&empty).number, count: 0, of: 5, now: 0) == .broken)
        var long = DownloadPlan()
        let (third, most) = first(&long)
        #expect(long.received(third, count: most + 1, of: 10_000_000, now: 0) == .broken)
    }

    @Test("the pace follows what the line answers within a second") func pace() {
        var pace = TransferPace()
        for _ in 0..<20 { pace.answered(afterMilliseconds: 5) }
        #expect(pace.partBytes == 1 << 20 && pace.window == 4)
        for _ in 0..<3 { pace.answered(afterMilliseconds: 1500) }
        #expect(pace.partBytes == 1 << 20 && pace.window == 1)
        for _ in 0..<20 { pace.answered(afterMilliseconds: 1500) }
        #expect(pace.partBytes == TransferPace.smallestPart && pace.window == 1)
        let steady = pace
        pace.answered(afterMilliseconds: 600)
        #expect(pace == steady)
        for _ in 0..<10 { pace.answered(afterMilliseconds: 5) }
        pace.lost()
        #expect(pace.window == 1 && pace.partBytes == 1 << 19)
    }
}
